"""All that a run records of its process at its start: `quick_facts` within microseconds, `gather` in the background."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...storage.errors import UsageError
from ..run_settings import Settings
from .code import main_code, started_module
from .git import dirty_diff, git_state
from .launchers import launcher_facts
from .packages import installed_packages
from .process import capture_environment, gpu_names, machine_facts, process_facts

GATHER_TIMEOUT_S = 10.0
CODE_LIMIT_BYTES = 10_000_000
_GPU_TIMEOUT_S = 5.0  # nobody waits for it; the first start of a driver takes seconds


@dataclass(slots=True)
class Captured:
    """Facts, as JSON, and small files by their paths in the run."""

    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def quick_facts(
    settings: Settings, folder: Path, argv: Sequence[str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Command, folder, Python and host, and the `module` of ``python -m``: no process is started and no file read."""
    module = started_module(sys.modules.get("__main__"), argv)
    facts = process_facts(argv, folder, environ=environ, host=settings.host)
    return facts if module is None else {**facts, "module": module}


def gather(
    settings: Settings,
    folder: Path,
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    timeout_s: float = GATHER_TIMEOUT_S,
) -> Captured:
    """All facts, the quick ones too, and ``requirements.txt``, ``diff.patch``, ``environment.json``, ``code/…``.

    The parts are found out side by side; one that fails, or has not ended after `timeout_s` seconds, is left out and
    named in ``facts["not_captured"]`` with the reason. Raises nothing of its own.
    """
    parts: dict[str, Callable[[], Captured]] = {}
    if settings.host:
        parts["machine"] = lambda: Captured(machine_facts())
        parts["gpus"] = _gpus
    if settings.git:
        parts["git"] = lambda: Captured({"git": git_state(folder)})
        parts["diff"] = lambda: _diff(folder)
    if settings.packages:
        parts["packages"] = _packages
    if settings.environment:
        parts["environment"] = lambda: _environment(environ)
    if settings.save_code:
        parts["code"] = lambda: _code(environ)
    whole = Captured(quick_facts(settings, folder, argv, environ))
    missing: dict[str, str] = {}
    for name, found in _side_by_side(parts, timeout_s).items():
        if isinstance(found, Captured):
            whole.facts |= found.facts
            whole.files |= found.files
        else:
            missing[name] = found
    if missing:
        whole.facts["not_captured"] = missing
    return whole


def _side_by_side(parts: Mapping[str, Callable[[], Captured]], timeout_s: float) -> dict[str, Captured | str]:
    """What each part found, or why it found nothing. A part that hangs is left to its daemon thread."""
    found: dict[str, Captured | str] = {}

    def find(name: str, part: Callable[[], Captured]) -> None:
        try:
            found[name] = part()
        except Exception as error:  # whatever it is, it is told and the run goes on
            found[name] = str(error) or type(error).__name__

    deadline = time.monotonic() + timeout_s
    threads = [
        threading.Thread(target=find, args=part, name=f"lineart-{part[0]}", daemon=True)
        for part in parts.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return {name: found.get(name, f"not found out within {timeout_s} s") for name in parts}


def _gpus() -> Captured:
    names = gpu_names(_GPU_TIMEOUT_S)
    return Captured({"gpus": names} if names else {})


def _diff(folder: Path) -> Captured:
    patch = dirty_diff(folder)
    return Captured() if patch is None else Captured({}, {"diff.patch": patch})


def _packages() -> Captured:
    return Captured({}, {"requirements.txt": "".join(f"{line}\n" for line in installed_packages()).encode()})


def _environment(environ: Mapping[str, str]) -> Captured:
    launchers = launcher_facts(environ)
    variables = json.dumps(capture_environment(environ), indent=1, ensure_ascii=False)
    return Captured(
        {"launchers": launchers} if launchers else {},
        {"environment.json": variables.encode("utf-8", "backslashreplace")},
    )


def _code(environ: Mapping[str, str]) -> Captured:
    captured = Captured()
    for name, content in main_code(
        sys.modules.get("__main__"), sys.orig_argv, notebook=environ.get("JPY_SESSION_NAME")
    ):
        size_bytes = content.stat().st_size if isinstance(content, Path) else len(content)
        if size_bytes > CODE_LIMIT_BYTES:
            raise UsageError(f"code file {name} has {size_bytes} bytes, more than {CODE_LIMIT_BYTES}")
        captured.files[f"code/{name}"] = content.read_bytes() if isinstance(content, Path) else content
        captured.facts["code"] = f"code/{name}"
    return captured
