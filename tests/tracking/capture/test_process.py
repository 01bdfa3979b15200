"""What a run remembers of its process and machine."""

from __future__ import annotations

import json
import sys
import threading
import types
from pathlib import Path

import pytest

from lineart.tracking.capture import (
    capture_environment,
    capture_process,
    git_state,
    gpu_names,
    launcher_facts,
    machine_facts,
    process_facts,
)


def test_process_is_told_with_its_place(repository: Path) -> None:
    found = capture_process(["train.py", "--token", "x"], repository)
    assert found["command"] == ["train.py", "--token", "***"]
    assert found["folder"] == str(repository)
    assert found["git"] == git_state(repository)
    assert found["executable"] == sys.executable
    assert found["python"].startswith("3.")
    assert found["platform"]
    assert found["host"]


def test_host_is_left_out_when_it_is_switched_off(tmp_path: Path) -> None:
    assert set(process_facts(["x"], tmp_path, host=False)) == {"command", "folder", "python"}


def test_secret_of_the_environment_is_masked_in_the_command_line(tmp_path: Path) -> None:
    facts = process_facts(["x.py", "login:hunter22"], tmp_path, environ={"DB_PASSWORD": "hunter22"})
    assert facts["command"] == ["x.py", "login:***"]


def test_machine_tells_cores_and_memory() -> None:
    found = machine_facts()
    assert found["cpu_count"] >= 1
    assert found["memory_bytes"] > 1 << 20
    json.dumps(found)


# Environment and launchers


def test_decoration_of_shells_is_left_out_and_long_values_are_cut() -> None:
    found = capture_environment(
        {"LS_COLORS": "x", "BASH_FUNC_f%%": "() {}", "_": "x", "LONG": "y" * 5000, "B": "2", "A": "1"}
    )
    assert list(found) == ["A", "B", "LONG"]
    assert found["LONG"].endswith("y… (5000 characters)")


def test_launchers_are_told_with_their_variables_only() -> None:
    environ = {
        "SLURM_JOB_ID": "7",
        "SLURM_JWT": "secret",
        "TORCHELASTIC_RUN_ID": "r",
        "RANK": "3",
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": "s3cret-value",
        "GITHUB_REF_NAME": "of-s3cret-value",
        "CI_JOB_ID": "not of gitlab here",
    }
    assert launcher_facts(environ) == {
        "slurm": {"SLURM_JOB_ID": "7"},
        "torchrun": {"RANK": "3", "TORCHELASTIC_RUN_ID": "r"},
        "github": {"GITHUB_REF_NAME": "of-***"},
    }
    assert launcher_facts({"RANK": "3"}) == {}


# GPUs


def nvml(monkeypatch: pytest.MonkeyPatch, **functions: object) -> None:
    module = types.ModuleType("pynvml")
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(
        monkeypatch,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda device: ["NVIDIA A100", b"NVIDIA T4"][device],
    )
    assert gpu_names(10) == ["NVIDIA A100", "NVIDIA T4"]


def test_machine_without_a_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("no driver")

    nvml(monkeypatch, nvmlInit=broken)
    assert gpu_names(10) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_names(10) == []


def test_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    nvml(
        monkeypatch,
        nvmlInit=lambda: release.wait(30),
        nvmlDeviceGetCount=lambda: 0,
        nvmlShutdown=lambda: None,
    )
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
        gpu_names()
    release.set()
