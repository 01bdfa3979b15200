"""`WandbEvalCallback`: the base class by which Keras scripts make tables of what a model says about its data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..current import run_or_current
from ..keras_model import keras

__all__ = ["WandbEvalCallback"]


class WandbEvalCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """A subclass says what stands in the table of data and, after each epoch, in the table of predictions.

    Both tables are versions of artifacts of the run: ``run_<run>_val`` with the data, ``run_<run>_pred`` with a
    version for each epoch. They refer to the same rows by their order.
    """

    def __init__(self, data_table_columns: Sequence[str], pred_table_columns: Sequence[str]) -> None:
        """Raises: Error when no run is current."""
        super().__init__()
        self.run = run_or_current(None, "WandbEvalCallback")
        self.data_table_columns = list(data_table_columns)
        self.pred_table_columns = list(pred_table_columns)
        self.data_table: Any = None
        self.pred_table: Any = None
        self.data_table_ref: Any = None  # the table of data again, for `add_model_predictions`

    @abstractmethod
    def add_ground_truth(self, logs: Mapping[str, float] | None = None) -> None:
        """Add the rows of data to `data_table`."""

    @abstractmethod
    def add_model_predictions(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Add what the model says after `epoch` to `pred_table`."""

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Log the table of data."""
        self.init_data_table(self.data_table_columns)
        self.add_ground_truth(logs)
        self.log_data_table()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Log the table of predictions."""
        self.init_pred_table(self.pred_table_columns)
        self.add_model_predictions(epoch, logs)
        self.log_pred_table(aliases=["latest", f"epoch_{epoch}"])

    def init_data_table(self, column_names: Sequence[str]) -> None:
        """Begin the table of data."""
        self.data_table = _table(column_names)

    def init_pred_table(self, column_names: Sequence[str]) -> None:
        """Begin a table of predictions."""
        self.pred_table = _table(column_names)

    def log_data_table(self, name: str = "val", type: str = "dataset", table_type: str = "data") -> None:
        """Make the table of data a version of ``run_<run>_<name>``, with the path `table_type` in it."""
        self._log(self.data_table, f"run_{self.run.id}_{name}", type, table_type, None)
        self.data_table_ref = self.data_table

    def log_pred_table(
        self, type: str = "evaluation", table_type: str = "prediction", aliases: Sequence[str] | None = None
    ) -> None:
        """Make the table of predictions a version of ``run_<run>_pred``."""
        self._log(self.pred_table, f"run_{self.run.id}_pred", type, table_type, aliases)

    def _log(self, table: Any, name: str, kind: str, path: str, aliases: Sequence[str] | None) -> None:
        from ...tracking.artifact import Artifact

        artifact = Artifact(name, kind)
        artifact.add(table, path)
        self.run.log_artifact(artifact, aliases=aliases)


def _table(columns: Sequence[str]) -> Any:
    from ...tracking.media import Table

    return Table(columns=list(columns))
