"""`Artifact`: the one public class for a draft that is being put together and for a version that was logged.

It lives here, above `artifacts/`, because it also answers what needs runs and lineage (`logged_by`, `upstream`).
The work is done by `artifacts.Draft`, `artifacts.publish` and `artifacts.Version`. This module has the draft and the
labels; `artifact_identity` names and facts, `artifact_reading` files, `artifact_media` tables and media,
`artifact_lineage` other versions and links.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from ..artifacts.decisions import decide_alias, decide_alias_removal, decide_revision
from ..artifacts.draft import Draft, Item, LocalFile, Patterns, local_file, walk
from ..artifacts.manifest import Entry
from ..artifacts.names import check_alias, check_name, parse_version
from ..artifacts.paths import check_path
from ..artifacts.references import References
from ..artifacts.state import ProjectState
from ..artifacts.version import Version
from ..storage.errors import ArtifactNotLoggedError, UsageError
from ..storage.reading import source_error
from ..storage.restore import digest_of_file
from ..storage.statcache import Fingerprint
from ..storage.transaction import Op
from .artifact_lineage import ArtifactLineage
from .artifact_media import ArtifactMedia
from .artifact_reading import reference_options
from .links import delete_version, share_revision
from .workspace import Workspace

if TYPE_CHECKING:
    from .dispatch import Pending
    from .promoting import Decision


class Artifact(ArtifactMedia, ArtifactLineage):
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
        self._pending: Pending | None = None  # logged, and on its way to the store
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

    def expect(self, pending: Pending) -> None:
        """Be logged, and on the way to the store: `arrive` is called when it is there."""
        self._pending = pending

    def arrive(self, workspace: Workspace, version: Version) -> None:
        """Become the handle of `version`; what was changed on this one since it was logged stays changed."""
        if self._version is None:
            raise ArtifactNotLoggedError(f"artifact {self._collection!r} is a draft; it was not on its way")
        was = self._version.state
        before = {
            "description": was.description,
            "metadata": dict(was.metadata),
            "tags": list(was.tags),
            "ttl_s": was.ttl_s,
            "aliases": list(self._bound_aliases),
        }
        changed = {name: now for name in before if (now := getattr(self, name)) != before[name]}
        self._pending = None
        self.bind(workspace, version)
        for name, value in changed.items():
            setattr(self, name, value)

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
        self._put_item(name or Path(path).name, local_file(path), overwrite=overwrite)
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
            self._put_item(entry_path, item, overwrite=overwrite)

    def add_reference(
        self, uri: str, name: str | None = None, checksum: bool = True, max_objects: int | None = None
    ) -> list[Entry]:
        """Record files that stay where they are, with their size and ETag or checksum; the new entries.

        Raises: NotFoundError, CommError, UsageError for more than `max_objects` files or a URI that nothing serves.
        """
        self._draft_or_refuse()
        looked_up = References(reference_options()).resolve(
            uri, name, checksum=checksum, max_objects=max_objects
        )
        entries = list(looked_up)
        for entry in entries:
            self._put_item(entry.path, entry)
        return entries

    @contextlib.contextmanager
    def new_file(
        self, name: str, mode: Literal["x", "w", "xb", "wb"] = "x", encoding: str | None = None
    ) -> Iterator[IO[Any]]:
        """A file to write into, which is added when it is closed without an error.

        Raises: UsageError when `name` is taken (unless the mode is ``w``).
        """
        draft = self._draft_or_refuse()
        if mode not in ("x", "xt", "w", "wt", "xb", "wb"):
            raise UsageError(f"mode {mode!r}: expected 'x', 'w', 'xb' or 'wb'")
        if name in draft and "x" in mode:
            raise UsageError(f"path {name!r} is in the artifact already; open it with mode 'w' to replace it")
        check_path(name)
        # A name of its own: an error while writing must not touch what stands under `name` already.
        target = self._scratch() / uuid.uuid4().hex
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

    def _scratch(self) -> Path:
        """A folder for what is written into the draft; it goes with the draft."""
        self._draft_or_refuse()
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="lineart-draft-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _put_bytes(self, path: str, data: bytes, *, overwrite: bool = False) -> None:
        """Add `data` as the file `path`. Raises: UsageError when other bytes are there already; InvalidPathError."""
        target = self._scratch() / uuid.uuid4().hex
        target.write_bytes(data)
        self._put_item(path, local_file(target), overwrite=overwrite)

    def _put_item(self, path: str, item: Item, *, overwrite: bool = False) -> None:
        """Place an entry or a local file. Raises: UsageError naming both contents if they differ; InvalidPathError."""
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

    @property
    def draft(self) -> Draft:
        """What is to be logged. Raises: ArtifactFinalizedError."""
        return self._draft_or_refuse()

    @property
    def base(self) -> Version | None:
        """The version that the draft started from."""
        return self._base

    # Labels

    def save(self) -> None:
        """Log a draft outside of a run, or write changed aliases, tags, metadata and description of a logged version.

        Raises: UsageError, InvalidNameError, StoreError, CommError.
        """
        if self.is_draft():
            from .publishing import log_draft
            from .session import default_workspace

            log_draft(self._workspace or default_workspace(create=True), self)
            return
        from .publishing import checked_json

        # Only what was changed on this handle is written: what others have changed meanwhile stays.
        workspace, version = self._home(), self._logged()
        name, old = version.name, version.state
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
                ttl_s=... if self.ttl_s == old.ttl_s else self.ttl_s,
            )
            for alias in sorted(wanted - bound):
                ops += decide_alias(state, name, alias)
            here = state.collections[name.collection].aliases_of(old.number)
            for alias in sorted((bound - wanted - {"latest"}) & set(here)):
                ops += decide_alias_removal(state, name.collection, alias)
            return ops

        ops = workspace.project(name.project).commit(decide)
        if any("metadata" in op or "tags" in op for op in ops):
            share_revision(workspace, name)
        self.bind(workspace, workspace.version(name))

    # Promotion

    def promote(
        self,
        alias: str,
        *,
        target_path: str | None = None,
        policy: str | None = None,
        expect: str | None = None,
        reason: str = "",
        dry_run: bool = False,
    ) -> Decision:
        """Move `alias` to this version when all clauses of its policies pass; what was decided, true when it passed.

        With `target_path`, ``[[entity/]project/]model``, it is linked there first. `policy` is the text of a policy
        file, for a model that has none. `expect` is the version that the alias must point to now, such as ``v7``.
        Raises: ArtifactNotLoggedError; ConflictError when somebody was first; UsageError naming what is wrong in
        `policy`, or when it is another one than the model's; CommError.
        """
        from ..registry.policy import read_policy
        from .promoting import Wish, promote

        number = None if expect is None else parse_version(expect)
        if expect is not None and number is None:
            raise UsageError(f"expect {expect!r}: expected a version such as v7")
        read = None if policy is None else read_policy(policy, "given")
        expected = None if expect is None else (number,)
        wish = Wish(alias, policy=read, reason=reason, expect=expected, is_tried=dry_run)
        return promote(self._home(), self._logged().name, wish, target=target_path)

    def approve(self, alias: str, comment: str = "") -> None:
        """Approve that `alias` moves to this version. Raises: ArtifactNotLoggedError, InvalidNameError, CommError."""
        from .promoting import approve

        approve(self._home(), self._logged().name, alias, comment)

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version; its name, digest and lineage stay.

        Raises: UsageError while it is linked elsewhere, or aliases point to it.
        """
        workspace, name = self._home(), self._logged().name
        delete_version(workspace, name, delete_aliases=delete_aliases)
        self.bind(workspace, workspace.version(name, deleted_too=True))

    def _current_aliases(self) -> list[str]:
        version = self._logged()
        collection = self._home().state(version.project).collections[version.collection]
        return list(collection.aliases_of(version.state.number))

    def __repr__(self) -> str:
        if self._pending is not None:
            return f"<Artifact {self._collection} (on its way)>"
        return f"<Artifact {self.qualified_name if self._version else self._collection + ' (draft)'}>"


def _listed(labels: Sequence[str], what: str) -> Sequence[str]:
    if isinstance(labels, str):
        raise UsageError(f"{what} {labels!r}: expected a list such as [{labels!r}]")
    return labels


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
