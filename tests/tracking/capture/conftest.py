"""Real git repositories."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import scenario

Git = Callable[..., str]


@pytest.fixture
def git() -> Git:
    """Run git in a folder, with nothing of this machine's configuration."""

    def run(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
        environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
        command = ["git", *who, "-c", "protocol.file.allow=always", *arguments]
        done = subprocess.run(command, cwd=folder, env=environ, input=stdin, capture_output=True, check=True)
        return done.stdout.decode().strip()

    return run


@pytest.fixture
def repository(tmp_path: Path, git: Git) -> Path:
    """One commit, nothing changed since."""
    folder = scenario.write_tree(tmp_path / "repository", {"train.py": "pass\n", "deep/x": "x"})
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder
