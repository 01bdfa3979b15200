"""A small HTTP proxy before an S3 server: adds time to requests, counts, fails, slows and stalls them, loses answers.

    python benchmarks/proxy.py http://127.0.0.1:9000 --delay-ms 20

prints the address that it listens on and serves until its standard input ends. It is steered by requests to itself:
``GET /_proxy/stats`` gives the counts since the last ``/_proxy/reset``; ``/_proxy/set?delay_ms=20&fail=0.1&refuse=1``
changes what it does: `fail` is the share of requests answered 503 before they reach the server, `lose` the share whose
answer is thrown away after the server has acted on them, `refuse` closes every connection. The next `stall` requests
with a body or an answer longer than `stall_bytes` stop there, for as long as the client likes; with ``stall_bytes=-1``
before anything of the answer. `speed` is how many bytes a second pass on each connection (0: all that come).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PIECE_BYTES = 256 * 1024
_HEAD_LIMIT_BYTES = 256 * 1024


@dataclass(slots=True)
class Behaviour:
    """What the proxy does to requests; changed while it runs."""

    delay_ms: float = 0.0
    fail: float = 0.0
    lose: float = 0.0
    refuse: float = 0.0
    stall: float = 0.0
    stall_bytes: float = 64 * 1024
    speed: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))


class Proxy:
    """One proxy; `counts` by method, `shown` the request lines in order."""

    def __init__(self, upstream: str, behaviour: Behaviour) -> None:
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self.behaviour = behaviour
        self.counts: Counter[str] = Counter()
        self.shown: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client connection: request after request."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while head := await _head(reader):
                method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
                if path.startswith("/_proxy/"):
                    writer.write(self._steer(path))
                    await writer.drain()
                    continue
                if self.behaviour.refuse:
                    return
                self.counts[method] += 1
                self.shown.append(f"{method} {path}")
                await asyncio.sleep(self.behaviour.delay_ms / 1000)
                if self.behaviour.chance.random() < self.behaviour.fail:
                    await _copy_body(reader, None, head)
                    writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    await writer.drain()
                    return
                if upstream is None:
                    upstream = await asyncio.open_connection(self._host, self._port)
                loses = self.behaviour.chance.random() < self.behaviour.lose
                if not await self._exchange(head, method, reader, writer, upstream, loses=loses):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            return  # the client or the server has gone: nothing is left to pass on
        except asyncio.CancelledError:
            return  # the proxy ends while this is stalled
        finally:
            for end in (writer, upstream[1] if upstream else None):
                if end is not None:
                    end.close()

    async def _exchange(
        self,
        head: bytes,
        method: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        loses: bool,
    ) -> bool:
        """Pass on one request and its answer; False when the connection is over."""
        from_server, to_server = upstream
        if b"\r\nexpect: 100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(
                line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")
            )
        to_server.write(head)
        await _copy_body(reader, to_server, head, self._moderate)
        await to_server.drain()
        answer = await _head(from_server)
        if not answer:
            return False
        if self.behaviour.stall_bytes < 0:
            await self._moderate(0)
        sink = None if loses else writer
        if sink is not None:
            sink.write(answer)
        status = int(answer.split(b" ", 2)[1])
        ends_open = b"content-length:" not in answer.lower() and b"chunked" not in answer.lower()
        if method != "HEAD" and status not in (204, 304):
            await _copy_body(from_server, sink, answer, self._moderate, until_end=ends_open)
        if sink is not None:
            await sink.drain()
        closes = b"connection: close" in answer.lower() or answer.startswith(b"HTTP/1.0") or ends_open
        return not loses and not (closes and method != "HEAD")

    async def _moderate(self, passed_bytes: int, piece_bytes: int = 0) -> None:
        """Wait behind a piece of a body, of which `passed_bytes` have passed; for ever, if it is to stall."""
        if self.behaviour.stall > 0 and passed_bytes > self.behaviour.stall_bytes:
            self.behaviour.stall -= 1
            await asyncio.Event().wait()
        if self.behaviour.speed:
            await asyncio.sleep(piece_bytes / self.behaviour.speed)

    def _steer(self, path: str) -> bytes:
        parts = urlsplit(path)
        what = parts.path.removeprefix("/_proxy/")
        if what == "set":
            for name, values in parse_qs(parts.query).items():
                setattr(self.behaviour, name, float(values[0]))
        said = {"total": sum(self.counts.values()), "counts": dict(self.counts), "shown": self.shown}
        if what == "reset":
            self.counts, self.shown = Counter(), []
        body = json.dumps(said).encode()
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The request or status line with the headers; empty at the end."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _copy_body(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter | None,
    head: bytes,
    moderate: Callable[[int, int], Awaitable[None]] | None = None,
    *,
    until_end: bool = False,
) -> None:
    length: float = float("inf") if until_end else 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"transfer-encoding" and b"chunked" in value.lower():
            await _copy_chunks(reader, writer)
            return
    passed_bytes = 0
    while length > 0:
        piece = await reader.read(int(min(length, _PIECE_BYTES)))
        if not piece:
            return
        length -= len(piece)
        passed_bytes += len(piece)
        if moderate is not None:
            await moderate(passed_bytes, len(piece))
        if writer is not None:
            writer.write(piece)
            await writer.drain()


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    while True:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        data = await reader.readexactly(size + 2)
        if writer is not None:
            writer.write(line + data)
            await writer.drain()
        if size == 0:
            return


class RunningProxy:
    """A proxy in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], endpoint: str) -> None:
        self._process = process
        self.endpoint = endpoint

    def set(self, **values: float) -> None:
        """Change what it does; see the module."""
        self._ask("set?" + "&".join(f"{name}={value}" for name, value in values.items()))

    def stats(self) -> dict[str, Any]:
        """Requests since the last reset."""
        return self._ask("stats")

    def reset(self) -> dict[str, Any]:
        """Requests since the last reset; then it counts from zero."""
        return self._ask("reset")

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.endpoint}/_proxy/{what}", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextlib.contextmanager
def running_proxy(upstream: str, *, delay_ms: float = 0.0) -> Iterator[RunningProxy]:
    """A proxy before `upstream` while the context lasts."""
    command = [sys.executable, __file__, upstream, "--delay-ms", str(delay_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield RunningProxy(process, process.stdout.readline().strip())
        finally:
            process.stdin.close()
            process.wait(10)


async def _main(upstream: str, delay_ms: float) -> None:
    proxy = Proxy(upstream, Behaviour(delay_ms=delay_ms))
    listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
    # Else the system takes in megabytes while this stalls or is slow, and the client sees nothing of it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE_BYTES)
    server = await asyncio.start_server(proxy.serve, sock=listening, limit=_HEAD_LIMIT_BYTES)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("upstream")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    given = parser.parse_args()
    asyncio.run(_main(given.upstream, given.delay_ms))
