"""What a process is: command, folder, Python, host, machine and environment.

Nothing here fails a run: what cannot be found out is left out. The environment comes in as an argument.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...storage.masking import masked, masked_variables, secret_values
from .git import git_state

GPU_TIMEOUT_S = 0.05
_VALUE_LIMIT = 4096  # characters of one variable
_NOISE = re.compile(r"BASH_FUNC_|LS_COLORS\Z|_\Z|PS[1-4]\Z|PROMPT|LESS|TERMCAP\Z|__")


def capture_process(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Command line (with secrets masked), working folder, git state, Python and host of a process."""
    return {**process_facts(arguments, folder), "git": git_state(folder)}


def process_facts(
    arguments: Sequence[str], folder: Path, *, environ: Mapping[str, str] | None = None, host: bool = True
) -> dict[str, Any]:
    """What is known within microseconds: command (with secrets masked), folder, Python, executable, host, platform.

    Secrets of `environ` that stand in the command line under other names are masked too. `host` False leaves out
    what tells about the host.
    """
    facts: dict[str, Any] = {
        "command": masked(arguments, secret_values(environ or {})),
        "folder": str(folder),
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    if host:
        facts |= {
            "executable": sys.executable,
            "platform": _platform(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
    return facts


def machine_facts() -> dict[str, Any]:
    """CPU count (and those that the process may use), memory in bytes, the full name of the platform."""
    import platform  # 5 ms, as much again for its answer: not in the start of a run

    facts: dict[str, Any] = {"platform": platform.platform(), "cpu_count": os.cpu_count()}
    if sys.platform == "linux":
        facts["cpu_usable"] = len(os.sched_getaffinity(0))
    memory = _memory_bytes()
    if memory is not None:
        facts["memory_bytes"] = memory
    return facts


def gpu_names(timeout_s: float = GPU_TIMEOUT_S) -> list[str]:
    """Names of the NVIDIA GPUs; none without a driver or the package nvidia-ml-py.

    Raises: TimeoutError when the driver has not answered after `timeout_s` seconds (its first start may take long).
    """
    names: list[str] = []
    thread = threading.Thread(target=_ask_driver, args=(names,), name="lineart-gpus", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TimeoutError(f"the NVIDIA driver did not answer within {timeout_s} s")
    return names


def capture_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by name, values that look like secrets masked, long values cut, decoration of shells left out."""
    useful = {name: value for name, value in environ.items() if not _NOISE.match(name)}
    found = masked_variables(useful)
    return {
        name: value if len(value) <= _VALUE_LIMIT else f"{value[:_VALUE_LIMIT]}… ({len(value)} characters)"
        for name, value in sorted(found.items())
    }


def _platform() -> str:
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        return f"Windows-{version.major}.{version.minor}.{version.build}"
    name = os.uname()
    return f"{name.sysname}-{name.release}-{name.machine}"


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not POSIX, or a POSIX without these names
        pass
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().total)


def _ask_driver(names: list[str]) -> None:
    try:
        import pynvml  # type: ignore[import-untyped,unused-ignore]

        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
            names.append(name.decode() if isinstance(name, bytes) else str(name))
        pynvml.nvmlShutdown()
    except Exception:  # no package, no driver, a broken one: the machine is described without GPUs
        return
