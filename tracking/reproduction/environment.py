"""The Python that a version is made anew with: a virtual environment with the packages of then, or the present one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .plan import REQUIREMENTS, SAVED, VENV, Environment

_EDITABLE = re.compile(r"-e (?P<place>.+?)  # (?P<pin>\S+==\S+)\Z")
# What the surrounding process was told must not reach what is run again: it has its own store, run and packages.
_OURS = ("LINEART_", "WANDB_")
_REASONS = ("ERROR:", "×", "Error:")  # how pip and venv begin the line that says why
_OTHER_MODULES = ("PYTHONPATH", "PYTHONHOME")


class CannotReproduce(Exception):
    """Why it cannot be done, in one line."""


def make_environment(
    folder: Path, wanted: Environment, environ: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    """A virtual environment below `folder` with the recorded packages; its interpreter. Raises: CannotReproduce."""
    base = _interpreter(wanted.python)
    say(f"making a virtual environment; packages to install: {len(wanted.requirements)}")
    _run([str(base), "-m", "venv", str(folder / VENV)], "python -m venv", environ)
    python = folder / VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if wanted.requirements:
        listed = folder / SAVED / REQUIREMENTS
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(
            "".join(f"{_installable(line)}\n" for line in wanted.requirements), encoding="utf-8"
        )
        install = (
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "-r",
            str(listed),
        )
        _run([str(python), *install], "pip install", environ)
    return python


def child_environment(
    environ: Mapping[str, str], python: Path, *, is_own: bool, settings: Mapping[str, str]
) -> dict[str, str]:
    """The variables of the command: those around, without what is said to Lineart, and `settings`.

    `is_own` for an environment made for it: its programs come first, and no other Python's modules.
    """
    found = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
    if is_own:
        found = {name: value for name, value in found.items() if name not in _OTHER_MODULES}
        found["VIRTUAL_ENV"] = str(python.parent.parent)
    found["PATH"] = os.pathsep.join([str(python.parent), found.get("PATH", os.defpath)])
    return {**found, "PYTHONUNBUFFERED": "1", **settings}


def _interpreter(version: str | None) -> Path:
    """An interpreter of the same minor version."""
    here = ".".join(map(str, sys.version_info[:2]))
    minor = ".".join((version or here).split(".")[:2])
    if minor == here:
        return Path(sys.executable)
    found = shutil.which(f"python{minor}")
    if found is None:
        raise CannotReproduce(f"Python {minor} is not on the path; --no-env takes this one ({here})")
    return Path(found)


def _installable(line: str) -> str:
    """An editable installation from a folder that is not here is asked of the index."""
    match = _EDITABLE.match(line)
    if match is None:
        return line
    return f"-e {match['place']}" if Path(match["place"]).is_dir() else match["pin"]


def _run(command: list[str], what: str, environ: Mapping[str, str]) -> None:
    plain = {name: value for name, value in environ.items() if name not in _OTHER_MODULES}
    done = subprocess.run(
        command, capture_output=True, text=True, env=plain, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        marked = [line for line in lines if line.startswith(_REASONS)]
        reason = (marked or lines or ["it says nothing"])[-1]
        raise CannotReproduce(f"{what} failed: {reason}; --no-env takes the present interpreter")
