"""What a run was: command, code, Python and host. Nothing here fails a run: what cannot be found out is left out."""

from __future__ import annotations

import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_GIT_TIMEOUT_S = 5.0
_SECRET_NAME = r"[\w.-]*(?:password|passwd|secret|token|api[_-]?key|credential)[\w.-]*"
_ASSIGNED = re.compile(rf"(?is)({_SECRET_NAME})=(.+)")
_FLAG = re.compile(rf"(?i)--?{_SECRET_NAME}\Z")


def capture_process(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Command line (with secrets masked), working folder, git state, Python and host of a process."""
    return {
        "command": masked(arguments),
        "folder": str(folder),
        "git": git_state(folder),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "host": socket.gethostname(),
    }


def masked(arguments: Sequence[str]) -> list[str]:
    """A command line in which values that look like secrets read ``***``.

    >>> masked(["train.py", "--api-key", "abc", "--lr=0.1", "TOKEN=xyz"])
    ['train.py', '--api-key', '***', '--lr=0.1', 'TOKEN=***']
    """
    result, hide = [], False
    for argument in arguments:
        match = _ASSIGNED.fullmatch(argument.lstrip("-")) if "=" in argument else None
        if hide:
            result.append("***")
        elif match:
            dashes = argument[: len(argument) - len(argument.lstrip("-"))]
            result.append(f"{dashes}{match.group(1)}=***")
        else:
            result.append(argument)
        hide = not hide and _FLAG.match(argument) is not None
    return result


def git_state(folder: Path) -> Mapping[str, Any] | None:
    """Commit, branch, remote and whether tracked files differ from the commit; None outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    remote = _git(folder, "remote", "get-url", "origin")
    return {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "remote": None if remote is None else re.sub(r"//[^/]*@", "//", remote),  # no credentials
        "dirty": None if status is None else bool(status),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # the user's own git, from PATH
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
