"""An S3 server for the session (under xdist: for each worker), an empty bucket for each test."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "lineart.storage.testing", "lineart.storage.testing_listing", "lineart.storage.testing_tools"
)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # pytest's importlib mode leaves it alone

import log_places  # noqa: E402 - only now can they be found
import postgres_server  # noqa: E402
import s3server  # noqa: E402
from lineart.storage.local import LocalBackend  # noqa: E402
from lineart.storage.memory import MemoryBackend  # noqa: E402


@pytest.fixture(scope="session")
def moto_server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as server:
        yield server


@pytest.fixture(scope="session")
def ministack_server() -> Iterator[s3server.S3Server]:
    """Its requirements contradict those of s3fs, so it lives in an environment of its own."""
    executable = os.environ.get("LINEART_TEST_MINISTACK") or shutil.which("ministack")
    if not executable:
        pytest.skip("no ministack on PATH nor in LINEART_TEST_MINISTACK; try: uv tool install ministack")
    with s3server.ministack(executable) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    with postgres_server.postgres_or_skip() as server:
        yield server


@pytest.fixture(scope="session")
def database(postgres: postgres_server.PostgresServer) -> str:
    """A database that many stores share."""
    return postgres.new_database()


@pytest.fixture(params=["local", "memory", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[log_places.LogPlace]:
    """An empty log."""
    if request.param != "postgres":
        backend = LocalBackend(tmp_path / "store") if request.param == "local" else MemoryBackend()
        yield log_places.BackendPlace(backend)
        return
    there = log_places.PostgresPlace(request.getfixturevalue("database"))
    yield there
    there.logs.close()
