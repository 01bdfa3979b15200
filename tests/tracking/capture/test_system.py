"""What the machine and the process use, and that a broken sensor hurts nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lineart.tracking.capture import SystemSampler

MACHINE = {
    "system/cpu",
    "system/cpu.process",
    "system/memory",
    "system/memory.process_mb",
    "system/disk.used_percent",
    "system/threads.process",
}


class Missing(Exception):
    """Stands for NVML's errors."""


def nvml(monkeypatch: pytest.MonkeyPatch, **changed: Callable[..., Any]) -> list[str]:
    """NVML with two cards, and the names of the functions that were called."""
    calls: list[str] = []
    functions: dict[str, Callable[..., Any]] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUtilizationRates": lambda card: types.SimpleNamespace(gpu=40 + card, memory=5),
        "nvmlDeviceGetMemoryInfo": lambda card: types.SimpleNamespace(
            total=8 << 30, free=6 << 30, used=2 << 30
        ),
        "nvmlDeviceGetTemperature": lambda card, sensor: 60 + card + sensor,
        "nvmlDeviceGetPowerUsage": lambda card: 123_456,
        **changed,
    }
    module = types.ModuleType("pynvml")
    vars(module)["NVML_TEMPERATURE_GPU"] = 0

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return call

    for name, function in functions.items():
        vars(module)[name] = counted(name, function)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return calls


def fail(*arguments: Any) -> Any:
    raise Missing("not supported")


# The machine


def test_machine_and_process_are_measured() -> None:
    found = SystemSampler().sample()
    assert found.keys() >= MACHINE
    assert all(type(value) is float for value in found.values())
    assert 0 < found["system/memory"] <= 100
    assert 0 <= found["system/disk.used_percent"] <= 100
    rss_mb = psutil.Process().memory_info().rss / 2**20
    assert found["system/memory.process_mb"] == pytest.approx(rss_mb, rel=0.2)


def test_work_between_two_samples_is_seen(tmp_path: Path) -> None:
    sampler = SystemSampler(folder=tmp_path)
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert sampler.sample()["system/cpu.process"] > 5


def test_amounts_count_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = iter([10 << 20, 13 << 20])
    monkeypatch.setattr(
        psutil, "net_io_counters", lambda: types.SimpleNamespace(bytes_sent=next(amounts), bytes_recv=0)
    )
    monkeypatch.setattr(
        psutil, "disk_io_counters", lambda: types.SimpleNamespace(read_bytes=7, write_bytes=7)
    )
    found = SystemSampler().sample()
    assert found["system/network.sent_mb"] == 3.0
    assert found["system/network.recv_mb"] == 0.0
    assert found["system/disk.read_mb"] == 0.0


def test_process_that_ended_is_not_asked_again() -> None:
    code = "print('here', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()  # until then the process may not have become what it is to be
        sampler = SystemSampler(child.pid)
        assert sampler.sample()["system/memory.process_mb"] > 1
    found = sampler.sample()
    assert "system/memory" in found
    assert "system/memory.process_mb" not in found
    assert "NoSuchProcess" in sampler.dropped["process"]


def test_source_that_fails_is_dropped_after_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = SystemSampler()
    asked: list[int] = []

    def broken(path: str) -> None:
        asked.append(1)
        raise PermissionError(path)

    monkeypatch.setattr(psutil, "disk_usage", broken)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    for _ in range(3):
        assert "system/disk.used_percent" not in sampler.sample()
    assert len(asked) == 1
    assert sampler.dropped["disk"].startswith("PermissionError")
    assert "no disk tells" in SystemSampler().dropped["disk.io"]


def test_machine_without_psutil_and_nvml_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sampler = SystemSampler()
    assert sampler.sample() == {}
    assert sampler.sample() == {}
    assert set(sampler.dropped) == {"machine", "gpu"}
    sampler.close()


# GPUs


def test_each_gpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = nvml(monkeypatch)
    sampler = SystemSampler()
    for _ in range(2):
        found = {name: value for name, value in sampler.sample().items() if "gpu" in name}
        assert found == {
            f"system/gpu.{card}.{name}": value
            for card in (0, 1)
            for name, value in {
                "utilization": 40.0 + card,
                "memory_percent": 25.0,
                "memory_mb": 2048.0,
                "temperature": 60.0 + card,
                "power_watts": 123.456,
            }.items()
        }
    assert calls.count("nvmlInit") == calls.count("nvmlDeviceGetCount") == 1
    sampler.close()
    assert calls[-1] == "nvmlShutdown"
    assert not any("gpu" in name for name in sampler.sample())


def test_card_without_a_sensor_is_not_asked_for_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = nvml(monkeypatch, nvmlDeviceGetPowerUsage=fail)
    sampler = SystemSampler()
    for _ in range(3):
        found = sampler.sample()
        assert "system/gpu.1.temperature" in found
        assert "system/gpu.1.power_watts" not in found
    assert calls.count("nvmlDeviceGetPowerUsage") == 2  # each card once


def test_lost_card_leaves_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, nvmlDeviceGetHandleByIndex=lambda index: fail() if index == 0 else index)
    sampler = SystemSampler()
    assert {name.split(".")[1] for name in sampler.sample() if "gpu" in name} == {"1"}
    assert sampler.dropped["gpu.0"] == "Missing: not supported"


def test_machine_without_a_driver_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = nvml(monkeypatch, nvmlInit=fail)
    sampler = SystemSampler()
    for _ in range(3):
        assert sampler.sample().keys() >= MACHINE
    assert calls == ["nvmlInit"]


def test_sample_costs_milliseconds_at_most() -> None:
    sampler = SystemSampler(os.getpid())
    sampler.sample()
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        sampler.sample()
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.005  # 0.4 ms measured
