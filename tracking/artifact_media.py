"""Media and tables in artifacts: `add` writes a value beside its files, `get` makes the object again.

An object added as ``name`` is the file ``name.<kind>.json``; the files that belong to it lie where its value says,
named by their content, so that two tables with the same picture hold it once.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from blake3 import blake3

from ..artifacts.draft import Item, LocalFile, local_file
from ..artifacts.manifest import Entry
from ..artifacts.names import nearest
from ..artifacts.paths import check_path
from ..artifacts.version import Version
from ..storage.digest import digest_of
from ..storage.errors import IntegrityError, NotFoundError, UsageError
from ..storage.reading import source_error
from ..storage.transaction import canonical_json
from .artifact_reading import ArtifactReading
from .media.base import FileValue, Media

if TYPE_CHECKING:
    from .artifact import Artifact

_READ_BYTES = 1024 * 1024
_JSON_NAME = re.compile(r"\.([A-Za-z0-9_-]+)\.json\Z")


class ArtifactMedia(ArtifactReading):
    """The part of `Artifact` that keeps objects instead of files."""

    def add(self, obj: Any, name: str, overwrite: bool = False) -> Entry:
        """Add a table, an image or another media object, or what can be made one (a figure, a DataFrame).

        Raises: UsageError for anything else, and when `name` is taken by another one; ArtifactFinalizedError.
        """
        self._draft_or_refuse()
        media = _media_of(obj)
        path = check_path(f"{name}.{media.kind}.json")
        value = media.to_value(DraftFiles(self._as_artifact(), overwrite))
        try:
            data = canonical_json(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name!r} in artifact {self.name}: {error}; expected JSON values") from error
        self._as_artifact()._put_bytes(path, data, overwrite=overwrite)
        return Entry(path, "file", digest_of(data).hex(), len(data))

    def get(self, name: str) -> Media | None:
        """The object that was added as `name`, of a draft too; None when there is none.

        Raises: IntegrityError for one that cannot be read.
        """
        found = self._media_path(name)
        if found is None:
            return None
        path, kind = found
        source = ArtifactFiles(self._as_artifact())
        with source.open(path) as stream:
            try:
                value = json.load(stream)
            except ValueError as error:
                raise IntegrityError(f"{path!r} in artifact {self.name}: not JSON ({error})") from error
        if not isinstance(value, Mapping) or value.get("_type") != kind:
            return None  # somebody's own file that happens to be named so
        from .media import load_media

        return load_media(value, source)

    def __getitem__(self, name: str) -> Any:
        """The object that was added as `name`, else the entry of the file at that path. Raises: NotFoundError."""
        found = self.get(name)
        return self.get_entry(name) if found is None else found

    def __setitem__(self, name: str, obj: Any) -> None:
        self.add(obj, name)

    def __iter__(self) -> Any:
        # Without this Python would count through __getitem__(0), (1), …
        raise TypeError(f"artifact {self.name} is not iterable; files() lists its files")

    def _media_path(self, name: str) -> tuple[str, str] | None:
        """The JSON file of an object, and the kind that its name says; `name` may be that of the file, too."""
        paths = self.files()
        for stem in (name, _JSON_NAME.sub("", name)):
            for path in paths:
                match = _JSON_NAME.search(path)
                if match and path[: match.start()] == stem:
                    return path, match[1]
        return None

    def _as_artifact(self) -> Artifact:
        from .artifact import Artifact

        assert isinstance(self, Artifact)
        return self


def _media_of(obj: Any) -> Media:
    from .media import as_media

    media = obj if isinstance(obj, Media) else as_media(obj)
    if media is None:
        raise UsageError(
            f"add: {type(obj).__name__} {str(obj)[:80]!r} is no table and no media;"
            " add_file() and add_dir() add files"
        )
    return media


class DraftFiles:
    """Takes the files of media objects into a draft (`FileSink`)."""

    def __init__(self, artifact: Artifact, overwrite: bool) -> None:
        self._artifact = artifact
        self._overwrite = overwrite

    def put_bytes(self, data: bytes, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        """See `FileSink`."""
        digest = digest_of(data).hex()
        path = _path(folder, name or digest, extension)
        if not (name is None and path in self._artifact.draft):
            self._artifact._put_bytes(path, data, overwrite=self._overwrite)
        return FileValue(path=path, digest=digest, size_bytes=len(data))

    def put_file(self, source: Path, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        """See `FileSink`."""
        target = self._artifact._scratch() / uuid.uuid4().hex
        hasher, size = blake3(), 0
        try:
            with open(source, "rb") as stream, target.open("wb") as copy:
                while data := stream.read(_READ_BYTES):
                    hasher.update(data)
                    size += len(data)
                    copy.write(data)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise source_error(os.fspath(source), error) from error
        digest = hasher.hexdigest()
        path = _path(folder, name or digest, extension)
        if name is None and path in self._artifact.draft:
            target.unlink()
        else:
            self._artifact._put_item(path, local_file(target), overwrite=self._overwrite)
        return FileValue(path=path, digest=digest, size_bytes=size)


def _path(folder: str, stem: str, extension: str) -> str:
    return check_path(f"{folder.rstrip('/')}/{stem}{extension}" if folder else f"{stem}{extension}")


class ArtifactFiles:
    """Gives back the files of media objects, of a draft or of a version (`FileSource`)."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def open(self, path: str) -> IO[bytes]:
        """See `FileSource`."""
        if not self._artifact.is_draft():
            return self._artifact.open(path)
        item = self._item(path)
        if isinstance(item, LocalFile):
            try:
                return open(item.source, "rb")
            except OSError as error:
                raise source_error(item.source, error) from error
        return self._base(path).open(path)

    def local_path(self, path: str) -> Path:
        """See `FileSource`; a version's files are downloaded into a folder that goes when the process ends."""
        if self._artifact.is_draft():
            item = self._item(path)
            if isinstance(item, LocalFile):
                return Path(item.source)
            folder = _kept_folder(os.getpid()) / self._base(path).state.digest
            self._base(path).download(folder, path_prefix=path)
        else:
            folder = _kept_folder(os.getpid()) / self._artifact.digest
            self._artifact.download(folder, path_prefix=path)
        return folder / path

    def _item(self, path: str) -> Item:
        item = self._artifact.draft.get(path)
        if item is None:
            known = [other for other, _ in self._artifact.draft.items()]
            raise NotFoundError(
                f"path {path!r} is not in artifact {self._artifact.name}{nearest(path, known)}"
            )
        return item

    def _base(self, path: str) -> Version:
        if self._artifact.base is None:
            raise NotFoundError(
                f"path {path!r} of artifact {self._artifact.name} has no bytes before it is logged"
            )
        return self._artifact.base


@functools.cache
def _kept_folder(process: int) -> Path:
    """Media objects keep paths, so what they point to lives as long as the process."""
    folder = tempfile.mkdtemp(prefix="lineart-media-")

    def remove() -> None:
        if os.getpid() == process:  # not by a fork, for whose parent the files are still there
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)
