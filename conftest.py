"""Each test and doctest has a home, a working directory and a store of its own."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Frameworks read these when they are imported, which collecting doctests does.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("KERAS_HOME", str(Path(tempfile.gettempdir()) / "lineart-tests-keras"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_configure() -> None:
    """A shell that starts the tests in its background has them ignore signals, and all that they start with them."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _isolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("LINEART_", "WANDB_", "AWS_", "XDG_")) and not name.startswith("LINEART_TEST_"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "store"))
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)
    yield
    session = sys.modules.get("lineart.tracking.session")
    if session is not None and session.current_run() is not None:
        session.forget()
