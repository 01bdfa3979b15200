"""`SystemSampler`: what the machine and the process use at a moment.

A source that fails is asked once and not again. Bytes are counted in MiB (2**20), named ``mb`` as everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MB = float(1 << 20)

Source = Callable[[], dict[str, float]]


class SystemSampler:
    """Measures CPU, memory, disk, network and NVIDIA GPUs, as far as psutil and nvidia-ml-py can be had.

    Percentages of the CPU are means since the sample before; those of the process may exceed 100, which is one core.
    Amounts read, written, sent and received are those of the machine since the sampler was made.

    >>> "system/memory" in SystemSampler().sample()
    True
    """

    def __init__(self, pid: int | None = None, folder: Path | None = None) -> None:
        """Watch the process `pid` (default: this one) and the disk that holds `folder` (default: the current one)."""
        self.dropped: dict[str, str] = {}  # sources that failed, with their reasons
        self._folder = str(folder or Path.cwd())
        self._nvml: Any = None
        self._sources: dict[str, Source] = {}
        self._start("machine", lambda: self._machine_sources(os.getpid() if pid is None else pid))
        self._sources["gpu"] = self._find_gpus  # at the first sample: starting the driver may take a second

    def sample(self) -> dict[str, float]:
        """The values by name, all that could be had; 1 ms without GPUs.

        ``system/cpu``, ``system/cpu.process``, ``system/memory``, ``system/disk.used_percent`` in percent;
        ``system/memory.process_mb``, ``system/disk.read_mb``, ``.write_mb``, ``system/network.sent_mb``, ``.recv_mb``
        in MiB; ``system/threads.process``; for each GPU ``system/gpu.<i>.utilization``, ``.memory_percent`` in percent,
        ``.memory_mb`` in MiB, ``.temperature`` in °C, ``.power_watts``.
        """
        values: dict[str, float] = {}
        for name, source in list(self._sources.items()):
            try:
                values |= source()
            except Exception as error:  # containers hide files, drivers go away: the rest is measured on
                self._drop(name, error)
        return values

    def close(self) -> None:
        """Let go of the GPU driver."""
        nvml, self._nvml = self._nvml, None
        self._sources = {name: source for name, source in self._sources.items() if not name.startswith("gpu")}
        if nvml is not None:
            self._start("gpu", nvml.nvmlShutdown)

    def _start(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # what is missing is not measured
            self._drop(name, error)

    def _drop(self, name: str, error: Exception) -> None:
        self._sources.pop(name, None)
        self.dropped[name] = f"{type(error).__name__}: {error}"

    def _machine_sources(self, pid: int) -> None:
        import psutil

        self._sources |= {
            "cpu": lambda: {"system/cpu": psutil.cpu_percent()},
            "memory": lambda: {"system/memory": psutil.virtual_memory().percent},
            "disk": lambda: {"system/disk.used_percent": psutil.disk_usage(self._folder).percent},
        }
        psutil.cpu_percent()  # the first answer is of no interval
        self._start("disk.io", lambda: self._add_disk(psutil))
        self._start("network", lambda: self._add_network(psutil))
        self._start("process", lambda: self._add_process(psutil.Process(pid)))

    def _add_process(self, process: Any) -> None:
        def measure() -> dict[str, float]:
            with process.oneshot():
                return {
                    "system/cpu.process": process.cpu_percent(),
                    "system/memory.process_mb": process.memory_info().rss / _MB,
                    "system/threads.process": float(process.num_threads()),
                }

        measure()
        self._sources["process"] = measure

    def _add_disk(self, psutil: Any) -> None:
        before = psutil.disk_io_counters()
        if before is None:
            raise OSError("no disk tells what it reads and writes")

        def measure() -> dict[str, float]:
            now = psutil.disk_io_counters()
            return {
                "system/disk.read_mb": (now.read_bytes - before.read_bytes) / _MB,
                "system/disk.write_mb": (now.write_bytes - before.write_bytes) / _MB,
            }

        self._sources["disk.io"] = measure

    def _add_network(self, psutil: Any) -> None:
        before = psutil.net_io_counters()
        if before is None:
            raise OSError("no network interface tells what it sends")

        def measure() -> dict[str, float]:
            now = psutil.net_io_counters()
            return {
                "system/network.sent_mb": (now.bytes_sent - before.bytes_sent) / _MB,
                "system/network.recv_mb": (now.bytes_recv - before.bytes_recv) / _MB,
            }

        self._sources["network"] = measure

    # GPUs: each value of each card is a source, for cards differ in what they tell

    def _find_gpus(self) -> dict[str, float]:
        import pynvml as nvml  # type: ignore[import-untyped,unused-ignore]

        nvml.nvmlInit()
        self._nvml = nvml
        del self._sources["gpu"]
        values: dict[str, float] = {}
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                device = nvml.nvmlDeviceGetHandleByIndex(index)
            except Exception as error:  # a lost card; the others are measured
                self._drop(f"gpu.{index}", error)
                continue
            for name, source in _gpu_sources(nvml, device, f"system/gpu.{index}").items():
                self._sources[f"gpu.{index}.{name}"] = source
                try:
                    values |= source()
                except Exception as error:  # not every card has every sensor
                    self._drop(f"gpu.{index}.{name}", error)
        return values


def _gpu_sources(nvml: Any, device: Any, prefix: str) -> dict[str, Source]:
    def memory() -> dict[str, float]:
        info = nvml.nvmlDeviceGetMemoryInfo(device)
        return {
            f"{prefix}.memory_percent": 100.0 * info.used / info.total,
            f"{prefix}.memory_mb": info.used / _MB,
        }

    return {
        "utilization": lambda: {
            f"{prefix}.utilization": float(nvml.nvmlDeviceGetUtilizationRates(device).gpu)
        },
        "memory": memory,
        "temperature": lambda: {
            f"{prefix}.temperature": float(nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))
        },
        "power": lambda: {f"{prefix}.power_watts": nvml.nvmlDeviceGetPowerUsage(device) / 1000.0},
    }
