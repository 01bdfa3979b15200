"""The Lightning logger, with PyTorch Lightning itself."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lineart
from lineart.storage.errors import UsageError

torch: Any = pytest.importorskip("torch", reason="torch is not installed (requirements/frameworks.txt)")
pl: Any = pytest.importorskip(
    "pytorch_lightning", reason="pytorch-lightning is not installed (requirements/frameworks.txt)"
)

from lineart.integrations.lightning import LineartLogger  # noqa: E402 - after the skip


class Model(pl.LightningModule):  # type: ignore[misc]
    def __init__(self, lr: float = 0.1, loss: Any = torch.nn.MSELoss()) -> None:  # noqa: B008
        super().__init__()
        self.save_hyperparameters(ignore=[])
        self.layer = torch.nn.Linear(2, 1)
        self.loss = loss

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.loss(self.layer(batch), torch.ones(len(batch), 1))
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.loss(self.layer(batch), torch.ones(len(batch), 1)))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def data() -> Any:
    torch.manual_seed(0)
    return torch.utils.data.DataLoader(torch.rand(16, 2), batch_size=4)


def trainer(logger: Any, folder: Path, **more: Any) -> Any:
    return pl.Trainer(
        logger=logger,
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=2,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **more},
    )


def rows(run: Any) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


# Of Lightning, for a loader without worker processes on a machine with many cores, and its own ways with torch.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is an instance of `nn.Module` and is already saved.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pytorch_lightning.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pytorch_lightning.*"),
]


def test_training_is_logged_over_the_global_step(tmp_path: Path) -> None:
    logger = LineartLogger(project="team/pl", name="first", tags=["a"], config={"seed": 1}, save_dir=tmp_path)
    trainer(logger, tmp_path).fit(Model(), data(), data())
    run = logger.experiment
    assert (run.name, run.project, run.entity) == ("first", "pl", "team")
    assert (logger.name, logger.version, logger.save_dir) == ("pl", run.id, str(tmp_path))
    run.finish()
    found = rows(run)
    assert [row["trainer/global_step"] for row in found if "loss" in row] == list(range(8))
    assert [row["trainer/global_step"] for row in found if "val_loss" in row] == [3, 7]
    stored = lineart.Api().run(run.path)
    assert stored.config["seed"] == 1
    assert stored.config["lr"] == 0.1
    assert stored.tags == ["a"]


def test_current_or_given_run_is_used(tmp_path: Path) -> None:
    with lineart.init() as run:
        trainer(LineartLogger(project="other"), tmp_path).fit(Model(), data())
        assert any("loss" in row for row in rows(run))
    first = lineart.init()
    with lineart.init(reinit="create_new") as second:
        logger = LineartLogger(experiment=first, prefix="fold1")
        logger.log_metrics({"loss": 1.0}, step=5)
    first.finish()
    assert [(row["fold1-loss"], row["trainer/global_step"]) for row in rows(first)] == [(1.0, 5)]
    assert rows(second) == []


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    logger = LineartLogger(project="team/late", id="r9")
    assert (logger.name, logger.version) == ("team/late", "r9")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("log_model", ["all", True])
def test_checkpoints_are_versions_of_a_model(tmp_path: Path, log_model: Any) -> None:
    with lineart.init(id="m1") as run:
        keeps = pl.callbacks.ModelCheckpoint(
            tmp_path / "kept", monitor="val_loss", save_top_k=2, save_last=True
        )
        logger = LineartLogger(log_model=log_model)
        trainer(logger, tmp_path, callbacks=[keeps], enable_checkpointing=True).fit(Model(), data(), data())
        made = lineart.Api().run(run.path).logged_artifacts()
        assert made, "checkpoints are logged when the training has ended"
    best = lineart.Api().artifact("model-m1:best")
    assert best.metadata["score"] == pytest.approx(float(keeps.best_model_score))
    names = {Path(keeps.best_model_path).name, "last.ckpt"}  # the same bytes, and so one version
    assert best.metadata["original_filename"] in names
    assert best.metadata["ModelCheckpoint"]["monitor"] == "val_loss"
    loaded = Model.load_from_checkpoint(best.file("model.ckpt"), weights_only=False)
    assert loaded.hparams.lr == 0.1


def test_checkpoints_of_a_failed_training_are_kept(tmp_path: Path) -> None:
    class Fails(Model):
        def on_train_epoch_end(self) -> None:
            if self.current_epoch == 1:
                raise RuntimeError("enough")

    with lineart.init(id="m2"):
        keeps = pl.callbacks.ModelCheckpoint(tmp_path / "kept", save_last=True)
        logger = LineartLogger(log_model=True)
        with pytest.raises(RuntimeError, match="enough"):
            trainer(logger, tmp_path, callbacks=[keeps], enable_checkpointing=True).fit(Fails(), data())
    assert lineart.Api().artifact_exists("model-m2:latest")


def test_settings_of_every_kind_go_to_the_config() -> None:
    with lineart.init() as run:
        logger = LineartLogger()
        logger.log_hyperparams(Namespace(lr=0.1, act=torch.relu, net=torch.nn.ReLU(), where=Path("x")))
        logger.log_hyperparams({"lr": 0.2, "nested": {"sizes": (1, 2), "count": np.int64(3)}})
    config = lineart.Api().run(run.path).config
    assert config == {
        "lr": 0.2,
        "act": "relu",
        "net": "ReLU()",
        "where": "x",
        "nested": {"sizes": [1, 2], "count": 3},
    }


def test_watching_tables_and_pictures(tmp_path: Path) -> None:
    with lineart.init() as run:
        logger, model = LineartLogger(), Model()
        logger.watch(model, log_freq=2)
        trainer(logger, tmp_path).fit(model, data())
        logger.log_image("pictures", [np.zeros((4, 4, 3), "uint8")] * 2, caption=["a", "b"])
        logger.log_table("table", columns=["x"], data=[[1], [2]])
        logger.log_text("text", columns=["t"], data=[["hello"]], step=3)
        with pytest.raises(UsageError, match="2 of them, and 1 of caption"):
            logger.log_image("pictures", [1, 2], caption=["a"])
        with pytest.raises(UsageError, match="expected a list, not int"):
            logger.log_audio("sounds", 3)  # type: ignore[arg-type]
    keys = {key for row in rows(run) for key in row}
    assert {"pictures", "table", "text"} <= keys
    assert [key for key in keys if key.startswith("gradients/")]


def test_other_ranks_do_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pytorch_lightning.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = LineartLogger(project="team/pl")
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.log_hyperparams({"lr": 1})
    logger.experiment.log({"x": 1})
    logger.finalize("success")
    assert not (tmp_path / "store").exists()


def test_pickled_logger_goes_on_with_the_run() -> None:
    with lineart.init() as run:
        logger = LineartLogger()
        copied = pickle.loads(pickle.dumps(logger))
        assert copied.version == run.id


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="log_model is 'best'; expected True, False or 'all'"):
        LineartLogger(log_model="best")  # type: ignore[arg-type]
