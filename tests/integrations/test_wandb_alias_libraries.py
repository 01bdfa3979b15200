"""Other people's libraries call `wandb`: their own code, unchanged, logs to Lineart.

Each runs in a process of its own under `art exec`: libraries look for `wandb` once, when they are imported.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lineart

ART = Path(sys.executable).with_name("art")


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


def art_exec(code: str, *options: str, **environ: str) -> str:
    """The output of a script under `art exec`; it must succeed."""
    Path("script.py").write_text(code)
    done = subprocess.run(
        [ART, "exec", *options, "script.py"],
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def only_run(project: str) -> Any:
    runs = list(lineart.Api().runs(project))
    assert len(runs) == 1
    return runs[0]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


TRAINER = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.integrations import WandbCallback, is_wandb_available

assert is_wandb_available()
config = BertConfig(
    vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
    max_position_embeddings=8,
)
rows = [{"input_ids": torch.arange(6) + n % 5, "labels": torch.tensor(n % 2)} for n in range(16)]
trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=TrainingArguments(
        output_dir="out", report_to=["wandb"], run_name="tiny", max_steps=4, logging_steps=1,
        per_device_train_batch_size=4, save_steps=2, use_cpu=True, disable_tqdm=True,
        eval_strategy="steps", eval_steps=2,
    ),
    train_dataset=rows,
    eval_dataset=rows,
)
assert any(isinstance(callback, WandbCallback) for callback in trainer.callback_handler.callbacks)
trainer.train()
"""


@needs("transformers", "torch", "accelerate")
@pytest.mark.slow
def test_trainer_of_transformers_logs_by_its_own_callback() -> None:
    art_exec(TRAINER, "-p", "tiny", WANDB_WATCH="gradients", WANDB_LOG_MODEL="checkpoint")
    run = only_run("tiny")
    assert run.name == "tiny"
    assert run.config["hidden_size"] == 8
    assert run.config["model/num_parameters"] > 0
    steps = run.scan_history(keys=["train/loss", "train/global_step"])
    assert [row["train/global_step"] for row in steps] == [1, 2, 3, 4]
    assert len(list(run.scan_history(keys=["eval/loss"]))) == 2
    assert run.summary["train_loss"] > 0
    model = lineart.Api().artifact("tiny/model-tiny:checkpoint_global_step_4")
    assert model.type == "model"
    assert "model.safetensors" in model.files()


LIGHTNING = """
import torch
import {package} as pl
from {package}.loggers import WandbLogger
from torch.utils.data import DataLoader, TensorDataset


class Line(pl.LightningModule):
    def __init__(self, rate=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, number):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)


x = torch.rand(32, 2)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
logger = WandbLogger({arguments} log_model="all")
model = Line()
logger.watch(model, log="all", log_freq=2, log_graph=False)
checkpoint = pl.callbacks.ModelCheckpoint(dirpath="checkpoints", monitor="train/loss", save_top_k=1)
trainer = pl.Trainer(
    max_epochs=2, logger=logger, callbacks=[checkpoint], accelerator="cpu", log_every_n_steps=1,
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(model, data)
logger.log_table("guesses", columns=["x", "y"], data=[[1, 2.0], [2, 4.0]])
logger.log_image("pictures", [torch.rand(3, 8, 8)], caption=["noise"])
logger.log_text("words", columns=["word"], data=[["one"], ["two"]])
print("experiment", logger.experiment.id, logger.version, logger.name)
import pickle
again = pickle.loads(pickle.dumps(logger))
assert again.experiment.id == logger.experiment.id
"""


@needs("torch", "pytorch_lightning")
@pytest.mark.slow
def test_lightning_logs_by_its_own_logger() -> None:
    code = LIGHTNING.format(package="pytorch_lightning", arguments="")
    said = art_exec(code, "-p", "lines", "--id", "r1")
    assert "experiment r1 r1 lines" in said
    run = only_run("lines")
    assert run.config["rate"] == 0.1
    rows = list(run.scan_history(keys=["train/loss", "trainer/global_step"]))
    assert [row["trainer/global_step"] for row in rows] == list(range(8))
    assert {"guesses", "pictures", "words"} <= set(run.summary)
    assert any(key.startswith("gradients/") for row in run.scan_history() for key in row)
    model = lineart.Api().artifact("lines/model-r1:best")
    assert "model.ckpt" in model.files()
    assert model.metadata["ModelCheckpoint"]["monitor"] == "train/loss"


KERAS = """
import keras
import numpy as np
import wandb
from wandb.integration.keras import WandbEvalCallback, WandbMetricsLogger, WandbModelCheckpoint
from wandb.keras import WandbCallback


class Guesses(WandbEvalCallback):
    def __init__(self, x, y):
        super().__init__(data_table_columns=["x", "y"], pred_table_columns=["epoch", "x", "guess"])
        self.x, self.y = x, y

    def add_ground_truth(self, logs=None):
        for x, y in zip(self.x, self.y):
            self.data_table.add_data(float(x[0]), float(y))

    def add_model_predictions(self, epoch, logs=None):
        guesses = self.model.predict(self.x, verbose=0)
        for number in range(len(self.x)):
            x, _ = self.data_table_ref.data[number]
            self.pred_table.add_data(epoch, x, float(guesses[number][0]))


wandb.init(project="dense", config={"units": 4})
x = np.random.default_rng(0).random((16, 2)).astype("float32")
y = x.sum(axis=1)
model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(wandb.config.units), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse")
model.fit(
    x, y, validation_data=(x, y), epochs=3, verbose=0,
    callbacks=[
        WandbMetricsLogger(log_freq="batch"), WandbModelCheckpoint("model.keras"), WandbCallback(save_model=False),
        Guesses(x[:4], y[:4]),
    ],
)
"""


@needs("keras", "torch")
@pytest.mark.slow
def test_keras_callbacks_by_their_old_names() -> None:
    art_exec(KERAS, "-p", "dense", "--id", "r1", KERAS_BACKEND="torch")
    run = only_run("dense")
    assert [row["epoch/epoch"] for row in run.scan_history(keys=["epoch/loss", "epoch/epoch"])] == [0, 1, 2]
    assert run.summary["best_val_loss"] > 0
    api = lineart.Api()
    assert api.artifact("dense/run_r1_model:epoch_2").files()
    for name, path in (("run_r1_pred:epoch_2", "prediction"), ("run_r1_val:latest", "data")):
        table = api.artifact(f"dense/{name}").get(path)
        assert isinstance(table, lineart.Table)
        assert len(table.data) == 4


BOOSTERS = """
import numpy as np
import wandb

wandb.init(project="trees")
x = np.random.default_rng(0).random((60, 3))
y = (x[:, 0] > 0.5).astype(int)
if "xgboost" == "{library}":
    import xgboost
    from wandb.integration.xgboost import WandbCallback
    data = xgboost.DMatrix(x, label=y)
    xgboost.train(
        {{"objective": "binary:logistic", "nthread": 1}}, data, 3, evals=[(data, "train")], verbose_eval=False,
        callbacks=[WandbCallback(log_model=True)],
    )
else:
    import lightgbm
    from wandb.integration.lightgbm import log_summary, wandb_callback
    data = lightgbm.Dataset(x, label=y)
    model = lightgbm.train(
        {{"objective": "binary", "verbose": -1, "num_threads": 1}}, data, 3, valid_sets=[data],
        callbacks=[wandb_callback()],
    )
    log_summary(model, save_model_checkpoint=True)
"""


@pytest.mark.parametrize(
    "library, metric",
    [
        pytest.param("xgboost", "train-logloss", marks=needs("xgboost")),
        pytest.param("lightgbm", "training_binary_logloss", marks=needs("lightgbm")),
    ],
)
@pytest.mark.slow
def test_boosters_log_by_the_old_names(library: str, metric: str) -> None:
    art_exec(BOOSTERS.format(library=library), "-p", "trees")
    run = only_run("trees")
    assert len(list(run.scan_history(keys=[metric]))) == 3
    assert lineart.Api().artifact_collections("model", "trees")


SKLEARN = """
import wandb
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

wandb.init(project="iris")
x, y = load_iris(return_X_y=True)
model = LogisticRegression(max_iter=500).fit(x, y)
wandb.sklearn.plot_confusion_matrix(y, model.predict(x), labels=["a", "b", "c"])
wandb.sklearn.plot_roc(y, model.predict_proba(x), labels=["a", "b", "c"])
wandb.sklearn.plot_summary_metrics(model, x, y, x, y)
"""


@needs("sklearn")
def test_sklearn_plots_by_the_old_names() -> None:
    art_exec(SKLEARN, "-p", "iris")
    assert len(only_run("iris").summary) >= 3
