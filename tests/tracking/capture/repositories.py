"""Real git repositories for the tests of capture."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import scenario


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """Run git with nothing of this machine's configuration."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", *who, "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def committed(folder: Path, files: dict[str, str | bytes]) -> Path:
    """A repository at `folder` with one commit of `files`, nothing changed since."""
    scenario.write_tree(folder, files)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder
