"""Reading an artifact's files: download, checkout, one file, a few bytes of one, the manifest, differences."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from ..artifacts.diff import ManifestDiff
from ..artifacts.draft import Item
from ..artifacts.manifest import Entry, Manifest
from ..artifacts.references import References
from ..artifacts.stored_diff import diff_stored
from ..storage.errors import UsageError
from ..storage.s3_options import S3_SCHEMES, s3fs_options
from .artifact_identity import ArtifactIdentity
from .observing import note_download
from .settings import find_settings

if TYPE_CHECKING:
    from .artifact import Artifact


class FilePath(str):
    """The path of a local file: text, and a context manager that gives it."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class ArtifactEntry(Entry):
    """One line of a logged artifact's manifest, from which its file can be fetched."""

    artifact: Any = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int | None:
        """Bytes; None for a reference whose store does not say."""
        return self.size_bytes

    @property
    def ref(self) -> str | None:
        """The URI of a reference, None for anything else."""
        return self.target if self.kind == "reference" else None

    def ref_target(self) -> str:
        """The URI of a reference. Raises: UsageError for anything else."""
        if self.kind != "reference" or self.target is None:
            raise UsageError(f"path {self.path!r} of {self.artifact.name} is a {self.kind} and no reference")
        return self.target

    def download(self, root: str | os.PathLike[str] | None = None) -> FilePath:
        """Make the file below `root` (default: ``artifacts/<name>-v<N>``); its path.

        Raises: those of `Artifact.download`.
        """
        folder = self.artifact.download(root, path_prefix=self.path)
        return FilePath(os.path.join(folder, self.path))


def reference_options() -> Mapping[str, Mapping[str, Any]]:
    """By scheme, what fsspec is given for references: the store's own storage options for its scheme, else nothing.

    Raises: UsageError for a settings file that cannot be read.
    """
    settings = find_settings()
    scheme, separator, _ = settings.store.partition("://")
    options = s3fs_options(settings.storage_options) if scheme in S3_SCHEMES else settings.storage_options
    return {scheme: options} if separator and options else {}


class ArtifactReading(ArtifactIdentity):
    """The part of `Artifact` that reads files."""

    def wait(self, timeout: float | None = None) -> Self:
        """Return when the version is committed; of a local store it is when it was logged.

        Raises: WaitTimeoutError when it is still on its way after `timeout` seconds (default: no limit); what kept it
        from the store; ArtifactNotLoggedError.
        """
        self._logged(timeout)
        return self

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        path_prefix: str | None = None,
        allow_missing_references: bool = False,
    ) -> str:
        """Make the files below `root` (default: ``artifacts/<name>-v<N>``) and return that folder.

        Raises: IntegrityError, ReferenceChangedError, NotFoundError, StoreError, CommError.
        """
        target = self._root(root)
        note_download(str(target), self.qualified_name)
        self._logged().download(
            target,
            path_prefix=path_prefix,
            allow_missing_references=allow_missing_references,
            references=self._references(),
        )
        return str(target)

    def checkout(self, root: str | os.PathLike[str] | None = None) -> str:
        """Like `download`, and removes what is not in the artifact.

        Raises: UsageError for a file that would be lost.
        """
        target = self._root(root)
        note_download(str(target), self.qualified_name)
        self._logged().checkout(target, references=self._references())
        return str(target)

    def verify(self, root: str | os.PathLike[str] | None = None) -> None:
        """Compare the files below `root` with the manifest.

        Raises: the first difference, IntegrityError or NotFoundError.
        """
        for error in self._logged().verify_files(self._root(root)):
            raise error

    def file(self, name: str | None = None, root: str | os.PathLike[str] | None = None) -> FilePath:
        """Download one file (the only one when `name` is None) below `root`; its path, also as a context manager.

        ``pd.read_csv(artifact.file("train.csv"))`` and ``with artifact.file("train.csv") as path: …`` both work.
        Raises: UsageError when `name` is None and there are several; NotFoundError.
        """
        files = self.files() if name is None else [name]
        if len(files) != 1:
            raise UsageError(f"artifact {self.name} has {len(files)} files; name one")
        folder = self.download(root, path_prefix=files[0])
        return FilePath(os.path.join(folder, files[0]))

    def open(self, name: str, mode: Literal["r", "rb"] = "rb", encoding: str | None = None) -> IO[Any]:
        """A seekable reader of one file that fetches only the bytes asked for; a reference is read where it is.

        Raises: NotFoundError, IntegrityError, ReferenceChangedError; UsageError for another mode.
        """
        if mode not in ("r", "rt", "rb"):
            raise UsageError(f"mode {mode!r}: expected 'r' or 'rb'; a logged artifact is not written to")
        stream = self._logged().open(name, references=self._references())
        return stream if mode == "rb" else io.TextIOWrapper(stream, encoding=encoding or "utf-8")

    def files(self, path_prefix: str | None = None) -> list[str]:
        """The paths of all files and references, sorted."""
        if self._draft is not None:
            paths = sorted(path for path, item in self._draft.items() if not _is_folder(item))
            folder = (path_prefix or "").rstrip("/")
            return [path for path in paths if not folder or path == folder or path.startswith(f"{folder}/")]
        return [e.path for e in self._logged().manifest.under(path_prefix) if e.kind != "directory"]

    def get_entry(self, name: str) -> ArtifactEntry:
        """One line of the manifest. Raises: NotFoundError with the nearest paths."""
        found = self._logged().entry(name)
        return ArtifactEntry(**{f.name: getattr(found, f.name) for f in fields(Entry)}, artifact=self)

    def get_path(self, name: str) -> ArtifactEntry:
        """The same as `get_entry`, by the name that older scripts use."""
        return self.get_entry(name)

    @property
    def manifest(self) -> Manifest:
        """All entries of the logged version."""
        return self._logged().manifest

    def diff(self, other: Artifact) -> ManifestDiff:
        """What changed from this version to `other`."""
        return diff_stored(self._logged(), other._logged())

    def _root(self, root: str | os.PathLike[str] | None) -> Path:
        return Path("artifacts") / f"{self._collection}-{self.version}" if root is None else Path(root)

    def _references(self) -> References:
        return References(reference_options() if self._logged().state.reference_count else None)


def _is_folder(item: Item) -> bool:
    return isinstance(item, Entry) and item.kind == "directory"
