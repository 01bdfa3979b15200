"""What was committed to a log while its store was out of reach, committed anew behind what others have done meanwhile.

Pure functions. A version made offline gets its number now: that of a live version with the same content, else the next.
Everything that named it by its old number names it by the new one. Labels move as was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..storage.errors import UsageError
from ..storage.transaction import Op, Transaction
from .names import ArtifactName, ProjectName, parse_version
from .state import ProjectState, apply

SENT_AS = "outbox"  # the key of an op that tells which transaction of an outbox it was


@dataclass(slots=True)
class Renumbering:
    """Which number versions made offline have got, by project, collection and their number offline."""

    numbers: dict[tuple[ProjectName, str, int], int] = field(default_factory=dict)
    known: set[tuple[ProjectName, str, int]] = field(
        default_factory=set
    )  # whose content was there when they were sent

    def of(self, project: ProjectName, collection: str, number: int) -> int:
        """The number now; versions that were known before have theirs."""
        return self.numbers.get((project, collection, number), number)

    def name(self, text: str, project: ProjectName) -> str:
        """A full name ``entity/project/collection:vN`` with the number of now."""
        name = ArtifactName.parse(text, project)
        number = parse_version(name.reference)
        if number is None:
            return text
        return str(replace(name, reference=f"v{self.of(name.project, name.collection, number)}"))


def rebase(
    state: ProjectState, project: ProjectName, transaction: Transaction, made: Renumbering
) -> list[Op]:
    """The ops that say in `state` what `transaction` said offline; `made` learns the numbers.

    Raises: UsageError when a collection has another type now.
    """
    ops: list[Op] = []
    for op in transaction.ops:
        for now in _rebased(state, project, op, transaction, made):
            told = {**now, SENT_AS: transaction.id}
            state = apply(state, replace(transaction, ops=[told]))
            ops.append(told)
    return ops


def learn(state: ProjectState, project: ProjectName, transaction: Transaction, made: Renumbering) -> None:
    """Let `made` know the numbers of a transaction that was sent before."""
    for op in transaction.ops:
        if op["op"] == "version.create":
            number = state.collections[op["collection"]].by_digest.get(op["digest"])
            if number is not None:
                made.numbers[project, op["collection"], op["version"]] = number


def _rebased(
    state: ProjectState, project: ProjectName, op: Op, transaction: Transaction, made: Renumbering
) -> list[Op]:
    kind = op["op"]
    if kind == "collection.create":
        found = state.collections.get(op["collection"])
        if found is None:
            return [op]
        if found.type != op["type"]:
            raise UsageError(
                f"artifact {project}/{op['collection']!r} was made offline with type {op['type']!r} and has type"
                f" {found.type!r} now; log it again under another name"
            )
        return []
    if kind == "version.create":
        return _create(state, project, op, made)
    if kind in ("project.create", "gc.condemn"):
        return []  # of the outbox alone: the commit to the store has its own
    if kind.startswith("run."):
        return [_run(op, project, transaction, made)]
    changed = _renumbered(op, project, made)
    if kind == "alias.move":
        return _move(state, op, changed)
    if kind == "edge.produce":
        if (project, op["collection"], op["version"]) in made.known:
            changed["new"] = False  # somebody has made it meanwhile, and is where it comes from
        if op["derived_from"] is not None:
            changed["derived_from"] = [made.name(name, project) for name in op["derived_from"]]
        return [changed]
    if kind in ("version.link", "version.unlink"):
        return [{**changed, "target": made.name(op["target"], project)}]
    if kind == "version.delete":
        version = state.collections[op["collection"]].versions.get(changed["version"])
        return [] if version is None or version.deleted else [changed]
    return [changed]


def _create(state: ProjectState, project: ProjectName, op: Op, made: Renumbering) -> list[Op]:
    collection = state.collections[op["collection"]]
    number = collection.by_digest.get(op["digest"])
    is_new = number is None
    number = collection.next_version if number is None else number
    made.numbers[project, op["collection"], op["version"]] = number
    if not is_new:
        made.known.add((project, op["collection"], op["version"]))
        return []
    source = op.get("source")
    return [{**op, "version": number, **({"source": made.name(source, project)} if source else {})}]


def _move(state: ProjectState, op: Op, changed: Op) -> list[Op]:
    collection = state.collections[op["collection"]]
    now = collection.aliases.get(op["alias"])
    wanted = None if op["to"] is None else changed["to"]
    return [] if now == wanted else [{**op, "from": now, "to": wanted}]


def _renumbered(op: Op, project: ProjectName, made: Renumbering) -> dict[str, Any]:
    changed = dict(op)
    home = ProjectName(*op["project"].split("/")) if op["op"] == "edge.use" else project
    for key in ("version", "to"):
        if isinstance(op.get(key), int):
            changed[key] = made.of(home, op["collection"], op[key])
    return changed


def _run(op: Op, project: ProjectName, transaction: Transaction, made: Renumbering) -> Op:
    """A run's times are those of then, and the artifacts in its config those of now."""
    changed = dict(op)
    if op["op"] == "run.start":
        changed.setdefault("started_at", transaction.time)
    elif op["op"] == "run.finish":
        changed.setdefault("ended_at", transaction.time)
    if op.get("config"):
        changed["config"] = {key: _config(value, project, made) for key, value in op["config"].items()}
    return changed


def _config(value: Any, project: ProjectName, made: Renumbering) -> Any:
    if isinstance(value, Mapping):
        if value.get("_type") == "artifactVersion" and isinstance(value.get("name"), str):
            return {**value, "name": made.name(value["name"], project)}
        return {key: _config(item, project, made) for key, item in value.items()}
    if isinstance(value, list):
        return [_config(item, project, made) for item in value]
    return value
