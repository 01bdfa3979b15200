"""A sink and source of media files in a folder, which counts what was written; a table stored in it and read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import IO

from blake3 import blake3

from lineart.storage.errors import NotFoundError
from lineart.tracking.media import FileValue, Table, load_media


class FolderSink:
    """Both ends: what a run's folder of files does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[FileValue] = []  # each call, also of a file that is there already

    def put_bytes(self, data: bytes, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        digest = blake3(data).hexdigest()
        path = f"{folder}/{name or digest}{extension}"
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        value = FileValue(path=path, digest=digest, size_bytes=len(data))
        self.written.append(value)
        return value

    def put_file(self, source: Path, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        if not source.exists():
            raise NotFoundError(f"{source}: there is no such file")
        return self.put_bytes(source.read_bytes(), folder=folder, extension=extension, name=name)

    def open(self, path: str) -> IO[bytes]:
        return io.BytesIO(self.local_path(path).read_bytes())

    def local_path(self, path: str) -> Path:
        found = self.root / path
        if not found.exists():
            raise NotFoundError(f"{path}: there is no such file in this run")
        return found

    def files(self) -> list[str]:
        """The paths of all files, sorted."""
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()
        )


def stored(table: Table, sink: FolderSink) -> Table:
    value = json.loads(json.dumps(table.to_value(sink), allow_nan=False))
    assert value["_type"] == "table-file"
    assert value["nrows"] == len(table)
    again = load_media(value, sink)
    assert isinstance(again, Table)
    return again


def kinds(table: Table, sink: FolderSink) -> list[str]:
    return [column["kind"] for column in table.to_value(sink)["columns"]]
