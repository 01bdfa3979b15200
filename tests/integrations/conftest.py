"""Tests of integrations work in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

collect_ignore = ["scripts"]  # run by tests in processes of their own, not imported


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Trainers write checkpoints, and downloads go below the working directory.
    monkeypatch.chdir(tmp_path)
