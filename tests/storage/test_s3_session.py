"""Transfers on which nothing moves end; those that are merely slow do not."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import s3proxy
import s3server
from lineart.storage import s3
from lineart.storage.backend import Backend
from lineart.storage.errors import CommError
from lineart.storage.remote import FsspecBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.testing_tools import stage

VALUE = os.urandom(8 << 20)  # more than lies in the buffers of system and proxy


@pytest.fixture(scope="module")
def proxy(moto_server: s3server.S3Server) -> Iterator[Any]:
    with s3proxy.running_proxy(moto_server.endpoint) as running:
        yield running


@pytest.fixture
def url(moto_server: s3server.S3Server, proxy: Any) -> Iterator[str]:
    """A bucket with a large value, behind the proxy, which is at peace again afterwards."""
    proxy.set(stall=0, stall_bytes=65536, speed=0)
    address = s3server.new_bucket(moto_server)
    backend = FsspecBackend(address, moto_server.storage_options)
    backend.write("large", VALUE)
    backend.close()
    yield address
    proxy.set(stall=0, speed=0)


def opened(url: str, proxy: Any, *, timeout_s: float = 1.0) -> FsspecBackend:
    options = {"key": "testing", "secret": "testing", "endpoint": proxy.endpoint, "region": "us-east-1"}
    return FsspecBackend(url, {**options, "timeout": timeout_s})


def write_file(backend: Backend) -> None:
    backend.write_file("new", stage(backend, VALUE))


CALLS: dict[str, Callable[[Backend], object]] = {
    "write": lambda backend: backend.write("new", VALUE),
    "write_file": write_file,
    "read": lambda backend: backend.read("large"),
    "range": lambda backend: backend.read("large", 100, len(VALUE) // 2),
}


@pytest.mark.parametrize("call", CALLS)
def test_transfer_that_stops_in_the_middle_hangs(url: str, proxy: Any, call: str) -> None:
    backend = opened(url, proxy)
    backend.stat("large")  # not the first contact, which has a limit of its own
    proxy.set(stall=1)
    with pytest.raises(CommError, match="no byte has moved"):
        CALLS[call](backend)
    CALLS[call](backend)
    backend.close()


@pytest.mark.parametrize("call", ["stat", "list", "delete", "read"])
def test_server_that_takes_a_request_and_says_nothing_hangs_the_client(
    url: str, proxy: Any, call: str
) -> None:
    backend = opened(url, proxy)
    calls: dict[str, Callable[[], object]] = {
        "stat": lambda: backend.stat("large"),
        "list": lambda: list(backend.list("")),
        "delete": lambda: backend.delete(["x"]),
        "read": lambda: backend.read("large"),
    }
    proxy.set(stall=1, stall_bytes=-1)
    with pytest.raises(CommError, match="no byte has moved for 1 s"):
        calls[call]()
    calls[call]()
    backend.close()


@pytest.mark.parametrize("call", ["write_file", "read"])
def test_stalled_transfer_is_not_tried_again(url: str, proxy: Any, call: str) -> None:
    backend = RetryingBackend(opened(url, proxy), first_delay_s=0.01)
    proxy.set(stall=2)
    CALLS[call](backend)
    assert backend.read("new" if call == "write_file" else "large") == VALUE
    backend.close()


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_slow_transfer_is_taken_for_a_stalled_one(url: str, proxy: Any, call: str) -> None:
    limit_s = 1.0
    backend = opened(url, proxy, timeout_s=limit_s)
    backend.stat("large")
    proxy.set(speed=len(VALUE) / 3)
    begin_s = time.monotonic()
    CALLS[call](backend)
    assert time.monotonic() - begin_s > limit_s, "else nothing is shown"
    backend.close()


def test_address_where_nobody_answers_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is not even refused: as behind a firewall that drops what it does not like."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        monkeypatch.setattr(s3, "_CONNECT_S", 0.5)
        options = {"key": "testing", "secret": "testing", "endpoint": f"http://127.0.0.1:{port}"}
        backend = FsspecBackend("s3://bucket", {**options, "region": "us-east-1"})
        with pytest.raises(CommError, match=r"no connection within 0\.5 s"):
            backend.read("a")
        backend.close()
        for one in waiting:
            one.close()
