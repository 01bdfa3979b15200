"""A run that does nothing: what `init(mode="disabled")` returns. It can be copied and pickled, and needs no store."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ..storage.errors import UsageError
from .artifact import Artifact
from .metrics.definitions import Definition
from .run_settings import Settings
from .values import Config, Summary


class DisabledRun:
    """Takes every call that a `Run` takes and keeps only config, summary and step, in memory.

    >>> import lineart
    >>> run = lineart.init(mode="disabled", config={"lr": 0.1})
    >>> run.log({"loss": 1.0})
    >>> run.summary["loss"], run.disabled
    (1.0, True)
    """

    def __init__(
        self,
        *,
        project: str = "",
        entity: str = "",
        id: str = "disabled",
        name: str | None = None,
        config: Any = None,
        tags: Sequence[str] = (),
        notes: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        allow_val_change: bool = False,
    ) -> None:
        self.project, self.entity, self.id = project, entity, id
        self.name = name or "disabled"
        self.path = "/".join(part for part in (entity, project, id) if part)
        self.url: str | None = None
        self.tags, self.notes, self.group, self.job_type = tuple(tags), notes, group, job_type
        self.config = Config(allow_val_change=allow_val_change)
        self.config.update(config)
        self.summary = Summary()
        self.settings = Settings()
        self.step, self.state = 0, "running"
        self.exit_code: int | None = None
        self.start_time = time.time()
        self.disabled, self.offline, self.resumed, self.sweep_id = True, True, False, None
        self._dir: str | None = None

    @property
    def dir(self) -> str:
        """A temporary folder, made when it is asked for."""
        if self._dir is None or not os.path.isdir(self._dir):
            self._dir = tempfile.mkdtemp(prefix="lineart-disabled-")
        return self._dir

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Keep plain values in the summary. Raises: TypeError for anything but a dictionary with text keys."""
        if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
            raise TypeError(
                f"log takes a dictionary with text keys, not {type(data).__name__} {str(data)[:80]}"
            )
        for key, value in data.items():
            try:
                self.summary[key] = value
            except UsageError:
                continue  # media and the like: nothing is kept of them
        if commit is not False:
            self.step = (self.step if step is None else int(step)) + 1

    def define_metric(self, name: str, *given: Any, **more: Any) -> Definition:
        """Nothing is defined."""
        return Definition(name)

    def use_artifact(
        self, artifact_or_name: Artifact | str, type: str | None = None, role: str | None = None
    ) -> Any:
        """The artifact, from the store that the settings name; the use is not recorded. Raises: NotFoundError."""
        if isinstance(artifact_or_name, Artifact):
            return artifact_or_name
        from .api import Api

        return Api().artifact(artifact_or_name, type)

    def log_artifact(
        self, artifact_or_path: Any, name: str | None = None, type: str | None = None, *_: Any, **__: Any
    ) -> Any:
        """The draft as it is: it is not logged."""
        if isinstance(artifact_or_path, Artifact):
            return artifact_or_path
        return Artifact(name or "disabled", type or "unspecified")

    def finish(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> None:
        """End it."""
        self.state, self.exit_code = "finished" if not exit_code else "failed", exit_code or 0

    def fail(self, error: BaseException) -> None:
        """End it as failed."""
        self.finish(1)

    def __enter__(self) -> DisabledRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.finish(0 if error is None else 1)

    def __getattr__(self, name: str) -> Any:
        """Every other method of a `Run` takes anything and does nothing."""
        from .run import Run

        if name.startswith("_") or not callable(getattr(Run, name, None)):
            raise AttributeError(f"a disabled run has no {name!r}")
        return _nothing

    def __repr__(self) -> str:
        return f"<DisabledRun {self.name!r} {self.state}>"


def _nothing(*given: Any, **more: Any) -> None:
    """What a disabled run does."""
