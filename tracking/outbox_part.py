"""What lies in a part of an outbox: packs, files of runs, and the transactions that were committed there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..artifacts.names import ProjectName
from ..artifacts.project import decode_checkpoint
from ..storage.digest import digest_of
from ..storage.errors import Error, StoreError
from ..storage.local import LocalBackend
from ..storage.log import BackendLog, Position
from ..storage.notes import Note
from ..storage.overlay import Outbox
from ..storage.store import project_prefix
from ..storage.transaction import Op, Transaction


class OutboxPart:
    """A folder of an outbox that nobody writes to any more, or one as it is now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = LocalBackend(folder)

    def projects(self) -> list[ProjectName]:
        """The projects of which something lies here."""
        return [
            ProjectName(entity, project)
            for entity in self.local.folders("projects/")
            for project in self.local.folders(f"projects/{entity}/")
        ]

    def base(self, project: ProjectName) -> Position:
        """Where the project's log stood when it went on here. Raises: StoreError when that is lost."""
        prefix = project_prefix(project.entity, project.project)
        noted = Note(self.folder / "base" / digest_of(prefix.encode()).hex()[:40]).read()
        if noted is None:
            raise StoreError(f"outbox {self.folder}: the base of {project} is missing; its runs stay there")
        return decode_checkpoint(noted)[1]

    def transactions(self, project: ProjectName) -> list[Transaction]:
        """What was committed here, in its order. Raises: StoreError, IntegrityError."""
        prefix = project_prefix(project.entity, project.project)
        if not self.local.folders(f"{prefix}log/"):
            return []
        found = BackendLog(self.local, prefix).read_after(self.base(project))
        return [entry.transaction for entry in found]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Versions of one collection that wait to be sent; `logical_bytes` is the size of their files."""

    project: ProjectName
    collection: str
    versions: int
    logical_bytes: int


def waiting(outbox: Outbox) -> list[Waiting]:
    """What waits in an outbox, by project and collection. Raises: StoreError, IntegrityError."""
    versions: Counter[tuple[ProjectName, str]] = Counter()
    sizes: Counter[tuple[ProjectName, str]] = Counter()
    for folder in (outbox.current, *outbox.parts(), *(lane.current for lane in outbox.lanes())):
        for project, op in _made(OutboxPart(folder)):
            versions[project, op["collection"]] += 1
            sizes[project, op["collection"]] += op["size_bytes"]
    return [
        Waiting(project, name, count, sizes[project, name])
        for (project, name), count in sorted(versions.items(), key=lambda item: (str(item[0][0]), item[0][1]))
    ]


def _made(part: OutboxPart) -> list[tuple[ProjectName, Op]]:
    """The versions that were made in a part; none of one that is sent and removed while it is read."""
    try:
        return [
            (project, op)
            for project in part.projects()
            for transaction in part.transactions(project)
            for op in transaction.ops
            if op["op"] == "version.create"
        ]
    except Error:
        if part.folder.is_dir():
            raise
        return []
