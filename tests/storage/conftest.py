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

import s3server  # noqa: E402 - only now can it be found


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
