"""The HTTP session of S3 clients, with a watchdog: a request on which no byte moves ends, a slow one goes on.

aiohttp has limits for the connection and for each piece of an answer, none for what is sent: to a server that stops
reading an upload hangs for ever. So each request is watched from here. What counts as moving:

- a piece of the body given to the connection,
- bytes that the other side has taken out of the send queue of the socket, where the system tells: on a slow line
  megabytes lie there for minutes after the last piece was given,
- the answer. A proxy on the way may hold megabytes, too, which nobody sees: so the answer to a body may take as much
  longer as the body took. For the body of an answer aiohttp has a limit.

A stalled request is not repeated here: botocore would make minutes of it. `RetryingBackend` repeats it.

The only module that imports aiohttp and aiobotocore, so it is imported when a client is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import AsyncIterable
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp.abc import AbstractStreamWriter
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

__all__ = ["TransferStalled", "WatchedSession"]

_PIECE_BYTES = 128 * 1024
_UNLIMITED_S = 7 * 24 * 3600.0  # what aiohttp is told where this module looks itself
_FIRST_ANSWER_S = 10.0  # a service that has never answered is given up earlier: the run goes on offline
_LOOKS = 20  # a limit is looked at this often


class TransferStalled(Exception):
    """No byte has moved for as long as is allowed. No error of botocore, which would repeat it."""


class _Progress:
    """When something moved last on one request, in seconds of the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._loop = loop
        self.limit_s = limit_s
        self._begin_s = loop.time()
        self._transport: Any = None
        self._queued_bytes = 0
        self.is_sent = False
        self._moved_s = loop.time()

    def moved(self) -> None:
        self._moved_s = self._loop.time()

    def watch(self, writer: AbstractStreamWriter) -> None:
        """From now on look at what waits behind `writer`, too."""
        self._transport = getattr(writer, "transport", None)

    def has_stalled(self) -> bool:
        """Whether nothing has moved for too long."""
        queued_bytes = self.queued_bytes()
        if queued_bytes != self._queued_bytes:
            self._queued_bytes = queued_bytes
            self.moved()
        took_s = self._moved_s - self._begin_s if self.is_sent and not queued_bytes else 0.0
        return self._loop.time() - self._moved_s > self.limit_s + took_s

    def queued_bytes(self) -> int:
        """What was given to the connection and the other side has not taken, as far as the system tells."""
        if self._transport is None:
            return 0
        waiting: int = self._transport.get_write_buffer_size()
        with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):  # closed, or not Linux
            import fcntl
            import termios

            descriptor = self._transport.get_extra_info("socket").fileno()
            waiting += int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return waiting


class _WatchedBody(aiohttp.payload.Payload):
    """A body that is sent piece by piece, so that it is seen to move."""

    _autoclose = True

    def __init__(self, value: Any, progress: _Progress) -> None:
        super().__init__(value, content_type="application/octet-stream")
        self._progress = progress
        self._size = len(value) if isinstance(value, (bytes, bytearray)) else None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body of a request is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._progress.watch(writer)
        self._progress.moved()
        if isinstance(self._value, AsyncIterable):
            async for piece in self._value:
                await writer.write(piece)
                self._progress.moved()
        else:
            # botocore has made it a stream: of bytes in memory, so reading it here keeps nobody waiting.
            stream = self._value if isinstance(self._value, io.IOBase) else io.BytesIO(self._value)
            while piece := stream.read(_PIECE_BYTES):
                await writer.write(piece)
                self._progress.moved()
        self._progress.is_sent = True


class WatchedSession(AIOHTTPSession):  # type: ignore[misc]  # has no types
    """A session whose requests end with `TransferStalled` when nothing moves for the client's `read_timeout`."""

    _has_answered = False

    async def send(self, request: Any) -> Any:
        timeout: Any = self._timeout
        limit_s = timeout.sock_read
        if not self._has_answered:
            limit_s = min(limit_s, _FIRST_ANSWER_S)
        progress = _Progress(asyncio.get_running_loop(), limit_s)
        body = request.body
        if isinstance(body, (io.BytesIO, bytes, bytearray, AsyncIterable)):
            request.body = _WatchedBody(body, progress)
            request.context = {**(getattr(request, "context", None) or {}), "read_timeout": _UNLIMITED_S}
        elif body:
            return await super().send(request)  # nothing that Lineart sends, and its progress is not seen
        task = asyncio.ensure_future(super().send(request))
        try:
            while not (await asyncio.wait({task}, timeout=limit_s / _LOOKS))[0]:
                if progress.has_stalled():
                    raise TransferStalled(f"no byte has moved for {limit_s:g} s")
            answer = task.result()
        except ConnectTimeoutError as error:
            raise TransferStalled(f"no connection within {timeout.sock_connect:g} s") from error
        except ReadTimeoutError as error:
            raise TransferStalled(f"no byte has moved for {limit_s:g} s") from error
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            request.body = body  # botocore winds it back when it sends the request again
        self._has_answered = True
        return answer
