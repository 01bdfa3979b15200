"""Each test and doctest has a home, a working directory and a store of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    for name in list(os.environ):
        if name.startswith(("LINEART_", "AWS_", "XDG_")) and not name.startswith("LINEART_TEST_"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "store"))
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)
