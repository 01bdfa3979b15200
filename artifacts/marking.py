"""What is live: a fold over a project's log that keeps who needs which packs. Pure.

A *holder* is whatever a log says that needs packs: a version that is not deleted (links are versions), a contribution
that waits, the files of a run that is not deleted. What a log says that this client does not understand may need any
pack, so nothing is collected then. Unlike the fold it goes on behind an op that contradicts the ones before: for a
verification, what is damaged must not hide the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..storage.errors import IntegrityError
from ..storage.transaction import FORMAT, Op, Transaction

_NO_HOLDERS = frozenset(
    {
        "collection.create",
        "collection.revise",
        "version.revise",
        "version.link",
        "version.unlink",
        "version.absent",
        "version.same",
        "collection.policy",
        "registry.revise",
        "attestation.add",
        "alias.move",
        "alias.protect",
        "alias.promote",
        "promotion.refuse",
        "approval.give",
        "approval.revoke",
        "edge.use",
        "edge.produce",
        "edge.used_by",
        "project.create",
        "gc.condemn",
    }
)


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that needs packs: a manifest, its files, and the list and index of packs if those are objects."""

    kind: str  # version, contribution, run
    name: str
    digest: str
    packs: tuple[str, ...]
    meta_packs: tuple[str, ...]
    packs_object: str | None
    index: str | None = None  # a copy, which nobody needs


@dataclass(slots=True)
class ProjectMarks:
    """The holders of one project, and its deleted runs. Fed with the transactions of its log, from the first one."""

    project: str  # entity/project
    newer: str | None = None
    plans: set[str] = field(default_factory=set)
    deleted_runs: set[str] = field(default_factory=set)
    _versions: dict[tuple[str, int], Holder] = field(default_factory=dict)
    _deleted: set[tuple[str, int]] = field(default_factory=set)
    _waiting: dict[tuple[str, str], list[Holder]] = field(default_factory=dict)
    _finished: list[Holder] = field(default_factory=list)  # contributions that have become versions
    _runs: dict[str, list[Holder]] = field(default_factory=dict)

    def add(self, transactions: Iterable[Transaction]) -> None:
        """Take in what the log says. Raises: IntegrityError for a malformed op."""
        for transaction in transactions:
            if transaction.format > FORMAT:
                self.newer = f"format {transaction.format} in transaction {transaction.seq}"
            for op in transaction.ops:
                try:
                    self.add_op(op, transaction.seq)
                except (KeyError, TypeError, AttributeError) as error:
                    raise IntegrityError(
                        f"transaction {transaction.seq} of {self.project}: op {str(op)[:200]} is malformed ({error!r})"
                    ) from error

    def live(self) -> Iterator[Holder]:
        """Those whose packs have to stay."""
        yield from (holder for key, holder in self._versions.items() if key not in self._deleted)
        for waiting in self._waiting.values():
            yield from waiting
        for run, files in self._runs.items():
            if run not in self.deleted_runs:
                yield from files

    def dead(self) -> Iterator[Holder]:
        """Those that have needed packs and do not any more."""
        yield from (holder for key, holder in self._versions.items() if key in self._deleted)
        yield from self._finished
        for run in self.deleted_runs:
            yield from self._runs.get(run, ())

    def add_op(self, op: Op, seq: int) -> None:
        """Take in one op of transaction `seq`. Raises: KeyError, TypeError, AttributeError for a malformed one."""
        name = op["op"]
        if name in _NO_HOLDERS:
            self.plans.update(op.get("plans", ()) if name == "project.create" else ())
            if name == "gc.condemn":
                self.plans.add(op["plan"])
            return
        if name.startswith("run."):
            self._add_run(op)
        elif name == "version.create":
            key = op["collection"], op["version"]
            self._versions[key] = holder_of(
                "version", f"{self.project}/{op['collection']}:v{op['version']}", op
            )
        elif name == "version.delete":
            self._deleted.add((op["collection"], op["version"]))
        elif name == "version.restore":
            key = op["collection"], op["version"]
            self._deleted.discard(key)
            if "meta_packs" in op:  # from another store, with other packs than it was made with
                title = f"{self.project}/{op['collection']}:v{op['version']}"
                self._versions[key] = holder_of("version", title, op)
        elif name == "artifact.contribute":
            title = f"contribution to {self.project}/{op['collection']} by run {op['run']}"
            waiting = self._waiting.setdefault((op["collection"], op["distributed_id"]), [])
            waiting.append(holder_of("contribution", title, op))
        elif name == "artifact.finish":
            waiting = self._waiting[op["collection"], op["distributed_id"]]
            self._finished += waiting[: op["count"]]
            del waiting[: op["count"]]
        else:
            self.newer = f"op {name!r} in transaction {seq}"

    def _add_run(self, op: Op) -> None:
        run = op["run"]
        if op["op"] == "run.delete":
            self.deleted_runs.add(run)
        if op.get("files"):
            self._runs.setdefault(run, []).append(holder_of("run", f"{self.project}/{run}", op["files"]))


def holder_of(kind: str, name: str, record: Mapping[str, Any]) -> Holder:
    """What an op, or the `files` of one, needs."""
    return Holder(
        kind=kind,
        name=name,
        digest=record["digest"],
        packs=tuple(record.get("packs") or ()),
        meta_packs=tuple(record.get("meta_packs") or ()),
        packs_object=record.get("packs_object"),
        index=record.get("index"),
    )
