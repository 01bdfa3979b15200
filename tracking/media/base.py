"""What a media value is: an object that writes its files into a sink and stands for itself as JSON.

A sink is a run's folder of files or the draft of an artifact; a source is where they are read back. Files are named
by their content, so that the same picture twice is one file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol, Self, TypedDict


class FileValue(TypedDict):
    """Where a file of a media value lies in its run or artifact."""

    path: str
    digest: str
    size_bytes: int


class FileSink(Protocol):
    """Takes in files of media values."""

    def put_bytes(self, data: bytes, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        """Keep `data` as ``<folder>/<name or digest><extension>`` (`extension` with its dot)."""
        ...

    def put_file(self, source: Path, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        """Keep a copy of the file at `source`. Raises: NotFoundError when it is missing."""
        ...


class FileSource(Protocol):
    """Gives back files of media values."""

    def open(self, path: str) -> IO[bytes]:
        """A seekable reader of the file that a `FileValue` names. Raises: NotFoundError."""
        ...

    def local_path(self, path: str) -> Path:
        """A local file with its bytes, for libraries that want one. Raises: NotFoundError."""
        ...


class Media(ABC):
    """A value of `log` that has files. Subclasses are made by the user and are not changed when they are logged."""

    kind: ClassVar[str]  # what stands under "_type" in the row
    kinds: ClassVar[dict[str, type[Media]]] = {}  # every class that was imported, by its kind

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in vars(cls):
            Media.kinds[cls.kind] = cls

    @abstractmethod
    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Write the files and return the JSON that stands in the row, with ``"_type": kind``.

        Raises: UsageError for content that cannot be kept; NotFoundError for a file that is missing.
        """

    @classmethod
    @abstractmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The object that `to_value` made `value` from. Raises: NotFoundError, IntegrityError."""
