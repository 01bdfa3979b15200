"""`OutputFile`: a file that shows what a terminal would show, at any moment.

Lines that are finished stay where they are; the few that may still change stand after them and are written over. A
reader sees both.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from .terminal import Collapser

_UNSAVED_LIMIT = 1_000_000  # bytes kept in memory while the disk refuses them


class OutputFile:
    """Takes in what was written to a terminal and keeps it as lines in a file. Not for use by several threads."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet; what the file holds already stays."""
        self.path = path
        self.finished_bytes = 0  # of the file: what will not change any more
        self.error: OSError | None = None  # of the last `flush`
        self._collapser = Collapser()
        self._file: IO[bytes] | None = None
        self._unsaved = bytearray()
        self._lost_bytes = 0

    def write(self, text: str, stream: str = "") -> None:
        """Take in `text`; it is in the file after the next `flush`."""
        self._keep(self._collapser.feed(text, stream))

    def flush(self) -> None:
        """Bring the file up to date. When the disk refuses, it is tried again the next time, and `error` says why."""
        self._save(self._collapser.pending())

    def close(self) -> None:
        """Write what is left, the unfinished last line too, and close the file."""
        self._keep(self._collapser.finish())
        self._save("")
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.error = error

    def _keep(self, text: str) -> None:
        self._unsaved += _encoded(text)
        if self.error is not None and len(self._unsaved) > _UNSAVED_LIMIT:
            self._lost_bytes += len(self._unsaved)
            self._unsaved.clear()

    def _save(self, pending: str) -> None:
        if self._file is None and not (self._unsaved or pending or self._lost_bytes):
            return  # no file for a program that says nothing
        try:
            file = self._opened()
            if self._lost_bytes:
                note = f"[{self._lost_bytes} bytes of output were lost: {self.error}]\n"
                self._unsaved[:0] = note.encode()
                self._lost_bytes = 0
            file.seek(self.finished_bytes)
            _write_all(file, bytes(self._unsaved))
            after = file.tell()
            _write_all(file, _encoded(pending))
            file.truncate()
        except OSError as error:
            self.error = error
            return
        self.finished_bytes = after
        self._unsaved.clear()
        self.error = None

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self.path.parent.mkdir(exist_ok=True)  # not more: a store that was moved away is not made anew
            with self.path.open("ab") as existing:
                size = existing.tell()
            self._file = self.path.open("r+b", buffering=0)
            self.finished_bytes = size
        return self._file


def _write_all(file: IO[bytes], data: bytes) -> None:
    """An unbuffered file may take less than it was given: a disk that is nearly full does."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")
