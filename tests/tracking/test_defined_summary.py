"""What `define_metric` asks for and what users set stand in the summary, whichever processes have logged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import lineart
from lineart.tracking.recovery import recover_run
from run_reading import live, parts, values

KINDS = {"low": "min", "spread": "min,max", "middle": "mean", "best": "best", "start": "first", "no": "none"}
GONE_ON = """
import lineart, os
run = lineart.init(project="team/p", id="r", resume="must")
run.log({name: 3 for name in ("low", "spread", "middle", "best", "start", "no", "set")})
del run.config["depth"], run.summary["dropped"]
"""


def run_with_definitions() -> lineart.Run:
    """A run that has logged 1 and 5 of each kind."""
    run = lineart.init(project="team/p", id="r", config={"lr": 0.1, "depth": 3})
    for name, kind in KINDS.items():
        run.define_metric(name, summary=kind)
    run.summary.update({"set": "by hand", "dropped": 1})
    for value in (1, 5):
        run.log(dict.fromkeys([*KINDS, "set"], value))
    return run


def recorded_run() -> dict[str, Any]:
    """What the catalog says of the run."""
    (found,) = parts("team/p/r")[0].catalog().records("SELECT config, summary FROM runs WHERE run = 'r'")
    return {key: json.loads(text) for key, text in found.items()}


def recorded() -> dict[str, Any]:
    """The summary as the log has it."""
    return dict(recorded_run()["summary"])


WHOLE = {"low": 1, "spread": {"min": 1, "max": 5}, "middle": 3.0, "best": 1, "start": 1, "set": "by hand"}


def test_run_that_goes_on_counts_what_was_before() -> None:
    run_with_definitions().finish()
    assert recorded() == {**WHOLE, "dropped": 1}
    subprocess.run([sys.executable, "-c", GONE_ON], check=True)
    assert recorded() == WHOLE
    assert recorded_run()["config"] == {"lr": 0.1}
    assert values("team/p/r", "low") == [1, 5, 3]


def test_run_that_goes_on_and_crashes_counts_it_too() -> None:
    run_with_definitions().finish()
    subprocess.run([sys.executable, "-c", GONE_ON + "os.kill(os.getpid(), 9)"], check=False)
    seen = dict(live("team/p/r").summary)
    assert "set" not in seen  # it has changed nothing of what the user had set
    assert seen["dropped"] == {"_deleted": True}
    assert lineart.Api().run("team/p/r").summary["set"] == "by hand"
    assert recover_run(*parts("team/p/r"))
    assert recorded() == WHOLE
    assert recorded_run()["config"] == {"lr": 0.1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_what_children_log_counts_with_what_the_parent_logs() -> None:
    run = run_with_definitions()
    child = os.fork()
    if child == 0:
        run.log(dict.fromkeys([*KINDS, "set"], -3))
        os._exit(0)
    os.waitpid(child, 0)
    recover_run(
        *parts("team/p/r")
    )  # as another run on this machine would: the run goes on, and its child is its own
    run.finish()
    expected = {"low": -3, "spread": {"min": -3, "max": 5}, "middle": 1.0, "best": -3, "start": 1}
    assert recorded() == {**expected, "set": "by hand", "dropped": 1}


def test_change_inside_of_a_list_is_kept_at_the_end() -> None:
    with lineart.init(project="team/p", id="r", config={"layers": [1, 2], "deep": {"more": [1]}}) as run:
        run.config["layers"].append(3)
        run.config.deep["more"].append(2)
    assert recorded_run()["config"] == {"layers": [1, 2, 3], "deep": {"more": [1, 2]}}


def test_value_put_into_a_list_that_cannot_be_kept_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with lineart.init(project="team/p", id="r", config={"layers": [1, 2], "lr": 1}) as run:
        run.config["layers"].append(object())
        run.config["depth"] = 3
    assert "config 'layers': object" in caplog.text
    assert recorded_run()["config"] == {"layers": [1, 2], "lr": 1, "depth": 3}
