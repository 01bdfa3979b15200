"""How a run ends, and what is kept of it then."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from typing import Any

import pytest

import lineart
import scenario
from lineart.storage.errors import UsageError
from lineart.tracking import run_end
from lineart.tracking.recovery import recover_run
from run_reading import parts, state, values


def test_finished_run_is_over() -> None:
    run = lineart.init(project="team/digits")
    run.finish()
    run.finish(3)  # a second time does nothing
    assert (run.state, run.exit_code) == ("finished", 0)
    calls: Mapping[str, Any] = {
        "log": lambda: run.log({"a": 1}),
        "use an artifact": lambda: run.use_artifact("data"),
        "log an artifact": lambda: run.log_artifact(lineart.Artifact("a", "b")),
    }
    for what, call in calls.items():
        with pytest.raises(UsageError, match=f"is finished; it cannot {what} any more"):
            call()
    assert (scenario.facts(run)["state"], scenario.facts(run)["exit_code"]) == ("finished", 0)


def test_exit_code_that_is_not_zero_is_a_failure() -> None:
    run = lineart.init(project="team/digits")
    run.finish(3)
    found = scenario.facts(run)
    assert (found["state"], found["exit_code"], found["error"]) == ("failed", 3, None)


@pytest.mark.parametrize(
    "error, state, code, text",
    [
        (KeyError("gone"), "failed", 1, "KeyError: 'gone'"),
        (KeyboardInterrupt(), "failed", 1, "KeyboardInterrupt"),
        (SystemExit(3), "failed", 3, "SystemExit: 3"),
        (SystemExit("message"), "failed", 1, "SystemExit: message"),
        (SystemExit(0), "finished", 0, None),
        (SystemExit(None), "finished", 0, None),
    ],
)
def test_exception_in_the_context_tells_how_it_ended(
    error: BaseException, state: str, code: int, text: str | None
) -> None:
    with pytest.raises(type(error)), lineart.init(project="team/digits") as run:
        raise error
    found = scenario.facts(run)
    assert (run.state, found["state"], found["exit_code"]) == (state, state, code)
    if text is None:
        assert found["error"] is None
    else:
        assert found["error"].startswith("Traceback")
        assert text in found["error"]
        assert __file__ in found["error"]


def test_what_was_logged_before_a_failure_is_kept() -> None:
    def work() -> None:
        with run:
            run.log({"acc": 0.9})
            run.config.depth = 3
            raise KeyError

    run = lineart.init(project="team/digits")
    with pytest.raises(KeyError):
        work()
    assert (scenario.facts(run)["summary"], scenario.facts(run)["config"]) == ({"acc": 0.9}, {"depth": 3})


def _finish_in_child(run: lineart.Run) -> None:
    run.finish(5)


def test_forked_child_does_not_end_its_parents_run() -> None:
    run = lineart.init(project="team/digits")
    child = multiprocessing.get_context("fork").Process(target=_finish_in_child, args=(run,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert scenario.facts(run)["state"] == "running"
    run.finish()
    assert scenario.facts(run)["exit_code"] == 0


def test_printed_form_says_name_and_state() -> None:
    with lineart.init(project="team/digits", id="r1", name="first") as run:
        assert repr(run) == "<Run team/digits/r1 'first' running>"


def test_interrupted_end_is_told_and_comes_home_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = lineart.init(project="team/digits", id="r")
    run.log({"x": 1})

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_end, "compact", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    assert "it was interrupted" in caplog.text
    run.finish()  # a second time does nothing
    assert recover_run(*parts(run.path))
    assert values(run, "x") == [1]
    assert state(run.path) == "finished"


def test_end_from_a_signal_in_the_end_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    run = lineart.init(project="team/digits", id="r")
    real = run_end.compact

    def signalled(*args: Any) -> Any:
        run.finish(1)  # as a handler of the script's own would
        return real(*args)

    monkeypatch.setattr(run_end, "compact", signalled)
    run.finish()
    assert (state(run.path), run.exit_code) == ("finished", 0)


@pytest.mark.parametrize("code, kept", [(1 << 70, (1 << 31) - 1), (-(1 << 70), -(1 << 31)), (True, 1)])
def test_exit_code_is_one_that_a_system_has(code: int, kept: int) -> None:
    run = lineart.init(project="team/digits")
    run.finish(code)
    assert scenario.facts(run)["exit_code"] == kept
