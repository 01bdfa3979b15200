"""Each test and doctest has a home, a working directory and a store of its own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Frameworks read these when they are imported, which collecting doctests does.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what the tests need of the machine, before anything is collected."""
    _gather_temporary_files(config)
    _answer_signals()


def _gather_temporary_files(config: pytest.Config) -> None:
    """What killed processes leave in the system's temporary folder goes when the tests end."""
    if not hasattr(config, "workerinput"):
        os.environ.setdefault(
            "PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir()
        )  # what failed tests leave is kept
        tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="lineart-tests-")
        Path(tempfile.tempdir).chmod(0o1777)  # as that of the system: some tests run as other users
        config.add_cleanup(lambda: shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True))
    os.environ.setdefault("KERAS_HOME", str(Path(os.environ["TMPDIR"]) / "keras"))


def _answer_signals() -> None:
    """A shell that starts the tests in its background has them ignore signals, and all that they start with them."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def _bucket_server() -> Iterator[Any]:
    """With ``LINEART_TEST_STORE=s3``: a server on which each test that has a store in use gets it as a bucket."""
    if os.environ.get("LINEART_TEST_STORE") != "s3":
        yield None
        return
    sys.path.insert(0, str(Path(__file__).parent / "tests"))
    import s3server

    with s3server.moto() as server:
        yield server


def _put_store_in_bucket(server: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3server
    from lineart.storage.store import Store

    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    url = f"{s3server.new_bucket(server)}/store"
    made = Store.create(url, cache=home / "maker", entity="default", created="2026-01-02T03:04:05.000006Z")
    made.close()
    monkeypatch.setenv("LINEART_STORE", url)


@pytest.fixture(autouse=True)
def _isolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, _bucket_server: Any
) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("LINEART_", "WANDB_", "AWS_", "XDG_")) and not name.startswith("LINEART_TEST_"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "store"))
    if _bucket_server is not None:
        if request.node.get_closest_marker("on_disk") is not None:
            pytest.skip("this test is about a store in a folder")
        _put_store_in_bucket(_bucket_server, tmp_path / "home", monkeypatch)
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)
    yield
    session = sys.modules.get("lineart.tracking.session")
    if session is not None and session.current_run() is not None:
        session.forget()
