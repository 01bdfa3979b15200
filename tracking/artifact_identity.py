"""What an artifact is called and what its version's record says: the ground that the parts of `Artifact` stand on."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any, Literal

from ..artifacts.draft import Draft
from ..artifacts.names import ArtifactName
from ..artifacts.version import Version
from ..storage.errors import ArtifactFinalizedError, ArtifactNotLoggedError, UsageError
from .workspace import Workspace

if TYPE_CHECKING:
    from .artifact import Artifact
    from .dispatch import Pending

State = Literal["draft", "pending", "committed", "deleted"]


class ArtifactIdentity:
    """Names and facts of an artifact. `Artifact` sets the attributes."""

    description: str | None
    metadata: dict[str, Any]
    ttl_s: int | None
    _collection: str
    _type: str
    _draft: Draft | None
    _version: Version | None
    _workspace: Workspace | None
    _pending: Pending | None

    def _logged(self, timeout: float | None = None) -> Version:
        """The version, once it is in the store; it is waited for."""
        if self._pending is not None:
            self._pending.wait(timeout)
        return self._said()

    def _said(self) -> Version:
        """The version as it was logged, before it has its number."""
        if self._version is None:
            raise ArtifactNotLoggedError(
                f"artifact {self._collection!r} is a draft; log it with run.log_artifact() or save() first"
            )
        return self._version

    def _home(self) -> Workspace:
        self._logged()
        if self._workspace is None:
            raise ArtifactNotLoggedError(f"artifact {self._collection!r} belongs to no store yet")
        return self._workspace

    def _draft_or_refuse(self) -> Draft:
        if self._draft is None:
            raise ArtifactFinalizedError(
                f"artifact {self.name} is logged and cannot be changed; use new_draft()"
            )
        return self._draft

    def _handle(self, version: Version) -> Artifact:
        from .artifact import Artifact

        return Artifact.of(self._home(), version)

    # Names

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
        return self._collection if self._version is None else self._logged().name.short

    @property
    def version(self) -> str:
        """``v<number>``."""
        return f"v{self._logged().state.number}"

    @property
    def entity(self) -> str:
        """The entity of the project that the version is in."""
        return self._logged().project.entity

    @property
    def project(self) -> str:
        """The project that the version is in."""
        return self._logged().project.project

    @property
    def qualified_name(self) -> str:
        """``entity/project/collection:vN``."""
        return str(self._logged().name)

    @property
    def url(self) -> str:
        """``art://entity/project/collection:vN``: what pandas, pyarrow and others open with a path behind it."""
        return f"art://{self.qualified_name}"

    # The version it was linked from

    @property
    def is_link(self) -> bool:
        """Whether this version was made by linking one of another collection."""
        return self._version is not None and self._version.state.source is not None

    def _source(self) -> ArtifactName:
        version = self._logged()
        if version.state.source is None:
            return version.name
        return ArtifactName.parse(version.state.source, version.project)

    @property
    def source_name(self) -> str:
        """``collection:vN`` of the version that this one was linked from; its own name when it is no link."""
        return self._source().short

    @property
    def source_qualified_name(self) -> str:
        """`source_name` with entity and project."""
        return str(self._source())

    @property
    def source_collection(self) -> str:
        """The collection of the source."""
        return self._source().collection

    @property
    def source_version(self) -> str:
        """The version of the source."""
        return self._source().reference

    @property
    def source_entity(self) -> str:
        """The entity of the source."""
        return self._source().project.entity

    @property
    def source_project(self) -> str:
        """The project of the source."""
        return self._source().project.project

    # Facts

    @property
    def state(self) -> State:
        """``draft``, ``pending`` (logged, and on its way to the store), ``committed`` or ``deleted``."""
        if self._version is None:
            return "draft"
        if self._pending is not None:
            return "pending"
        return "deleted" if self._version.state.deleted else "committed"

    def is_draft(self) -> bool:
        """Whether it was not logged yet."""
        return self._version is None

    @property
    def digest(self) -> str:
        """BLAKE3 of the manifest, 64 hexadecimal digits."""
        return self._said().state.digest

    @property
    def size(self) -> int:
        """Bytes of all files and references added up."""
        return self._said().state.size_bytes

    @property
    def file_count(self) -> int:
        """How many files, references not counted."""
        return self._said().state.file_count

    @property
    def created_at(self) -> str:
        """When it was logged, RFC 3339 in UTC."""
        return self._logged().state.created_at

    @property
    def updated_at(self) -> str:
        """When its metadata, description, tags or time to live were last changed, RFC 3339 in UTC."""
        state = self._logged().state
        return state.updated_at or state.created_at

    @property
    def history_step(self) -> int | None:
        """The last step of its run's history when it was logged; None without a run or before its first `log`."""
        return self._logged().state.step

    @property
    def ttl(self) -> datetime.timedelta | None:
        """How long after its logging the version is kept; None: for ever. Of a logged one `save()` writes a change."""
        return None if self.ttl_s is None else datetime.timedelta(seconds=self.ttl_s)

    @ttl.setter
    def ttl(self, value: datetime.timedelta | None) -> None:
        if value is not None and (not isinstance(value, datetime.timedelta) or value.total_seconds() <= 0):
            raise UsageError(
                f"ttl {value!r} of artifact {self.name}: expected a datetime.timedelta of more than 0, or None"
            )
        self.ttl_s = None if value is None else math.ceil(value.total_seconds())
