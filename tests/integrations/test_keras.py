"""The Keras callbacks, with Keras itself on torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lineart
from lineart.storage.errors import Error, UsageError

pytest.importorskip("torch", reason="torch is not installed (requirements/frameworks.txt)")
keras: Any = pytest.importorskip("keras", reason="keras is not installed (requirements/frameworks.txt)")
if keras.backend.backend() != "torch":
    pytest.skip("Keras was set to another backend than torch", allow_module_level=True)

from lineart.integrations.keras import LineartCallback, MetricsLogger, ModelCheckpoint  # noqa: E402

X = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64") + (X[:, 1] > 1)


def model(**compiled: Any) -> Any:
    keras.utils.set_random_seed(0)
    made = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(3, "softmax")]
    )
    made.compile(
        **{"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled}
    )
    return made


def fit(made: Any, *callbacks: Any, epochs: int = 2, **more: Any) -> Any:
    return made.fit(
        X,
        Y,
        epochs=epochs,
        batch_size=16,
        verbose=0,
        callbacks=list(callbacks),
        validation_data=(X, Y),
        **more,
    )


def rows(run: lineart.Run) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


# MetricsLogger


def test_epochs_are_logged_with_the_learning_rate() -> None:
    with lineart.init() as run:
        done = fit(model(), MetricsLogger(), epochs=3)
    found = rows(run)
    assert [row["epoch/epoch"] for row in found] == [0, 1, 2]
    assert [row["epoch/val_loss"] for row in found] == done.history["val_loss"]
    assert [row["epoch/learning_rate"] for row in found] == pytest.approx([0.01] * 3)


def test_batches_are_logged_from_the_given_step_on() -> None:
    with lineart.init() as run:
        fit(model(), MetricsLogger(log_freq=2, initial_global_step=100))
    found = [row for row in rows(run) if "batch/batch_step" in row]
    assert [row["batch/batch_step"] for row in found] == [100, 102, 103, 105]
    assert all("batch/accuracy" in row for row in found)


def test_scheduled_learning_rate_is_the_one_of_the_moment() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=3, decay_rate=0.5)
    with lineart.init() as run:
        fit(model(optimizer=keras.optimizers.SGD(schedule)), MetricsLogger("batch"))
    rates = [row["batch/learning_rate"] for row in rows(run) if "batch/learning_rate" in row]
    assert len(rates) == 6
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]


# ModelCheckpoint


def test_each_checkpoint_is_a_version(tmp_path: Path) -> None:
    with lineart.init(id="c1"):
        made = model()
        fit(made, ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.2f}.keras"))
    versions = lineart.Api().artifacts("model", "run_c1_model")
    assert [sorted(version.aliases) for version in versions] == [["epoch_1", "latest"], ["epoch_0"]]
    (path,) = (entry for entry in Path(versions[0].download()).iterdir())
    assert np.allclose(keras.saving.load_model(path).predict(X, verbose=0), made.predict(X, verbose=0))


def test_only_what_was_written_is_logged(tmp_path: Path) -> None:
    with lineart.init(id="c2"):
        fit(
            model(optimizer=keras.optimizers.SGD(0.0)),
            ModelCheckpoint(tmp_path / "best.weights.h5", save_best_only=True, save_weights_only=True),
            epochs=3,
        )
    assert [version.version for version in lineart.Api().artifacts("model", "run_c2_model")] == ["v0"]


def test_checkpoints_within_an_epoch(tmp_path: Path) -> None:
    with lineart.init(id="c3"):
        fit(model(), ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=2), epochs=2)
    found = [version.aliases for version in reversed(lineart.Api().artifacts("model", "run_c3_model"))]
    assert [sorted(set(aliases) - {"latest"}) for aliases in found] == [
        ["epoch_0_batch_1"],
        ["epoch_1_batch_0"],
        ["epoch_1_batch_2"],
    ]


# LineartCallback


def test_one_callback_logs_metrics_layers_and_the_best_model() -> None:
    with lineart.init(id="k1") as run:
        made = model()
        done = fit(made, LineartCallback(), epochs=3)
    found = rows(run)
    assert [row["epoch"] for row in found] == [0, 1, 2]
    assert [row["val_accuracy"] for row in found] == done.history["val_accuracy"]
    assert found[0]["graph/model"]["nrows"] == 2
    stored = lineart.Api().run(run.path)
    losses = done.history["val_loss"]
    assert stored.summary["best_val_loss"] == min(losses)
    assert stored.summary["best_epoch"] == losses.index(min(losses))
    assert {"model-best.keras", "graph/model.txt"} <= {file.name for file in stored.files()}
    best = lineart.Api().artifact("run_k1_model:best")
    assert best.metadata["epoch"] == losses.index(min(losses))
    assert keras.saving.load_model(best.file("model-best.keras")).count_params() == made.count_params()


def test_best_is_the_highest_of_an_accuracy_and_the_lowest_of_a_loss() -> None:
    for monitor, mode, best in (
        ("val_accuracy", "auto", max),
        ("val_loss", "max", max),
        ("loss", "auto", min),
    ):
        with lineart.init() as run:
            done = fit(model(), LineartCallback(monitor=monitor, mode=mode, save_model=False), epochs=3)  # type: ignore[arg-type]
        assert lineart.Api().run(run.path).summary[f"best_{monitor}"] == best(done.history[monitor])


def test_histograms_of_weights_and_gradients() -> None:
    with lineart.init() as run:
        made = model()
        fit(
            made,
            LineartCallback(log_weights=True, log_gradients=True, training_data=(X, Y), save_model=False),
            epochs=1,
        )
    (row,) = rows(run)
    paths = [weight.path for weight in made.trainable_weights]
    assert len(paths) == 4
    for path in paths:
        assert sum(row[f"parameters/{path}"]["values"]) == sum(row[f"gradients/{path}"]["values"])


def test_batches_evaluation_and_flops() -> None:
    with lineart.init() as run:
        made = model()
        fit(
            made,
            LineartCallback(
                log_batch_frequency=2,
                log_evaluation=True,
                validation_data=(X, Y),
                labels=["a", "b", "c"],
                compute_flops=True,
                log_best_prefix=None,
                save_model=False,
            ),
            epochs=1,
        )
    found = rows(run)
    assert len([row for row in found if "epoch" not in row and "loss" in row]) == 2
    (table,) = (row["evaluation"] for row in found if "evaluation" in row)
    assert (table["nrows"], table["ncols"]) == (48, 3)
    summary = lineart.Api().run(run.path).summary
    assert summary["GFLOPs"] == pytest.approx(2 * (4 * 8 + 8 * 3) / 1e9)
    assert "best_epoch" not in summary


def test_pictures_are_logged_with_what_the_model_says() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (10, 8, 8, 3)).astype("uint8")
    made = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    made.compile(optimizer="sgd", loss="mse")
    targets = np.zeros((10, 2))
    with lineart.init() as run:
        callback = LineartCallback(
            input_type="image",
            generator=[(pictures[:5], targets[:5]), (pictures[5:], targets[5:])],
            validation_steps=2,
            predictions=6,
            labels=["cat", "dog"],
            log_evaluation=True,
            monitor="loss",
            save_model=False,
        )
        made.fit(pictures / 255.0, targets, epochs=1, verbose=0, callbacks=[callback])
    examples = next(row["examples"] for row in rows(run) if "examples" in row)
    assert len(examples) == 6
    assert {picture["caption"] for picture in examples} <= {"cat", "dog"}
    assert next(row["evaluation"] for row in rows(run) if "evaluation" in row)["nrows"] == 10


def test_model_that_gets_its_shape_from_the_data_is_recorded_after_the_first_epoch() -> None:
    made = keras.Sequential([keras.layers.Dense(2)])
    made.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    with (
        lineart.init() as run,
        pytest.warns(UserWarning, match="no metric 'val_loss' to find the best model by"),
    ):
        made.fit(X, Y > 0, epochs=2, verbose=0, callbacks=[LineartCallback()])
    assert [row["graph/model"] is not None for row in rows(run) if "graph/model" in row] == [True]


def test_bad_input_is_refused() -> None:
    for callback in (LineartCallback, MetricsLogger, lambda: ModelCheckpoint("m.keras")):
        with pytest.raises(Error, match=r"there is no run; call lineart\.init\(\) first, or pass run="):
            callback()
    with lineart.init() as run:
        with pytest.raises(UsageError, match="log_freq is 'hour'"):
            MetricsLogger("hour", run=run)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="mode is 'best'"):
            LineartCallback(mode="best")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="log_gradients needs training_data"):
            LineartCallback(log_gradients=True)
        with pytest.raises(UsageError, match="log_evaluation needs validation_data"):
            LineartCallback(log_evaluation=True)
