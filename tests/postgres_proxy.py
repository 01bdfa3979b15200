"""Something between a client and PostgreSQL that loses requests, loses answers, or falls silent."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from collections.abc import Callable, Iterator


class Loss(enum.Enum):
    """What happens to a request."""

    NONE = "none"
    BEFORE = "before"  # the connection breaks before the server gets it
    AFTER = "after"  # the server has done it; the connection breaks before the client hears of it
    SILENT = "silent"  # the server has done it; the client hears nothing, ever


Plan = Callable[[bytes], Loss]


def is_commit(request: bytes) -> bool:
    """Whether a transaction of a log is in what a client sends."""
    return b'"prev":"' in request and b"INSERT" in request


class Proxy:
    """Passes connections on to a port of this machine; `plan` is asked for each thing that a client sends."""

    def __init__(self, port: int, plan: Plan) -> None:
        self.plan = plan
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True, name="postgres-proxy").start()

    def close(self) -> None:
        """Break all connections and take no more."""
        for one in (self._listener, *self._open):
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._open += (client, server)
            _Pair(self, client, server).start()


class _Pair:
    """One connection, in both directions."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._loss = Loss.NONE

    def start(self) -> None:
        for work in (self._requests, self._answers):
            threading.Thread(target=work, daemon=True, name="postgres-proxy").start()

    def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(1 << 20):
                self._loss = self._proxy.plan(data)
                if self._loss is Loss.BEFORE:
                    break
                self._server.sendall(data)
        self._break()

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(1 << 20):
                if self._loss is Loss.AFTER:
                    break
                if self._loss is Loss.NONE:
                    self._client.sendall(data)
        self._break()

    def _break(self) -> None:
        _end(self._client)
        _end(self._server)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextlib.contextmanager
def proxy(port: int, plan: Plan = lambda request: Loss.NONE) -> Iterator[Proxy]:
    """A proxy for a while."""
    running = Proxy(port, plan)
    try:
        yield running
    finally:
        running.close()
