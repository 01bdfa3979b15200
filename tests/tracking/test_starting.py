"""How a run begins: new, resumed, offline, disabled, again in one process."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import lineart
from lineart.storage.errors import UsageError
from run_reading import history, state, values


@pytest.mark.parametrize("resume", ["allow", "must", "auto"])
def test_run_goes_on_where_it_was(resume: Any) -> None:
    with lineart.init(project="p", id="r", name="first", tags=["a"], config={"lr": 1}) as run:
        run.log({"acc": 0.1, "other": 5})
    with lineart.init(project="p", id="r", resume=resume, config={"depth": 2}) as again:
        assert (again.resumed, again.step, again.name, again.tags) == (True, 1, "first", ("a",))
        assert again.summary.as_dict() == {"acc": 0.1, "other": 5}
        assert again.config.as_dict() == {"lr": 1, "depth": 2}
        again.log({"acc": 0.2})
    assert values(run, "acc") == [0.1, 0.2]
    assert state(run.path) == "finished"


def test_resume_that_must_find_a_run_names_near_ones() -> None:
    lineart.init(project="p", id="train-1").finish()
    with pytest.raises(UsageError, match=r"there is no run default/p/train-2 .*train-1"):
        lineart.init(project="p", id="train-2", resume="must")
    with pytest.raises(UsageError, match="which run"):
        lineart.init(project="p", resume="must")


@pytest.mark.parametrize("resume", ["never", None])
def test_run_that_exists_is_not_written_over(resume: Any) -> None:
    with lineart.init(project="p", id="r") as run:
        run.log({"acc": 1})
    with pytest.raises(UsageError, match="run default/p/r exists"):
        lineart.init(project="p", id="r", resume=resume)
    assert values(run, "acc") == [1]


@pytest.mark.parametrize("resume", ["allow", "must", None])
def test_id_of_a_deleted_run_is_not_given_again(resume: Any) -> None:
    with lineart.init(project="p", id="r") as run:
        run.log({"a": 1})
    lineart.Api().run(run.path).delete()
    with pytest.raises(UsageError, match="run default/p/r was deleted; choose another id"):
        lineart.init(project="p", id="r", resume=resume)


@pytest.mark.parametrize("resume", ["allow", "never", "auto"])
def test_run_that_is_new_starts(resume: Any) -> None:
    with lineart.init(project="p", id="r", resume=resume) as run:
        assert (run.resumed, run.step) == (False, 0)


def test_auto_goes_on_with_what_did_not_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), lineart.init(project="p", resume="auto") as first:
        raise KeyError
    with lineart.init(project="p", resume="auto") as second:
        assert second.id == first.id
    with lineart.init(project="p", resume="auto") as third:
        assert third.id != first.id


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"resume": "yes"}, "resume 'yes'"),
        ({"mode": "airplane"}, "mode 'airplane'"),
        ({"reinit": "perhaps"}, "reinit 'perhaps'"),
        ({"settings": 3}, "settings 3"),
        ({"settings": {"console": "loud"}}, "console 'loud'"),
        ({"config": 3}, "config int"),
        ({"config": "missing.yaml"}, "missing.yaml"),
        ({"config": {"a": 1}, "config_include_keys": ["a"], "config_exclude_keys": ["a"]}, "give one"),
        ({"tags": [3]}, "tag"),
    ],
)
def test_argument_with_a_fault_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(lineart.Error, match=message):
        lineart.init(project="p", **wrong)
    assert not (Path(os.environ["LINEART_STORE"]) / "projects").exists()


# Config


@dataclasses.dataclass
class Options:
    """A config as a class."""

    lr: float = 0.1
    depth: int = 3


def test_config_may_come_from_anywhere(tmp_path: Path) -> None:
    yaml = tmp_path / "config.yaml"
    yaml.write_text("lr: 0.1\ndepth: 3\n", encoding="utf-8")
    json = tmp_path / "config.json"
    json.write_text('{"lr": 0.1, "depth": 3}', encoding="utf-8")
    theirs = tmp_path / "theirs.yaml"
    theirs.write_text("lr:\n  value: 0.1\ndepth:\n  desc: null\n  value: 3\n", encoding="utf-8")
    for source in (
        {"lr": 0.1, "depth": 3},
        Options(),
        argparse.Namespace(lr=0.1, depth=3),
        yaml,
        str(json),
        theirs,
    ):
        with lineart.init(project="p", config=source) as run:
            assert run.config.as_dict() == {"lr": 0.1, "depth": 3}
            run.config.update(Options())


def test_keys_of_a_config_are_chosen() -> None:
    with lineart.init(project="p", config={"a": 1, "b": 2}, config_exclude_keys=["a"]) as run:
        assert run.config.as_dict() == {"b": 2}
    with lineart.init(project="p", config={"a": 1, "b": 2}, config_include_keys=["a"]) as run:
        assert run.config.as_dict() == {"a": 1}


def test_config_changes_only_with_permission() -> None:
    with lineart.init(project="p", config={"lr": 0.1, "model": {"depth": 3}}) as run:
        with pytest.raises(UsageError, match=r"config 'lr' is 0.1 and would become 0.2"):
            run.config.lr = 0.2
        with pytest.raises(UsageError, match="config 'model'"):
            run.config.model.depth = 4
        run.config.model.width = 5
        run.config.update({"lr": 0.3}, allow_val_change=True)
        assert run.config.model == {"depth": 3, "width": 5}
    with lineart.init(project="p", config={"lr": 1}, allow_val_change=True) as run:
        run.config.lr = 2
    assert run.config.lr == 2


# Modes


def test_disabled_run_takes_everything_and_writes_nothing(tmp_path: Path) -> None:
    run = lineart.init(project="p", mode="disabled", config={"lr": 1})
    again = pickle.loads(pickle.dumps(run))
    assert (again.config.lr, again.disabled) == (1, True)
    copy.deepcopy(run)
    lineart.log({"a": 1, "picture": object()})
    run.define_metric("a", summary="max")
    run.watch(object())
    run.alert("x")
    run.save("*.pt")
    draft = lineart.Artifact("a", type="b")
    assert run.log_artifact(draft) is draft
    run.tags += ("t",)
    assert Path(run.dir).is_dir()
    assert run.summary["a"] == 1
    with pytest.raises(TypeError):
        run.log([])  # type: ignore[arg-type]
    lineart.finish()
    assert not Path(os.environ["LINEART_STORE"]).exists()


def test_offline_run_of_a_remote_store_is_written_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LINEART_STORE", "s3://nowhere/at-all")
    monkeypatch.chdir(tmp_path)
    with lineart.init(project="p", mode="offline") as run:
        assert run.offline
        run.log({"a": 1})
        run.log_artifact(__file__, name="code", type="code")
    assert (run.state, run.offline) == ("finished", True)
    with lineart.init(project="p", mode="offline") as again:
        assert again.use_artifact("code:latest").files() == ["test_starting.py"]
        with again.use_artifact("code:latest").file("test_starting.py") as path:
            assert Path(path).read_bytes() == Path(__file__).read_bytes()


def test_variables_are_what_arguments_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WANDB_PROJECT": "theirs",
        "WANDB_NAME": "their-name",
        "LINEART_NAME": "my-name",
        "WANDB_TAGS": "a, b",
        "WANDB_RUN_GROUP": "g",
        "WANDB_NOTES": "n",
        "WANDB_JOB_TYPE": "train",
        "WANDB_RUN_ID": "the-id",
    }.items():
        monkeypatch.setenv(name, value)
    with lineart.init() as run:
        assert (run.project, run.name, run.tags, run.group) == ("theirs", "my-name", ("a", "b"), "g")
        assert (run.notes, run.job_type, run.id) == ("n", "train", "the-id")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert lineart.init().disabled


# Again


def test_init_again_ends_the_run_before() -> None:
    first = lineart.init(project="p")
    second = lineart.init(project="p")
    assert (first.state, second.state) == ("finished", "running")
    assert lineart.init(project="p", reinit="return_previous") is second
    third = lineart.init(project="p", reinit="create_new")
    assert (second.state, third.state) == ("running", "running")
    second.finish()
    third.finish()


def test_five_runs_in_one_process_are_five() -> None:
    paths = []
    for number in range(5):
        with lineart.init(project="p", config={"number": number}) as run:
            for step in range(3):
                run.log({"value": number * step})
            paths.append(run.path)
    assert [values(path, "value") for path in paths] == [[0, n, 2 * n] for n in range(5)]
    assert history(paths[0]).keys() == ["value"]


def test_name_notes_and_tags_may_be_changed() -> None:
    with lineart.init(project="p", tags=["a"]) as run:
        run.name = "renamed"
        run.notes = "good"
        run.tags += ("b", "a")
    from run_reading import parts

    row = parts(run.path)[0].catalog().rows("SELECT name, notes, tags FROM runs")
    assert row == [("renamed", "good", ["a", "b"])]


def test_run_shows_itself_in_a_notebook() -> None:
    with lineart.init(project="p", name="<b>") as run:
        run.log({"acc": 0.123456789})
        shown = run._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "0.123457" in shown
    assert run.path in shown


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"tags": 5}, "tags 5: expected a list"),
        ({"notes": {1}}, r"init notes \{1\}: expected text, not set"),
        ({"group": "\ud800"}, "init group .* expected Unicode"),
        ({"config": {"\ud800": 1}}, "is not Unicode"),
    ],
)
def test_what_cannot_be_kept_leaves_the_id_free(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lineart.init(project="p", id="r", **wrong)
    lineart.init(project="p", id="r").finish()


def test_folder_that_cannot_be_made_is_named_and_nothing_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=r"init dir .*file': the folder .* cannot be made"):
        lineart.init(project="p", id="r", dir=str(tmp_path / "file"))
    assert len(lineart.Api().runs("default/p")) == 0
    with lineart.init(project="p", id="r", resume="allow") as run:
        run.log({"x": 1})
    assert state(run.path) == "finished"


def test_current_folder_that_was_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="the current folder was removed"):
        lineart.init(project="p")


def test_names_and_notes_that_are_set_are_text() -> None:
    run = lineart.init(project="p")
    for wrong in (5, {1}, "\ud800"):
        with pytest.raises(UsageError, match="run name"):
            run.name = wrong  # type: ignore[assignment]
        with pytest.raises(UsageError, match="run notes"):
            run.notes = wrong  # type: ignore[assignment]
    with pytest.raises(UsageError, match="tags 5"):
        run.tags = 5  # type: ignore[assignment]
