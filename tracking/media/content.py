"""The bytes of one media file, wherever they are now: in memory, in a file of the user, in a run or an artifact.

`FileMedia` is the base of the types that are one file: a picture, a sound, a page. Its value in a row is the file's
path, digest, size and format, the details that the type adds, and the caption.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from blake3 import blake3

from ...storage.digest import digest_of, is_hex_digest
from ...storage.errors import IntegrityError, NotFoundError, SourceChangedError, UsageError
from .base import FileSink, FileSource, FileValue, Media

_OF_EVERY_VALUE = frozenset({"_type", "path", "digest", "size_bytes", "format", "caption"})


class Content(Protocol):
    """The bytes of one file."""

    extension: str  # with its dot

    def read(self) -> bytes:
        """All of it. Raises: NotFoundError, SourceChangedError, IntegrityError."""
        ...

    def digest(self) -> str:
        """Its BLAKE3, 64 hexadecimal digits."""
        ...

    def put(self, sink: FileSink, folder: str) -> FileValue:
        """Keep it in a sink."""
        ...

    def local_path(self) -> Path | None:
        """A local file that holds it; None when it is in memory only."""
        ...


class MemoryContent:
    """Bytes in memory."""

    def __init__(self, data: bytes, extension: str) -> None:
        self.data = data
        self.extension = extension

    def read(self) -> bytes:
        return self.data

    def digest(self) -> str:
        return digest_of(self.data).hex()

    def put(self, sink: FileSink, folder: str) -> FileValue:
        return sink.put_bytes(self.data, folder=folder, extension=self.extension)

    def local_path(self) -> Path | None:
        return None


class LocalContent:
    """A file of the user. It is read when it is logged, and has to be the same file with the same times then."""

    def __init__(self, path: str | os.PathLike[str], extension: str | None = None) -> None:
        """Raises: NotFoundError when it is missing; UsageError when it is no file."""
        self.path = Path(path)
        self.extension = (self.path.suffix if extension is None else extension).lower()
        self._stamp = self._stat()

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{self.path}: there is no such file; check the path") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{str(self.path)[:200]!r}: cannot be opened: {error}") from error
        if not self.path.is_file():
            raise UsageError(f"{self.path} is not a file; give the path of a file")
        return found.st_size, found.st_mtime_ns, found.st_ino

    def check(self) -> None:
        """Raises: SourceChangedError when it was written since the media object was made."""
        if self._stat() != self._stamp:
            raise SourceChangedError(
                f"{self.path} was written after the media object was made of it;"
                " log the object first, or write each one to a file of its own"
            )

    def read(self) -> bytes:
        self.check()
        return self.path.read_bytes()

    def digest(self) -> str:
        self.check()
        with self.path.open("rb") as reader:
            hasher = blake3()
            while block := reader.read(1 << 18):
                hasher.update(block)
            return hasher.hexdigest()

    def put(self, sink: FileSink, folder: str) -> FileValue:
        self.check()
        return sink.put_file(self.path, folder=folder, extension=self.extension)

    def local_path(self) -> Path | None:
        self.check()
        return self.path


class StoredContent:
    """A file of a run or an artifact."""

    def __init__(self, source: FileSource, value: FileValue, extension: str) -> None:
        self.source = source
        self.value = value
        self.extension = extension

    def read(self) -> bytes:
        with self.source.open(self.value["path"]) as reader:
            data = reader.read()
        if digest_of(data).hex() != self.value["digest"]:
            raise IntegrityError(
                f"{self.value['path']}: bytes hash to {digest_of(data).hex()[:12]},"
                f" recorded is {self.value['digest'][:12]}; run art verify"
            )
        return data

    def digest(self) -> str:
        return self.value["digest"]

    def put(self, sink: FileSink, folder: str) -> FileValue:
        path = self.source.local_path(self.value["path"])
        return sink.put_file(path, folder=folder, extension=self.extension)

    def local_path(self) -> Path | None:
        return self.source.local_path(self.value["path"])


def file_value(value: Mapping[str, Any]) -> FileValue:
    """The part of a media value that says where its file lies. Raises: IntegrityError when it does not say it."""
    path, digest, size_bytes = (value.get(key) for key in ("path", "digest", "size_bytes"))
    if not isinstance(path, str) or not is_hex_digest(digest) or not isinstance(size_bytes, int):
        raise IntegrityError(
            f"media value {value.get('_type')!r}: expected path, digest and size_bytes, got {str(dict(value))[:200]}"
        )
    return FileValue(path=path, digest=str(digest), size_bytes=size_bytes)


class FileMedia(Media):
    """A media value that is one file."""

    folder: ClassVar[str]

    def __init__(self, content: Content, caption: object, details: Mapping[str, Any]) -> None:
        self._content = content
        self._details = {key: item for key, item in details.items() if item is not None}
        self.caption = None if caption is None else str(caption)

    @property
    def format(self) -> str:
        """The kind of file: its extension without the dot."""
        return self._content.extension.removeprefix(".")

    def read(self) -> bytes:
        """The bytes of the file. Raises: NotFoundError, SourceChangedError, IntegrityError."""
        return self._content.read()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file to a local path and return it."""
        Path(path).write_bytes(self.read())
        return Path(path)

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep the file; its place and details as JSON."""
        value = {"_type": self.kind, **self._content.put(sink, self.folder), "format": self.format}
        value |= self._details
        if self.caption is not None:
            value["caption"] = self.caption
        return value

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The object whose value this is; its file is read when it is asked for."""
        extension = f".{value['format']}" if value.get("format") else ""
        content = StoredContent(source, file_value(value), extension)
        details = {key: item for key, item in value.items() if key not in _OF_EVERY_VALUE}
        made = cls.__new__(cls)
        FileMedia.__init__(made, content, value.get("caption"), details)
        return made

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, FileMedia):
            return NotImplemented
        mine, theirs = (self.caption, self._details), (other.caption, other._details)
        return mine == theirs and self._content.digest() == other._content.digest()

    def __hash__(self) -> int:
        return hash((self.kind, self._content.digest()))

    def __repr__(self) -> str:
        told = {**self._details, **({} if self.caption is None else {"caption": self.caption})}
        inside = "".join(
            f", {key}={item!r}" for key, item in told.items() if not isinstance(item, dict | list)
        )
        return f"<{type(self).__name__} {self.format}{inside}>"
