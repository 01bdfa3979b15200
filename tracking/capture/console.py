"""`Console`: what Python code writes to stdout and stderr, copied while it is shown as ever.

`write` of the two stream objects is wrapped, so that whoever holds them (a logging handler, a progress bar) is copied
too. The caller pays for an append to a queue, about 0.5 µs; a thread turns it into lines. No lock is taken on the
way, for signal handlers print too. What child processes and C code write to the descriptors is not seen.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from .output_file import OutputFile
from .terminal import Collapser

_PAUSE_S = 0.05  # between two updates of the file: what a killed process may lose
_SLOW_CHARACTERS = 4_000_000  # in the queue: then the printing threads wait a little
_FULL_CHARACTERS = 16_000_000  # then what is printed is not copied any more
_STOP_TIMEOUT_S = 5.0


class TextSink(Protocol):
    """Anything with `write`: it is given finished lines."""

    def write(self, text: str, /) -> object:
        """Take in whole lines."""
        ...


class Console:
    """Copies stdout and stderr to a file or a text sink between `start` and `stop`; a context manager.

    Progress bars are kept as their last line, colours are left out. A file shows unfinished lines too; a sink is given
    lines that cannot change any more, and the rest at the end.

    >>> import io
    >>> sink = io.StringIO()
    >>> with Console(sink):
    ...     print("loss 3.0", end="\\r")
    ...     print("loss 0.5")
    loss 3.0...loss 0.5
    >>> sink.getvalue()
    'loss 0.5\\n'
    """

    def __init__(self, target: Path | TextSink) -> None:
        """Nothing is copied before `start`."""
        self._target = target
        self._items: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._queued = 0  # characters, roughly: threads may count at once, and an empty queue sets it right
        self._skipped = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._tees: list[tuple[_Tee, _Sink]] = []
        self._pid = 0
        self.error: Exception | None = None  # why nothing was or is written

    def start(self) -> None:
        """Begin to copy. Starting again does nothing."""
        if self._thread is not None:
            return
        self._pid = os.getpid()
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="lineart-console", daemon=True)
        self._thread.start()
        seen: list[object] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and all(stream is not other for other in seen):
                seen.append(stream)
                sink = self._sink(name)
                self._tees.append((_attach(name, stream, sink), sink))

    def stop(self) -> None:
        """Give the streams back as they were, and write what is left. Stopping again does nothing."""
        tees, self._tees = self._tees, []
        for tee, sink in tees:
            tee.detach(sink)
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._items.put(None)
            self._stopped.set()
            thread.join(_STOP_TIMEOUT_S)  # a disk that hangs holds up nobody for longer

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def _sink(self, name: str) -> _Sink:
        def take(text: str) -> None:
            if self._pid != os.getpid():  # a fork: the parent's thread is not here
                return
            if self._queued > _SLOW_CHARACTERS:
                if self._queued > _FULL_CHARACTERS:
                    self._skipped += len(text)
                    return
                self._stopped.wait(0.001)
            self._queued += len(text)
            self._items.put((name, text))

        return take

    def _run(self) -> None:
        output: OutputFile | _SinkOutput
        output = OutputFile(self._target) if isinstance(self._target, Path) else _SinkOutput(self._target)
        going = True
        while going:
            items = [self._items.get()]
            while not self._items.empty():
                items.append(self._items.get())
            self._queued = 0
            try:
                going = self._write(output, items)
            except Exception as error:  # a sink may raise anything, and print must go on working
                self.error = error
                going = None not in items
            self._stopped.wait(_PAUSE_S)

    def _write(self, output: OutputFile | _SinkOutput, items: list[tuple[str, str] | None]) -> bool:
        """Hand over what was printed, joined where one stream wrote several times; False at the end."""
        going, name, parts = True, "", list[str]()
        for item in items:
            if item is None:
                going = False
                continue
            if item[0] != name and parts:
                output.write("".join(parts), name)
                parts = []
            name = item[0]
            parts.append(item[1])
        if parts:
            output.write("".join(parts), name)
        if self._skipped:
            output.write(f"\n[{self._skipped} characters of output were not recorded: too many at once]\n")
            self._skipped = 0
        if going:
            output.flush()
        else:
            output.close()
        self.error = output.error
        return going


_Sink = Callable[[str], None]


class _SinkOutput:
    """Finished lines for a sink that takes no corrections."""

    error: OSError | None = None

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink
        self._collapser = Collapser()

    def write(self, text: str, stream: str = "") -> None:
        if lines := self._collapser.feed(text, stream):
            self._sink.write(lines)

    def flush(self) -> None:
        """Nothing: what may change is not handed over."""

    def close(self) -> None:
        if rest := self._collapser.finish():
            self._sink.write(rest)


# Streams


class _Tee:
    """Stands in for `write` of a stream; several consoles share one."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name = name
        self._stream = stream
        self._write = stream.write
        self._own = getattr(stream, "__dict__", {}).get("write")  # a wrapper of somebody else, put back later
        self._shown: _Replacement | None = None
        self._sinks: tuple[_Sink, ...] = ()

    def __call__(self, text: str, *rest: Any) -> Any:
        try:
            return self._write(text, *rest)
        finally:
            if isinstance(text, str):
                for sink in self._sinks:
                    sink(text)

    def install(self) -> None:
        try:
            self._stream.write = self
        except (AttributeError, TypeError):  # an object that takes no attributes: put another in its place
            self._shown = _Replacement(self._stream, self)
            setattr(sys, self._name, self._shown)

    def attach(self, sink: _Sink) -> None:
        self._sinks = (*self._sinks, sink)

    def detach(self, sink: _Sink) -> None:
        """Copy to `sink` no more; with the last one the stream gets its own `write` back.

        A wrapper that somebody laid over this one stays, and this one below it only passes on.
        """
        self._sinks = tuple(other for other in self._sinks if other is not sink)
        if self._sinks:
            return
        if self._shown is not None:
            if getattr(sys, self._name) is self._shown:
                setattr(sys, self._name, self._stream)
        elif self._stream.__dict__.get("write") is self:
            if self._own is None:
                del self._stream.write
            else:
                self._stream.write = self._own


class _Replacement:
    """A stream whose `write` is a tee, and all else that of the stream itself."""

    def __init__(self, stream: TextIO, tee: _Tee) -> None:
        self._stream = stream
        self.write = tee

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _attach(name: str, stream: Any, sink: _Sink) -> _Tee:
    tee = getattr(stream, "__dict__", {}).get("write")
    if not isinstance(tee, _Tee):
        tee = _Tee(name, stream)
        tee.install()
    tee.attach(sink)
    return tee
