"""A logged version and what can be read of it."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

from ..storage.digest import digest_of, parse_hex
from ..storage.errors import Error, IntegrityError, NotFoundError, StoreError, UsageError
from ..storage.pack_index import PackSet
from ..storage.restore import TEMPORARY_PREFIX, FileTarget, Progress, digest_of_file, target_error
from ..storage.statcache import Fingerprint
from ..storage.store import Store
from .manifest import Entry, Manifest, find_entry
from .names import ArtifactName, ProjectName, nearest
from .paths import check_portable
from .project import Project
from .references import References
from .state import VersionState

_AT_ONCE_BYTES = 32 * 1024 * 1024


class Version:
    """One immutable version of a collection, its files and its bytes. Safe to share between threads."""

    def __init__(
        self, store: Store, project: ProjectName, collection: str, type: str, state: VersionState
    ) -> None:
        self.store = store
        self.project = project
        self.collection = collection
        self.type = type
        self.state = state

    @property
    def name(self) -> ArtifactName:
        """The full name with the version number."""
        return ArtifactName(self.project, self.collection, f"v{self.state.number}")

    @cached_property
    def packs(self) -> PackSet:
        """Every pack that holds something of this version."""
        meta = tuple(parse_hex(pack) for pack in self.state.meta_packs)
        index = None if self.state.index is None else parse_hex(self.state.index)
        if self.state.packs_object is None:
            return PackSet(meta, tuple(parse_hex(pack) for pack in self.state.packs), index)
        try:
            lists = json.loads(bytes(self.store.objects.read(parse_hex(self.state.packs_object), meta)))
            more, data = tuple(map(parse_hex, lists["meta_packs"])), tuple(map(parse_hex, lists["packs"]))
            return PackSet((*meta, *more), data, index)
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"version {self.name}: its list of packs is damaged ({error!r})") from error

    @property
    def _manifest_packs(self) -> tuple[bytes, ...]:
        """Where the manifest lies: a reader with an empty cache needs no data pack's trailer for it."""
        return self.packs.meta

    @cached_property
    def manifest(self) -> Manifest:
        """All entries. Raises: IntegrityError, NotFoundError, CommError."""
        return Manifest.decode(self.store.objects.read(parse_hex(self.state.digest), self._manifest_packs))

    def entry(self, path: str) -> Entry:
        """The entry at `path`, found without reading the whole manifest.

        Raises: NotFoundError with the nearest paths.
        """
        found = self.find(path)
        if found is None:
            raise NotFoundError(f"path {path!r} is not in {self.name.short}{nearest(path, self.manifest)}")
        return found

    def find(self, path: str) -> Entry | None:
        """The entry at `path`, None if there is none; the whole manifest is not read for either answer."""
        if "manifest" in self.__dict__:
            return self.manifest.get(path)
        with self._manifest_reader() as stream:
            return find_entry(stream, path)

    def _manifest_reader(self) -> IO[bytes]:
        """Of a remote store a manifest comes at once if it is not too long: looking for the place takes requests."""
        reader = self.open_manifest()
        size_bytes = reader.seek(0, io.SEEK_END)
        if self.store.backend.local_path("packs") is not None or size_bytes > _AT_ONCE_BYTES:
            return reader
        reader.close()
        return io.BytesIO(self.store.objects.read(parse_hex(self.state.digest), self._manifest_packs))

    def open_manifest(self) -> io.BufferedReader:
        """A reader of the stored manifest that fetches only the chunks touched."""
        return self.store.objects.open(parse_hex(self.state.digest), self._manifest_packs)

    def open(self, path: str, *, references: References | None = None) -> IO[bytes]:
        """A seekable reader of one file, or of what a reference points to, that fetches only what is read.

        Raises: NotFoundError, UsageError, IntegrityError, ReferenceChangedError.
        """
        entry = self.entry(path)
        if entry.kind == "reference":
            return (references or References()).open(entry)
        if entry.digest is None:
            raise UsageError(
                f"path {path!r} of {self.name.short} is a {entry.kind}; only files can be opened"
            )
        return self.store.objects.open(parse_hex(entry.digest), self.packs)

    def download(
        self,
        root: Path,
        *,
        path_prefix: str | None = None,
        allow_missing_references: bool = False,
        references: References | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Make the files of this version below `root`, which is made when missing; returns how many were written.

        Files that are right already are left alone, other files in `root` too. References are fetched, and refused
        when they changed since they were logged; with `allow_missing_references` such are left out.
        Raises: NotFoundError, IntegrityError, ReferenceChangedError, StoreError, CommError.
        """
        entries = self.manifest.under(path_prefix)
        folder = os.path.abspath(root)
        try:
            os.makedirs(folder, exist_ok=True)
            _remove_partial(folder)
            _refuse_links(folder, entries)
            if _ignores_case(folder):
                check_portable([entry.path for entry in entries])
            files = [
                FileTarget(
                    f"{folder}/{e.path}", parse_hex(e.digest), e.size_bytes or 0, e.kind == "executable"
                )
                for e in entries
                if e.digest is not None
            ]
            written = self.store.restorer(self.packs, progress).restore(
                files, folder, modified_ns=self._modified_ns()
            )
            for entry in entries:
                if entry.kind == "directory":
                    os.makedirs(f"{folder}/{entry.path}", exist_ok=True)
                elif entry.kind == "symlink":
                    written += _make_link(f"{folder}/{entry.path}", entry.target or "")
        except OSError as error:
            raise target_error(folder, error) from error
        for entry in entries:
            if entry.kind == "reference":
                written += self._fetch(entry, folder, references or References(), allow_missing_references)
        return written

    def checkout(
        self, root: Path, *, references: References | None = None, progress: Progress | None = None
    ) -> int:
        """Like `download`, and removes from `root` every file that is not in this version.

        Only a file whose bytes the store has is removed; for any other the whole call is refused and nothing changes.
        Raises: UsageError naming a file that would be lost.
        """
        folder = os.path.abspath(root)
        extra = [path for path in _files_below(folder) if path not in self.manifest]
        digests = {}
        for path in extra:
            full = f"{folder}/{path}"
            digest = digest_of_file(full, Fingerprint.of(os.lstat(full)))
            if digest is not None or not os.path.islink(full):
                digests[full] = digest
        lost = self._not_stored({digest for digest in digests.values() if digest is not None})
        for full, digest in digests.items():
            if digest is None or digest in lost:
                raise UsageError(
                    f"file {full!r} is in no version of the store and would be lost; move it away or log it first"
                )
        keep = {e.path for e in self.manifest.values() if e.kind == "directory"}
        in_the_way = self._in_the_way(extra)
        try:
            for path in in_the_way:  # the rest only when all that is wanted is there
                os.unlink(f"{folder}/{path}")
            _remove_empty_folders(folder, keep=keep)
            written = self.download(root, references=references, progress=progress)
            for path in extra:
                if path not in in_the_way:
                    os.unlink(f"{folder}/{path}")
            _remove_empty_folders(folder, keep=keep)
        except OSError as error:
            raise target_error(folder, error) from error
        return written

    def _not_stored(self, digests: set[bytes]) -> set[bytes]:
        """Those of `digests` that no version of this collection has, nor anything else that this machine knows of."""
        missing = self.store.objects.available(digests).missing
        if missing:  # this machine may just not have met the other versions yet
            state = Project(self.store, self.project).state()
            for version in state.collections[self.collection].live():
                if missing:
                    packs = Version(self.store, self.project, self.collection, self.type, version).packs
                    self.store.objects.learn(packs)
                    missing = self.store.objects.available(missing).missing
        return missing

    def _in_the_way(self, extra: Sequence[str]) -> set[str]:
        """Of the files `extra` those that stand where a folder has to be, or below where a file has to be."""
        folders = {folder for path in self.manifest for folder in _folders_of(path)}
        folders |= {entry.path for entry in self.manifest.values() if entry.kind == "directory"}
        files = self.manifest.keys() - folders
        return {path for path in extra if path in folders or not files.isdisjoint(_folders_of(path))}

    def verify_files(self, root: Path) -> Iterator[Error]:
        """Compare the files below `root` with the manifest; yields an error for each that is missing or different."""
        for entry in self.manifest.values():
            full = os.path.join(root, entry.path)
            if entry.digest is None:
                continue
            try:
                actual = digest_of_file(full, Fingerprint.of(os.lstat(full)))
            except OSError:
                yield NotFoundError(f"file {full!r} of {self.name.short} is missing; download it again")
                continue
            if actual is None or actual.hex() != entry.digest:
                yield IntegrityError(f"file {full!r} differs from {self.name.short}; download it again")

    def verify_stored(self, progress: Progress | None = None) -> Iterator[Error]:
        """Read every byte of this version in the store; yields an error for each object that is missing or damaged."""
        try:
            data = self.store.objects.read(parse_hex(self.state.digest), self._manifest_packs)
            if digest_of(data).hex() != self.state.digest:
                raise IntegrityError(f"manifest of {self.name.short} hashes to another digest")
            manifest, packs = self.manifest, self.packs
        except Error as error:
            yield type(error)(f"{self.name.short}: manifest: {error}")
            return
        digests = (parse_hex(entry.digest) for entry in manifest.values() if entry.digest is not None)
        for found in self.store.restorer(packs, progress).check(digests):
            yield type(found)(f"{self.name.short}: {found}")

    def _modified_ns(self) -> int:
        moment = datetime.datetime.fromisoformat(self.state.created_at)
        return int(moment.timestamp()) * 1_000_000_000

    def _fetch(self, entry: Entry, folder: str, references: References, allow_missing: bool) -> int:
        target = Path(folder, entry.path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{uuid.uuid4().hex}.partial")
            try:
                references.fetch(entry, partial)
                os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except (NotFoundError, IntegrityError):
            if not allow_missing:
                raise
            return 0
        except OSError as error:
            raise target_error(str(target), error) from error
        return 1


def _folders_of(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _refuse_links(folder: str, entries: Iterable[Entry]) -> None:
    """A link in the place of a folder would lead what is written below it elsewhere. Raises: StoreError."""
    checked: set[str] = set()
    for entry in entries:
        wanted = [entry.path] if entry.kind == "directory" else []
        for path in (*wanted, *_folders_of(entry.path)):
            if path in checked:
                break
            checked.add(path)
            if os.path.islink(f"{folder}/{path}"):
                raise StoreError(
                    f"cannot write {entry.path!r} below {folder!r}: {path!r} is a symbolic link there and not a folder;"
                    " move it away"
                )


def _make_link(path: str, target: str) -> int:
    if os.path.islink(path) and os.readlink(path) == target:
        return 0
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isdir(path) and not os.path.islink(path):
        raise StoreError(f"cannot make the link {path!r}: a folder is in its place; move it away")
    temporary = (
        f"{os.path.dirname(path)}/.{uuid.uuid4().hex}"  # of its own length: the name may be as long as can be
    )
    os.symlink(target, temporary)
    os.replace(temporary, path)
    return 1


def _remove_partial(folder: str) -> None:
    """Remove what a killed download has left more than a day ago."""
    with os.scandir(folder) as entries:
        stale = [e for e in entries if e.name.startswith(TEMPORARY_PREFIX)]
    for entry in stale:
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
        if age > 24 * 3600:
            shutil.rmtree(entry.path, ignore_errors=True)


def _ignores_case(folder: str) -> bool:
    with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX + "case", dir=folder) as probe:
        return os.path.lexists(probe.name.upper()) and os.path.samefile(probe.name, probe.name.upper())


def _files_below(folder: str) -> Sequence[str]:
    found = []
    for current, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(current, name))]
        found += [os.path.relpath(os.path.join(current, name), folder) for name in [*names, *links]]
    return sorted(path for path in found if not path.startswith(TEMPORARY_PREFIX))


def _remove_empty_folders(folder: str, *, keep: set[str]) -> None:
    for current, _, _ in os.walk(folder, topdown=False):
        if current != folder and os.path.relpath(current, folder) not in keep:
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(current)
