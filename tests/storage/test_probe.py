"""The probe accepts stores that keep their promise and refuses those that do not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import s3server
from lineart.storage.backend import Backend, Buffer
from lineart.storage.errors import CommError, ConflictError, NotFoundError, StoreError
from lineart.storage.faults import Fault, FaultyBackend, ScriptedFaults
from lineart.storage.local import LocalBackend
from lineart.storage.memory import MemoryBackend
from lineart.storage.probe import probe_conditional_create
from lineart.storage.remote import FsspecBackend
from lineart.storage.wrapper import BackendWrapper


def s3(server: s3server.S3Server) -> Backend:
    options = server.storage_options
    options["config_kwargs"] = {"retries": {"max_attempts": 2}}
    return FsspecBackend(f"{s3server.new_bucket(server)}/store", options)


def accepts(backend: Backend) -> None:
    probe_conditional_create(backend)
    assert list(backend.list("")) == []
    backend.close()


def test_local_folder_is_refused(tmp_path: Path) -> None:
    accepts(LocalBackend(tmp_path))


def test_memory_is_refused() -> None:
    accepts(MemoryBackend())


def test_s3_is_refused(moto_server: s3server.S3Server) -> None:
    accepts(s3(moto_server))


def test_second_s3_is_refused(ministack_server: s3server.S3Server) -> None:
    accepts(s3(ministack_server))


def test_service_that_ignores_the_condition_is_accepted() -> None:
    with s3server.moto(s3server.ignores_condition) as server:
        backend = s3(server)
        with pytest.raises(StoreError, match=r"ignores conditional create.*honours") as caught:
            probe_conditional_create(backend)
        assert backend.url in str(caught.value)
        assert list(backend.list("")) == []
        backend.close()


def test_service_that_answers_409_first_is_refused() -> None:
    busy = s3server.answers_first(
        409, "ConditionalRequestConflict", times=2, matches=s3server.is_conditional_write
    )
    with s3server.moto(busy) as server:
        accepts(s3(server))


def test_service_that_loses_an_answer_is_refused() -> None:
    with s3server.moto(s3server.loses_first_answer) as server:
        accepts(s3(server))


def test_service_without_conditional_requests_is_called_unreachable() -> None:
    refusing = s3server.answers_first(
        501, "NotImplemented", times=1000, matches=s3server.is_conditional_write
    )
    with s3server.moto(refusing) as server:
        backend = s3(server)
        with pytest.raises(StoreError, match="501 NotImplemented"):
            probe_conditional_create(backend)
        backend.close()


class CheckThenWrite(BackendWrapper):
    """Passes the two steps; two callers at once may both win."""

    def __init__(self, inner: Backend, callers: int) -> None:
        super().__init__(inner)
        self._meeting = threading.Barrier(callers)

    def create(self, key: str, data: Buffer) -> None:
        try:
            self._inner.stat(key)
        except NotFoundError:
            if "race" in key:
                self._meeting.wait(60)  # all have checked, none has written
            self._inner.write(key, data)
        else:
            raise ConflictError(key)


def test_check_then_write_is_accepted() -> None:
    backend = CheckThenWrite(MemoryBackend(), callers=8)
    with pytest.raises(StoreError, match="let 8 of 8 callers"):
        probe_conditional_create(backend)
    assert list(backend.list("")) == []


class Liar(BackendWrapper):
    """Says that the key is taken, and replaces its value all the same."""

    def create(self, key: str, data: Buffer) -> None:
        try:
            self._inner.create(key, data)
        except ConflictError:
            self._inner.write(key, data[:3])
            raise


def test_replaced_value_is_accepted() -> None:
    backend = Liar(MemoryBackend())
    with pytest.raises(StoreError, match="replaced the value"):
        probe_conditional_create(backend)
    assert list(backend.list("")) == []


def test_taken_fresh_key_is_accepted() -> None:
    class Full(BackendWrapper):
        def create(self, key: str, data: Buffer) -> None:
            raise ConflictError(key)

    with pytest.raises(StoreError, match="fresh key"):
        probe_conditional_create(Full(MemoryBackend()))


def test_failure_leaves_keys_behind() -> None:
    memory = MemoryBackend()
    plan = ScriptedFaults({"create": [None, None, Fault.BEFORE]})
    with pytest.raises(CommError):
        probe_conditional_create(FaultyBackend(memory, plan))
    assert list(memory.list("")) == []


def test_failed_cleaning_is_swallowed() -> None:
    plan = ScriptedFaults({"delete": [Fault.BEFORE]})
    with pytest.raises(CommError, match="delete"):
        probe_conditional_create(FaultyBackend(MemoryBackend(), plan))


def test_failed_cleaning_hides_why_the_store_is_refused() -> None:
    plan = ScriptedFaults({"delete": [Fault.BEFORE]})
    with pytest.raises(StoreError, match="replaced the value"):
        probe_conditional_create(FaultyBackend(Liar(MemoryBackend()), plan))
