"""The callback for Hugging Face's Trainer, with a tiny model made from its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lineart
from lineart.storage.errors import UsageError

torch: Any = pytest.importorskip("torch", reason="torch is not installed (requirements/frameworks.txt)")
pytest.importorskip("accelerate", reason="accelerate is not installed (requirements/frameworks.txt)")
transformers: Any = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements/frameworks.txt)"
)

from lineart.integrations.huggingface import LineartCallback  # noqa: E402 - after the skip

DATA = [{"input_ids": [1, 2, 3, n % 4], "labels": n % 2} for n in range(16)]


def model() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=8,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    return transformers.BertForSequenceClassification(config)


def trainer(callback: Any, folder: Path, **more: Any) -> Any:
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        **{
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "logging_steps": 2,
            "eval_strategy": "steps",
            "eval_steps": 2,
            "save_strategy": "no",
            "report_to": [],
            "use_cpu": True,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **more,
        },
    )
    made = transformers.Trainer(
        model(), arguments, train_dataset=DATA, eval_dataset=DATA[:4], callbacks=[callback]
    )
    made.remove_callback(transformers.PrinterCallback)
    return made


def rows(run: Any) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


def test_training_and_evaluation_are_logged_over_the_global_step(tmp_path: Path) -> None:
    with lineart.init() as run:
        made = trainer(LineartCallback(), tmp_path)
        made.train()
        made.predict(DATA[:4])
    found = rows(run)
    assert [row["train/global_step"] for row in found if "train/loss" in row] == [2, 4]
    assert [row["train/global_step"] for row in found if "eval/loss" in row] == [2, 4]
    assert any("test/loss" in row for row in found)
    stored = lineart.Api().run(run.path)
    assert stored.summary["train_loss"] > 0
    assert "train/train_loss" not in stored.summary
    assert stored.config["max_steps"] == 4
    assert stored.config["hidden_size"] == 8
    assert stored.config["model/num_parameters"] == made.model.num_parameters()


def test_run_is_made_when_there_is_none_and_named_by_the_trainer(tmp_path: Path) -> None:
    trainer(LineartCallback(project="team/hf"), tmp_path, run_name="first").train()
    run = lineart.run
    assert run is not None
    assert (run.name, run.entity, run.project, run.state) == ("first", "team", "hf", "running")
    run.finish()
    assert any("train/loss" in row for row in rows(run))


@pytest.mark.parametrize("log_model", ["end", "checkpoint"])
def test_models_are_versions(tmp_path: Path, log_model: Any) -> None:
    with lineart.init(id="h1"):
        made = trainer(LineartCallback(log_model=log_model), tmp_path, save_strategy="steps", save_steps=2)
        made.train()
    versions = lineart.Api().artifacts("model", "model-h1")
    assert len(versions) == (1 if log_model == "end" else 2)
    expected = "final_model" if log_model == "end" else "checkpoint_global_step_4"
    assert expected in versions[0].aliases
    assert versions[0].metadata["global_step"] == 4
    loaded = transformers.BertForSequenceClassification.from_pretrained(versions[0].download())
    for name, weight in made.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)


def test_model_is_watched_while_it_trains(tmp_path: Path) -> None:
    with lineart.init() as run:
        made = trainer(LineartCallback(watch="all", watch_freq=2), tmp_path)
        made.train()
        assert not any(layer._forward_hooks for layer in made.model.modules())
    keys = {key for row in rows(run) for key in row}
    assert "gradients/classifier.weight" in keys
    assert "parameters/classifier.weight" in keys


def test_training_again_goes_on_in_the_run_or_makes_a_new_one(tmp_path: Path) -> None:
    callback = LineartCallback(project="team/hf")
    made = trainer(callback, tmp_path)
    made.train()
    first = lineart.run
    made.train()
    assert lineart.run is first
    assert first is not None
    first.finish()
    made.train()
    second = lineart.run
    assert second is not None
    assert second is not first
    second.finish()
    assert len(lineart.Api().runs("team/hf")) == 2


def test_other_processes_log_nothing(tmp_path: Path) -> None:
    made = trainer(LineartCallback(), tmp_path)
    made.state.is_world_process_zero = False
    callback = next(one for one in made.callback_handler.callbacks if isinstance(one, LineartCallback))
    callback.on_log(made.args, made.state, made.control, model=made.model, logs={"loss": 1.0})
    assert not (tmp_path / "store").exists()


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="log_model is 'always'; expected 'end', 'checkpoint' or False"):
        LineartCallback(log_model="always")  # type: ignore[arg-type]
