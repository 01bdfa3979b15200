"""Libraries that read the environment when they are imported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

collect_ignore = ["scripts"]  # run by tests in processes of their own, not imported

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("KERAS_HOME", str(Path(tempfile.gettempdir()) / "lineart-tests-keras"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_configure(config: pytest.Config) -> None:
    # Keras turns its variables into arrays in the way of NumPy 1; its doctests cannot say so themselves.
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    )


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Trainers write checkpoints, and downloads go below the working directory.
    monkeypatch.chdir(tmp_path)
