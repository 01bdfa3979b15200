"""What a run records by itself: process, code, packages, console, machine. None of it may slow or break the run."""

from __future__ import annotations

from .process import capture_process, git_state, masked

__all__ = ["capture_process", "git_state", "masked"]
