"""The current run of a process: module functions, the end of a script, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lineart
import scenario
from lineart.tracking import session
from run_reading import state

CALLS: dict[str, Callable[[], object]] = {
    "log": lambda: lineart.log({"a": 1}),
    "use_artifact": lambda: lineart.use_artifact("data"),
    "log_artifact": lambda: lineart.log_artifact(lineart.Artifact("a", "b")),
    "finish": lineart.finish,
}


def script(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `text` as a script of its own, which starts a run with the id ``r``."""
    path = folder / "script.py"
    start = 'import sys\nimport lineart\nrun = lineart.init(project="team/digits", id="r")\n'
    path.write_text(start + text)
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        check=False,
    )


def facts() -> dict[str, Any]:
    """What the catalog says of the run ``r``."""
    (found,) = scenario.workspace().catalog().records("SELECT * FROM runs WHERE run = 'r'")
    return found


# Without a run


@pytest.mark.parametrize("name", CALLS)
def test_function_without_a_run_names_init(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(session, "_current", None)
    with pytest.raises(lineart.Error, match=rf"lineart.{name}: there is no run; call lineart.init\(\) first"):
        CALLS[name]()


def test_run_that_has_ended_may_be_ended_again() -> None:
    run = lineart.init(project="team/digits")
    lineart.finish(3)
    lineart.finish()
    assert run.exit_code == 3


@pytest.mark.parametrize("name", [name for name in CALLS if name != "finish"])
def test_function_after_the_run_names_init(name: str) -> None:
    lineart.init(project="team/digits").finish()
    with pytest.raises(lineart.Error, match=r"lineart.init\(\)"):
        CALLS[name]()


def test_run_config_and_summary_are_none_before_and_those_of_the_run_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "_current", None)
    assert (lineart.run, lineart.config, lineart.summary) == (None, None, None)
    with lineart.init(project="team/digits", config={"lr": 1}) as run:
        assert lineart.run is run
        assert lineart.config is run.config
        assert lineart.summary is run.summary
    with lineart.init(project="team/digits") as another:
        assert lineart.run is another


# With a run


def test_functions_are_those_of_the_current_run() -> None:
    with lineart.init(project="team/digits") as run:
        made = lineart.log_artifact(scenario.draft("data", {"f": "1"}), aliases=["best"], tags=["t"])
        assert lineart.use_artifact("data:best", type="dataset", role="test").digest == made.digest
        lineart.log({"acc": 1})
        derived = lineart.log_artifact(
            scenario.draft("model", {"w": "1"}), derived_from=[made], aliases=None, tags=None
        )
        assert derived.logged_by() == run.path
        lineart.finish(2)
    assert (run.state, run.exit_code, dict(run.summary)) == ("failed", 2, {"acc": 1})


def test_next_init_finishes_the_run_before() -> None:
    first = lineart.init(project="team/digits")
    with lineart.init(project="team/digits") as second:
        assert (first.state, second.state) == ("finished", "running")
        assert first.id != second.id


def test_init_that_fails_leaves_no_half_a_run() -> None:
    first = lineart.init(project="team/digits")
    with pytest.raises(lineart.Error):
        lineart.init(project="a b c")
    assert session.current_run() is first
    first.finish()


def test_store_given_to_init_is_used(tmp_path: Path) -> None:
    with lineart.init(project="p", store=str(tmp_path / "other")) as run:
        run.log_artifact(scenario.draft("data", {"f": "1"}))
    assert lineart.Api(store=str(tmp_path / "other")).artifact_exists("p/data")
    assert not (tmp_path / "store").exists()


# How a script ends


def test_script_that_ends_has_finished(tmp_path: Path) -> None:
    done = script(tmp_path, 'run.log({"acc": 1})\nrun.config.depth = 3\n')
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = facts()
    assert (found["state"], found["exit_code"]) == ("finished", 0)
    assert (json.loads(found["summary"]), json.loads(found["config"])) == ({"acc": 1}, {"depth": 3})


def test_script_that_dies_of_an_exception_has_failed_with_its_traceback(tmp_path: Path) -> None:
    done = script(tmp_path, 'run.log({"acc": 1})\nraise KeyError("gone")\n')
    assert done.returncode == 1
    found = facts()
    assert (found["state"], found["exit_code"], found["summary"]) == ("failed", 1, '{"acc": 1}')
    assert "KeyError: 'gone'" in found["error"]
    assert "script.py" in found["error"]


def test_exception_that_was_caught_is_no_failure(tmp_path: Path) -> None:
    script(tmp_path, "try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass\n")
    assert facts()["state"] == "finished"


def test_context_that_is_left_by_exit_has_its_code(tmp_path: Path) -> None:
    done = script(tmp_path, "with run:\n    sys.exit(3)\n")
    assert done.returncode == 3
    assert (facts()["state"], facts()["exit_code"]) == ("failed", 3)


def test_script_that_exits_in_peace_has_finished(tmp_path: Path) -> None:
    assert script(tmp_path, "sys.exit(0)\n").returncode == 0
    assert facts()["state"] == "finished"


@pytest.mark.on_disk  # to a bucket it is sent by the next run, or by art sync
def test_killed_script_leaves_what_was_committed(tmp_path: Path) -> None:
    text = 'run.log_artifact(lineart.Artifact("data", "dataset"))\n'
    assert (
        script(tmp_path, f"{text}import os\nos.kill(os.getpid(), {int(signal.SIGKILL)})\n").returncode
        == -signal.SIGKILL
    )
    assert facts()["state"] == "running"  # nobody could say how it ended
    assert lineart.Api().artifact("team/digits/data").logged_by() == "team/digits/r"


def test_command_line_is_kept_without_its_secrets(tmp_path: Path) -> None:
    script(tmp_path, "", "--lr=0.1", "--api-key", "hunter2", "PASSWORD=hunter3")
    command = json.loads(facts()["capture"])["command"]
    assert command[0].endswith("script.py")
    assert command[1:] == ["--lr=0.1", "--api-key", "***", "PASSWORD=***"]
    log = b"".join(path.read_bytes() for path in (tmp_path / "store/projects").rglob("*") if path.is_file())
    assert b"hunter" not in log


def test_forked_child_that_ends_leaves_the_run_to_its_parent(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        "import os\nif (child := os.fork()) == 0:\n    sys.exit(7)\nos.waitpid(child, 0)\nrun.log({'by': 'parent'})\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (facts()["state"], facts()["summary"]) == ("finished", '{"by": "parent"}')


def test_import_starts_nothing(tmp_path: Path) -> None:
    code = "import lineart, threading; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True
    )
    assert done.stdout == "1\n"
    assert not os.listdir(tmp_path)


def test_run_that_ends_leaves_the_exit_code_to_the_other_ones(tmp_path: Path) -> None:
    code = 'lineart.init(project="team/digits", id="second", reinit="create_new").finish()\nsys.exit(3)'
    assert script(tmp_path, code).returncode == 3
    assert (facts()["state"], facts()["exit_code"], state("team/digits/second")) == ("failed", 3, "finished")


def test_exit_of_a_thread_is_not_that_of_the_process(tmp_path: Path) -> None:
    code = "import threading\nthread = threading.Thread(target=sys.exit, args=[5])\nthread.start()\nthread.join()"
    assert script(tmp_path, code).returncode == 0
    assert (facts()["state"], facts()["exit_code"]) == ("finished", 0)
