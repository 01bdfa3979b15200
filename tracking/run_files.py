"""The files of a run: media, console output, code, what was saved. First in a folder, at the end a manifest.

While a process runs its files lie in ``files/`` of its folder (`run.dir`); when it ends they are stored like the files
of an artifact (same bytes, once) and its last op in the log names the manifest.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import tempfile
import unicodedata
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from blake3 import blake3

from ..artifacts.decisions import Content
from ..artifacts.draft import Draft, LocalFile
from ..artifacts.names import ProjectName, nearest
from ..artifacts.paths import check_path
from ..artifacts.publish import publish
from ..artifacts.state import VersionState
from ..artifacts.version import Version
from ..storage.errors import Error, IntegrityError, InvalidPathError, NotFoundError, UsageError
from ..storage.sharing import folder_mode, make_shared, share_file, store_root
from ..storage.store import Store
from .media.base import FileValue
from .run_folder import FILES, RunFolder

_log = logging.getLogger("lineart")
_PIECE_BYTES = 256 * 1024
_SHOWN = 3


class FolderSink:
    """Takes the files of media values into a folder; a `FileSink`. Safe in threads: files are named by content."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when it is missing; later it has to be there. Raises: OSError."""
        self.folder = folder
        make_shared(folder)

    def put_bytes(self, data: bytes, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        """See `FileSink`."""
        digest = blake3(data).hexdigest()
        path = check_path(f"{folder}/{name or digest[:32]}{extension}")
        target = self.folder / path
        if name is not None or not target.exists():
            self._place(target, lambda temporary: temporary.write_bytes(data))
        return FileValue(path=path, digest=digest, size_bytes=len(data))

    def put_file(self, source: Path, *, folder: str, extension: str, name: str | None = None) -> FileValue:
        """See `FileSink`."""
        digest, size = _hashed(source)
        path = check_path(f"{folder}/{name or digest[:32]}{extension}")
        target = self.folder / path
        if name is not None or not target.exists():
            self._place(target, lambda temporary: shutil.copyfile(source, temporary))
        return FileValue(path=path, digest=digest, size_bytes=size)

    def put_path(self, source: Path, path: str) -> None:
        """Copy the file at `source` to `path`, in place of what was there. Raises: NotFoundError, InvalidPathError."""
        target = self.folder / check_path(path)
        if not source.is_file():
            raise NotFoundError(f"file {str(source)!r} is not there; check the path")
        if target.exists() and source.samefile(target):
            return
        self._place(target, lambda temporary: shutil.copy2(source, temporary))

    def put_at(self, data: bytes, path: str) -> None:
        """Write `data` to `path`. Raises: InvalidPathError."""
        self._place(self.folder / check_path(path), lambda temporary: temporary.write_bytes(data))

    def _place(self, target: Path, write: Any) -> None:
        if not self.folder.is_dir():  # a store that was moved away is not made anew
            raise FileNotFoundError(2, "the run's folder is gone", str(self.folder))
        make_shared(target.parent)
        temporary = target.parent / f".lineart-{os.getpid()}-{target.name[:100]}.part"
        try:
            write(temporary)
            root = store_root(temporary)
            share_file(temporary, None if root is None else folder_mode(root))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _hashed(source: Path) -> tuple[str, int]:
    digest, size = blake3(), 0
    try:
        with source.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
    except FileNotFoundError:
        raise NotFoundError(f"file {str(source)!r} is not there; check the path") from None
    except OSError as error:
        raise UsageError(f"file {str(source)!r} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest(), size


def publish_files(store: Store, folders: Mapping[Path, str]) -> dict[str, Any] | None:
    """Store every file below `folders` (each with the prefix of its paths), as one manifest; its record in the log.

    None when there is no file. What is in the folders and cannot be stored is left out, with a warning; of a file that
    somebody is still writing, what it is now.
    Raises: StoreError, CommError.
    """
    draft = Draft()
    left_out: list[str] = []
    files_by_form: dict[str, str] = {}
    folder_forms: set[str] = set()
    for folder, prefix in folders.items():
        for below, file in regular_files(folder, left_out):
            path = f"{prefix}{below}"
            fault = _collision(path, files_by_form, folder_forms)
            if fault:
                left_out.append(f"{path!r} ({fault})")
            else:
                draft.put(path, file)
    content = _published(store, draft, left_out)
    if left_out:
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        _log.warning("files of a run that cannot be stored: %s%s", ", ".join(left_out[:_SHOWN]), more)
    if content is None:
        return None
    return {
        "digest": content.digest,
        "size_bytes": content.size_bytes,
        "file_count": content.file_count,
        "packs": list(content.packs),
        "meta_packs": list(content.meta_packs),
        "packs_object": content.packs_object,
        "index": content.index,
    }


def _published(store: Store, draft: Draft, left_out: list[str]) -> Content | None:
    with tempfile.TemporaryDirectory(prefix="lineart-files-") as place:
        while len(draft):
            try:
                return publish(store, draft)[1]
            except Error as error:
                path = _path_of(draft, error.source)
                if path is None:
                    raise
                copy = os.path.join(place, str(len(os.listdir(place))))
                try:
                    shutil.copy(str(error.source), copy)
                except FileNotFoundError:
                    left_out.append(f"{path!a} (removed meanwhile)")
                    draft.remove(path)
                else:
                    draft.put(path, LocalFile(copy))
    return None


def _path_of(draft: Draft, source: str | None) -> str | None:
    return next((path for path, item in draft.items() if getattr(item, "source", "") == source), None)


def regular_files(folder: Path, left_out: list[str]) -> Iterator[tuple[str, LocalFile]]:
    """Path and file of all below `folder` that can be stored; into `left_out` what cannot, with the reason."""
    for at, folders, names in os.walk(folder):
        below = os.path.relpath(at, folder)
        for name in sorted([*names, *(name for name in folders if os.path.islink(os.path.join(at, name)))]):
            if name.startswith(".lineart-") and name.endswith(".part"):
                continue  # being written
            path, file = name if below == "." else f"{below}/{name}", os.path.join(at, name)
            fault = _fault(path, file)
            if fault:
                left_out.append(f"{path!a} ({fault})")
            else:
                yield path, LocalFile(os.path.abspath(file))


def _fault(path: str, file: str) -> str:
    """Why a file cannot be stored; empty if it can."""
    try:
        check_path(path)
    except InvalidPathError as error:
        return str(error).partition(": ")[2].partition(";")[0]
    if not os.path.isfile(file):
        return "not a regular file"
    return "" if os.access(file, os.R_OK) else "not readable"


def _collision(path: str, files: dict[str, str], folders: set[str]) -> str:
    """Why `path` cannot stand beside those that are noted, by their Unicode normal form; empty if it can."""
    form = unicodedata.normalize("NFC", path)
    above = [form[:at] for at, letter in enumerate(form) if letter == "/"]
    other = next((files[key] for key in (form, *above) if files.get(key, path) != path), None)
    if other is None and form not in folders:
        folders.update(above)
        files[form] = path
        return ""
    return f"there is {other!r}, too" if other is not None else "there is a folder of this name"


class RunFiles:
    """The files of a run, from its manifests and, while it runs on this machine, from its folders; a `FileSource`."""

    def __init__(
        self,
        store: Store,
        project: ProjectName,
        run: str,
        records: list[Mapping[str, Any]],
        folder: RunFolder | None = None,
    ) -> None:
        """`records` are the `files` of the run's ops, oldest first."""
        self._run = f"{project}/{run}"
        self._folder = folder
        self._versions = [files_version(store, project, run, record) for record in records]
        self._temporary: Path | None = None

    def paths(self) -> list[str]:
        """All paths, sorted."""
        found = {path for root in self._roots() for path, _ in regular_files(root, [])}
        for version in self._versions:
            found |= {entry.path for entry in version.manifest.values() if entry.digest is not None}
        return sorted(found)

    def size(self, path: str) -> int:
        """Bytes of a file. Raises: NotFoundError."""
        local = self._local(path)
        if local is not None:
            return local.stat().st_size
        return self._entry(path)[1].size_bytes or 0

    def digest(self, path: str) -> str | None:
        """BLAKE3 of a file that is in the store; None while it is being written."""
        if self._local(path) is not None:
            return None
        digest: str = self._entry(path)[1].digest
        return digest

    def open(self, path: str) -> IO[bytes]:
        """See `FileSource`."""
        local = self._local(path)
        if local is not None:
            return io.BufferedReader(local.open("rb", buffering=0))
        version, _ = self._entry(path)
        return version.open(path)

    def local_path(self, path: str) -> Path:
        """See `FileSource`; the file goes with this object."""
        local = self._local(path)
        if local is not None:
            return local
        version, _ = self._entry(path)
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="lineart-files-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        version.download(self._temporary, path_prefix=path)
        return self._temporary / path

    def _roots(self) -> Iterator[Path]:
        if self._folder is not None:
            for writer in self._folder.writers():
                for place in self._folder.places(writer):
                    if (place / FILES).is_dir():
                        yield place / FILES

    def _local(self, path: str) -> Path | None:
        try:
            check_path(path)  # it may come from a row of somebody else's run
        except InvalidPathError:
            return None
        for root in self._roots():
            if (root / path).is_file():
                return root / path
        return None

    def _entry(self, path: str) -> tuple[Version, Any]:
        for version in reversed(self._versions):
            found = version.manifest.get(path)
            if found is not None and found.digest is not None:
                return version, found
        known = self.paths()
        raise NotFoundError(f"file {path!r} is not in run {self._run}{nearest(path, known)}")


def files_version(store: Store, project: ProjectName, run: str, record: Mapping[str, Any]) -> Version:
    """What a process of a run has left, as one reads the files of a version. `record` is the `files` of its op.

    Raises: IntegrityError for a record that no client writes.
    """
    try:
        state = VersionState(
            number=0,
            digest=record["digest"],
            size_bytes=record["size_bytes"],
            file_count=record["file_count"],
            reference_count=0,
            metadata={},
            description="",
            tags=(),
            run=run,
            created_at="1970-01-01T00:00:00.000000Z",  # of no meaning for files
            packs=tuple(record["packs"]),
            meta_packs=tuple(record["meta_packs"]),
            packs_object=record.get("packs_object"),
            index=record.get("index"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"files of run {project}/{run}: their record is malformed ({error!r})"
        ) from error
    return Version(store, project, f"run-{run}", "run-files", state)
