"""`Artifact`: the one public class for a draft that is being put together and for a version that was logged.

It lives here, above `artifacts/`, because it also answers what needs runs and lineage (`logged_by`, `upstream`).
The work is done by `artifacts.Draft`, `artifacts.publish` and `artifacts.Version`.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from ..artifacts.decisions import (
    decide_alias,
    decide_alias_removal,
    decide_deletion,
    decide_revision,
)
from ..artifacts.diff import ManifestDiff
from ..artifacts.draft import Draft, Item, LocalFile, Patterns, local_file, walk
from ..artifacts.manifest import Entry, Manifest
from ..artifacts.names import check_alias, check_name
from ..artifacts.paths import check_path
from ..artifacts.references import References
from ..artifacts.state import ProjectState
from ..artifacts.stored_diff import diff_stored
from ..artifacts.version import Version
from ..lineage import LineageGraph, nearest_first
from ..storage.errors import ArtifactFinalizedError, ArtifactNotLoggedError, UsageError
from ..storage.reading import source_error
from ..storage.restore import digest_of_file
from ..storage.statcache import Fingerprint
from ..storage.transaction import Op
from .workspace import Workspace

if TYPE_CHECKING:
    import networkx as nx

State = Literal["draft", "committed", "deleted"]


class Artifact:
    """A named set of files and references: a draft until it is logged, then one immutable version.

    Files are read when the artifact is logged, not when they are added.

    >>> import lineart
    >>> data = lineart.Artifact("digits", type="dataset", metadata={"classes": 10})
    >>> with data.new_file("labels.txt") as file:
    ...     _ = file.write("0 1 2")
    >>> with lineart.init(project="docs") as run:
    ...     _ = run.log_artifact(data)
    >>> data.version, data.aliases, data.files()
    ('v0', ['latest'], ['labels.txt'])
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        incremental: bool = False,
    ) -> None:
        """A draft. With `incremental` it starts from the collection's newest version when it is logged.

        `metadata` has to be JSON when it is logged. Raises: InvalidNameError.
        """
        self._collection = check_name(name, "artifact name")
        self._type = check_name(type, "type")
        self.description = description
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.tags: list[str] = []
        self.aliases: list[str] = []
        self.ttl_s: int | None = None
        self.stored_bytes = 0  # after logging: how many bytes the store did not have yet
        self.portable = False  # True: refuse, when logging, paths that differ only in case
        self.incremental = incremental
        self._draft: Draft | None = Draft()
        self._base: Version | None = None
        self._version: Version | None = None
        self._bound_aliases: Sequence[str] = ()  # as the log said when this handle was made
        self._workspace: Workspace | None = None
        self._folder: Path | None = None  # of what `new_file` wrote; goes with the draft

    @classmethod
    def of(cls, workspace: Workspace, version: Version) -> Artifact:
        """The handle of a logged version."""
        artifact = cls(version.collection, version.type)
        artifact.bind(workspace, version)
        return artifact

    def bind(self, workspace: Workspace, version: Version) -> None:
        """Become the handle of `version`: what the log says replaces what the draft said."""
        self._draft, self._version, self._workspace = None, version, workspace
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self.description = version.state.description
        self.metadata = copy.deepcopy(dict(version.state.metadata))  # the state must not change with it
        self.tags = list(version.state.tags)
        self.ttl_s = version.state.ttl_s
        self.aliases = self._current_aliases()
        self._bound_aliases = tuple(self.aliases)

    # Putting together

    def add_file(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        overwrite: bool = False,
        policy: Literal["mutable", "immutable"] = "mutable",
    ) -> Entry | None:
        """Add a local file under `name` (default: its own name). It must stay in place until the artifact is logged.

        Raises: NotFoundError, UsageError; UsageError naming both digests when `name` holds other bytes already.
        """
        if policy not in ("mutable", "immutable"):
            raise UsageError(f"policy {policy!r}: expected 'mutable' or 'immutable'")
        self._place(name or Path(path).name, local_file(path), overwrite)
        return None

    def add_dir(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        include: Patterns = None,
        exclude: Patterns = None,
        overwrite: bool = False,
    ) -> None:
        """Add all that lies under a folder, below `name` (default: the artifact's root).

        `include` and `exclude` are shell patterns for paths or bare names. Symbolic links that stay inside are kept.
        Raises: NotFoundError, UsageError, InvalidPathError.
        """
        self._draft_or_refuse()
        for entry_path, item in walk(path, prefix=name or "", include=include, exclude=exclude):
            self._place(entry_path, item, overwrite)

    def add_reference(
        self, uri: str, name: str | None = None, checksum: bool = True, max_objects: int | None = None
    ) -> list[Entry]:
        """Record files that stay where they are, with their size and ETag or checksum; the new entries.

        Raises: NotFoundError, CommError, UsageError for more than `max_objects` files or a URI that nothing serves.
        """
        entries = list(References().resolve(uri, name, checksum=checksum, max_objects=max_objects))
        for entry in entries:
            self._place(entry.path, entry, False)
        return entries

    @contextlib.contextmanager
    def new_file(
        self, name: str, mode: Literal["x", "w", "xb", "wb"] = "x", encoding: str | None = None
    ) -> Iterator[IO[Any]]:
        """A file to write into, which is added when it is closed without an error.

        Raises: UsageError when `name` is taken (unless the mode is ``w``).
        """
        draft = self._draft_or_refuse()
        if name in draft and "x" in mode:
            raise UsageError(f"path {name!r} is in the artifact already; open it with mode 'w' to replace it")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="lineart-draft-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        check_path(name)
        # A name of its own: an error while writing must not touch what stands under `name` already.
        target = self._folder / uuid.uuid4().hex
        binary = "b" in mode
        with target.open("wb" if binary else "w", encoding=None if binary else encoding or "utf-8") as stream:
            yield stream
        draft.put(name, local_file(target))

    def remove(self, path: str | Entry) -> None:
        """Take an entry, or a folder with all below it, out of the draft. Raises: NotFoundError."""
        draft = self._draft_or_refuse()
        draft.remove(path.path if isinstance(path, Entry) else path)

    def new_draft(self) -> Artifact:
        """A draft that starts with this version's entries; their bytes need not be here."""
        version = self._logged()
        draft = Artifact(self._collection, self._type, self.description, copy.deepcopy(self.metadata))
        draft._draft = Draft(version.manifest.values())
        draft._base = version
        return draft

    def _place(self, path: str, item: Item, overwrite: bool) -> None:
        draft = self._draft_or_refuse()
        present = draft.get(path)
        if present is not None and not overwrite and present != item:
            before, after = _identity(present), _identity(item)
            if before != after:
                raise UsageError(
                    f"path {path!r} is in the artifact with content {before}, the new file has {after};"
                    " pass overwrite=True or choose another name"
                )
        draft.put(path, item)

    def _draft_or_refuse(self) -> Draft:
        if self._draft is None:
            raise ArtifactFinalizedError(
                f"artifact {self.name} is logged and cannot be changed; use new_draft()"
            )
        return self._draft

    @property
    def draft(self) -> Draft:
        """What is to be logged. Raises: ArtifactFinalizedError."""
        return self._draft_or_refuse()

    @property
    def base(self) -> Version | None:
        """The version that the draft started from."""
        return self._base

    # Reading

    def _logged(self) -> Version:
        if self._version is None:
            raise ArtifactNotLoggedError(
                f"artifact {self._collection!r} is a draft; log it with run.log_artifact() or save() first"
            )
        return self._version

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return when the version is committed (at once for a logged one). Raises: ArtifactNotLoggedError."""
        self._logged()
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
        target = Path(root) if root is not None else self._default_root()
        self._logged().download(
            target, path_prefix=path_prefix, allow_missing_references=allow_missing_references
        )
        return str(target)

    def checkout(self, root: str | os.PathLike[str] | None = None) -> str:
        """Like `download`, and removes what is not in the artifact.

        Raises: UsageError for a file that would be lost.
        """
        target = Path(root) if root is not None else self._default_root()
        self._logged().checkout(target)
        return str(target)

    def verify(self, root: str | os.PathLike[str] | None = None) -> None:
        """Compare the files below `root` with the manifest.

        Raises: the first difference, IntegrityError or NotFoundError.
        """
        for error in self._logged().verify_files(Path(root) if root is not None else self._default_root()):
            raise error

    @contextlib.contextmanager
    def file(self, name: str | None = None, root: str | os.PathLike[str] | None = None) -> Iterator[str]:
        """The path of one downloaded file (the only one when `name` is None), as a context manager.

        Raises: UsageError when `name` is None and there are several; NotFoundError.
        """
        files = self.files() if name is None else [name]
        if len(files) != 1:
            raise UsageError(f"artifact {self.name} has {len(files)} files; name one")
        folder = self.download(root, path_prefix=files[0])
        yield os.path.join(folder, files[0])

    def open(self, name: str, mode: Literal["r", "rb"] = "rb", encoding: str | None = None) -> IO[Any]:
        """A seekable reader of one file that fetches only the bytes asked for.

        Raises: NotFoundError, IntegrityError.
        """
        stream = self._logged().open(name)
        return stream if mode == "rb" else io.TextIOWrapper(stream, encoding=encoding or "utf-8")

    def files(self, path_prefix: str | None = None) -> list[str]:
        """The paths of all files and references, sorted."""
        if self._draft is not None:
            paths = sorted(path for path, item in self._draft.items() if not _is_folder(item))
            folder = (path_prefix or "").rstrip("/")
            return [path for path in paths if not folder or path == folder or path.startswith(f"{folder}/")]
        return [e.path for e in self._logged().manifest.under(path_prefix) if e.kind != "directory"]

    def get_entry(self, name: str) -> Entry:
        """One line of the manifest. Raises: NotFoundError with the nearest paths."""
        return self._logged().entry(name)

    def diff(self, other: Artifact) -> ManifestDiff:
        """What changed from this version to `other`."""
        return diff_stored(self._logged(), other._logged())

    def _default_root(self) -> Path:
        return Path("artifacts") / f"{self._collection}-{self.version}"

    @property
    def manifest(self) -> Manifest:
        """All entries of the logged version."""
        return self._logged().manifest

    @property
    def digest(self) -> str:
        """BLAKE3 of the manifest, 64 hexadecimal digits."""
        return self._logged().state.digest

    @property
    def size(self) -> int:
        """Bytes of all files and references added up."""
        return self._logged().state.size_bytes

    @property
    def file_count(self) -> int:
        """How many files, references not counted."""
        return self._logged().state.file_count

    @property
    def version(self) -> str:
        """``v<number>``."""
        return f"v{self._logged().state.number}"

    @property
    def type(self) -> str:
        """The collection's type."""
        return self._type

    @property
    def collection(self) -> str:
        """The name without version."""
        return self._collection

    @property
    def name(self) -> str:
        """``collection:vN``; of a draft the collection alone."""
        return self._collection if self._version is None else self._version.name.short

    @property
    def qualified_name(self) -> str:
        """``entity/project/collection:vN``."""
        return str(self._logged().name)

    @property
    def state(self) -> State:
        """``draft``, ``committed`` or ``deleted``."""
        if self._version is None:
            return "draft"
        return "deleted" if self._version.state.deleted else "committed"

    @property
    def created_at(self) -> str:
        """When it was logged, RFC 3339 in UTC."""
        return self._logged().state.created_at

    # Labels

    def save(self) -> None:
        """Log a draft outside of a run, or write changed aliases, tags, metadata and description of a logged version.

        Raises: UsageError, InvalidNameError, StoreError, CommError.
        """
        if self._version is None:
            from .publishing import log_draft
            from .session import default_workspace

            log_draft(self._workspace or default_workspace(create=True), self)
            return
        from .publishing import checked_json

        # Only what was changed on this handle is written: what others have changed meanwhile stays.
        workspace, name, old = self._home(), self._version.name, self._version.state
        metadata = checked_json(self.metadata, f"metadata of artifact {self.name!r}")
        tags = {check_name(tag, "tag") for tag in _listed(self.tags, "tags")}
        wanted = {check_alias(alias) for alias in _listed(self.aliases, "aliases")}
        bound = set(self._bound_aliases)

        def decide(state: ProjectState) -> Sequence[Op]:
            ops = decide_revision(
                state,
                name,
                metadata=None if metadata == old.metadata else metadata,
                description=None if self.description == old.description else self.description,
                change_tags=None
                if tags == set(old.tags)
                else lambda now: (now | tags) - (set(old.tags) - tags),
            )
            for alias in sorted(wanted - bound):
                ops += decide_alias(state, name, alias)
            here = state.collections[name.collection].aliases_of(old.number)
            for alias in sorted((bound - wanted - {"latest"}) & set(here)):
                ops += decide_alias_removal(state, name.collection, alias)
            return ops

        workspace.project(name.project).commit(decide)
        self.bind(workspace, workspace.version(name))

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version; its name, digest and lineage stay. Raises: UsageError while aliases point to it."""
        workspace, name = self._home(), self._logged().name
        workspace.project(name.project).commit(
            lambda state: decide_deletion(state, name, delete_aliases=delete_aliases)
        )
        self.bind(workspace, workspace.version(name, deleted_too=True))

    def _home(self) -> Workspace:
        self._logged()
        if self._workspace is None:
            raise ArtifactNotLoggedError(f"artifact {self._collection!r} belongs to no store yet")
        return self._workspace

    def _current_aliases(self) -> list[str]:
        version = self._logged()
        collection = self._home().project(version.project).state().collections[version.collection]
        return list(collection.aliases_of(version.state.number))

    # Lineage

    def lineage(
        self, direction: Literal["upstream", "downstream", "both"] = "both", depth: int | None = None
    ) -> nx.MultiDiGraph[str]:
        """The graph of runs and versions around this one; `depth` counts versions."""
        catalog = self._home().catalog()
        try:
            return LineageGraph(catalog).build(self.qualified_name, direction=direction, depth=depth)
        finally:
            catalog.close()

    def upstream(self, depth: int | None = None) -> list[Artifact]:
        """The versions that this one was made from, nearest first."""
        return self._related("upstream", depth)

    def downstream(self, depth: int | None = None) -> list[Artifact]:
        """The versions that were made from this one, nearest first."""
        return self._related("downstream", depth)

    def _related(self, direction: Literal["upstream", "downstream"], depth: int | None) -> list[Artifact]:
        graph = self.lineage(direction, depth)
        order = nearest_first(graph, self.qualified_name, upstream=direction == "upstream")
        workspace = self._home()
        return [
            Artifact.of(workspace, workspace.version(node, deleted_too=True))
            for node in order
            if graph.nodes[node]["kind"] == "artifact"
        ]

    def logged_by(self) -> str | None:
        """The id of the run that made this version, as ``entity/project/run``; None if it was logged outside of one."""
        run = self._logged().state.run
        return None if run is None else f"{self._logged().project}/{run}"

    def used_by(self) -> list[str]:
        """The runs that used this version, as ``entity/project/run``, in the order of their use."""
        catalog = self._home().catalog()
        try:
            query = "SELECT run_id FROM edges WHERE kind = 'used' AND version_id = ? ORDER BY time, position"
            return [row[0] for row in catalog.rows(query, [self.qualified_name])]
        finally:
            catalog.close()

    def __repr__(self) -> str:
        return f"<Artifact {self.qualified_name if self._version else self._collection + ' (draft)'}>"


def _listed(labels: Sequence[str], what: str) -> Sequence[str]:
    if isinstance(labels, str):
        raise UsageError(f"{what} {labels!r}: expected a list such as [{labels!r}]")
    return labels


def _is_folder(item: Item) -> bool:
    return isinstance(item, Entry) and item.kind == "directory"


def _identity(item: Item) -> str:
    """What to compare and to show for two items that want one path."""
    if isinstance(item, LocalFile):
        try:
            found = Fingerprint.of(os.stat(item.source))
        except OSError as error:
            raise source_error(item.source, error) from error
        digest = digest_of_file(item.source, found)
        return f"blake3:{digest.hex()[:16]}" if digest else item.source
    if item.digest is not None:
        return f"blake3:{item.digest[:16]}"
    return item.line()
