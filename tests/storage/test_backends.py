"""Every backend and wrapper joins the suite that ships with the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import s3server
from lineart.storage.backend import Backend
from lineart.storage.counting import CountingBackend
from lineart.storage.faults import Fault, FaultyBackend, RandomFaults
from lineart.storage.local import LocalBackend
from lineart.storage.memory import MemoryBackend
from lineart.storage.remote import FsspecBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.testing import BackendSuite


class TestLocal(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        backend = LocalBackend(tmp_path / "made" / "when needed")
        yield backend
        backend.close()

    def other(self, backend: Backend) -> Backend:
        return LocalBackend(Path(backend.url.removeprefix("file://")))


class TestMemory(BackendSuite):
    forks_share = False

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = MemoryBackend()
        yield backend
        backend.close()


class S3Suite(BackendSuite):
    """What is the same for every server."""

    races = 6  # a round of eight requests takes long enough to part a check from its write

    @pytest.fixture
    def server(self) -> s3server.S3Server:
        raise NotImplementedError

    @pytest.fixture
    def backend(self, server: s3server.S3Server) -> Iterator[Backend]:
        self.options = server.storage_options
        self.others: list[Backend] = []
        backend = FsspecBackend(f"{s3server.new_bucket(server)}/some/prefix", server.storage_options)
        yield backend
        for one in [*self.others, backend]:
            one.close()

    def other(self, backend: Backend) -> Backend:
        self.others.append(FsspecBackend(backend.url, self.options))
        return self.others[-1]


class TestS3ByMoto(S3Suite):
    @pytest.fixture
    def server(self, moto_server: s3server.S3Server) -> s3server.S3Server:
        return moto_server


class TestS3ByMinistack(S3Suite):
    @pytest.fixture
    def server(self, ministack_server: s3server.S3Server) -> s3server.S3Server:
        return ministack_server


class TestFsspecWithoutS3(BackendSuite):
    forks_share = False
    # fsspec's memory file system checks and then writes: two threads may both win. That is what the probe is for.
    test_create_race_has_not_exactly_one_winner = None  # type: ignore[assignment]

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        # All memory file systems of a process are one: the path keeps the tests apart.
        backend = FsspecBackend(f"memory:/{tmp_path}")
        yield backend
        backend.delete([found.key for found in backend.list("")])
        backend.close()


class OverMemory(BackendSuite):
    """A wrapper over memory forks as memory does."""

    forks_share = False


class TestCounting(OverMemory):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = CountingBackend(MemoryBackend())
        yield backend
        backend.close()


class TestFaultyWithoutFaults(OverMemory):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = FaultyBackend(MemoryBackend())
        yield backend
        backend.close()


class TestRetryingOverFaults(OverMemory):
    """Faults that pass must not be seen at all; of `create` only those whose answer is not lost."""

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        failing = RandomFaults(7, {Fault.BEFORE: 0.2, Fault.TORN: 0.1}, repeat=5)
        idempotent = ["read", "write", "write_file", "stat", "list", "folders", "delete"]
        losing = RandomFaults(8, {Fault.AFTER: 0.2}, methods=idempotent, repeat=5)
        faulty = FaultyBackend(FaultyBackend(MemoryBackend(), losing), failing)
        backend = RetryingBackend(faulty, attempts=12, timeout_s=1e9, sleep=lambda _: None)
        yield backend
        backend.close()
