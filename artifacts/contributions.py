"""Contributions: files that several workers add to one version. Rules and the merging of what they added. Pure.

Each worker records a manifest of its own in the project's log under a distributed id (`artifact.contribute`), so
there is nothing to lock and nothing to lose: a contribution is in the log, or its call has not returned. Whoever
finishes commits the version together with the number of contributions that it is made of (`artifact.finish`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..storage.errors import ConflictError, UsageError
from ..storage.transaction import Op
from .decisions import Content, LogRequest, decide_log
from .manifest import Entry, Manifest
from .names import check_alias, check_name
from .state import Contribution, Gathering, ProjectState


@dataclass(frozen=True, slots=True)
class ContributeRequest:
    """The wish to add `content` to the version of `collection` that is gathered under `distributed_id`."""

    collection: str
    type: str
    distributed_id: str
    run: str
    writer: str
    content: Content
    metadata: Mapping[str, Any]
    description: str | None
    aliases: Sequence[str]
    tags: Sequence[str]


def find_gathering(state: ProjectState, collection: str, distributed_id: str) -> Gathering:
    """What was gathered so far, empty when nothing was."""
    return state.gatherings.get((collection, distributed_id)) or Gathering()


def decide_contribution(state: ProjectState, request: ContributeRequest) -> list[Op]:
    """Ops that record a contribution; none when this writer's last one says the same.

    Raises: UsageError when the collection, or what others have contributed, is of another type; InvalidNameError.
    """
    check_name(request.collection, "artifact name")
    check_name(request.type, "type")
    waiting = find_gathering(state, request.collection, request.distributed_id).waiting
    known = state.collections.get(request.collection)
    types = [c.type for c in waiting] if known is None else [known.type]
    for found in types:
        if found != request.type:
            raise UsageError(
                f"artifact {request.collection!r} has type {found!r}, not {request.type!r};"
                " use that type or another name"
            )
    op: dict[str, Any] = {
        "op": "artifact.contribute",
        "collection": request.collection,
        "type": request.type,
        "distributed_id": request.distributed_id,
        "run": request.run,
        "writer": request.writer,
        "digest": request.content.digest,
        "meta_packs": list(request.content.meta_packs),
        "metadata": dict(request.metadata),
        "description": request.description,
        "aliases": sorted(map(check_alias, request.aliases)),
        "tags": sorted(check_name(tag, "tag") for tag in request.tags),
    }
    if request.content.packs_object is None:
        op["packs"] = list(request.content.packs)
    else:
        op["packs_object"] = request.content.packs_object
    mine = [c for c in waiting if c.writer == request.writer]
    if mine and _says(mine[-1], op):
        return []
    return [op]


def _says(contribution: Contribution, op: Op) -> bool:
    labels = ("digest", "metadata", "description")
    return all(getattr(contribution, key) == op[key] for key in labels) and (
        list(contribution.aliases),
        list(contribution.tags),
    ) == (op["aliases"], op["tags"])


def merge(contributions: Sequence[tuple[Contribution, Manifest]]) -> list[Entry]:
    """The entries of all contributions; of one writer the later counts.

    Raises: UsageError naming path, runs and contents when two writers have different ones for a path.
    """
    by_writer: dict[str, dict[str, tuple[Entry, Contribution]]] = {}
    for contribution, manifest in contributions:
        said = by_writer.setdefault(contribution.writer, {})
        said.update((path, (entry, contribution)) for path, entry in manifest.items())
    found: dict[str, tuple[Entry, Contribution]] = {}
    for said in by_writer.values():
        for path, (entry, contribution) in said.items():
            other, who = found.setdefault(path, (entry, contribution))
            if other != entry:
                raise UsageError(
                    f"path {path!r} was contributed by run {who.run} as {_content(other)} and by run"
                    f" {contribution.run} as {_content(entry)}; contribute again under another distributed_id,"
                    " each path once or with the same bytes"
                )
    folders = {parent for path in found for parent in _parents(path)}
    # What is an empty folder to one worker may have files of another.
    return [entry for entry, _ in found.values() if entry.kind != "directory" or entry.path not in folders]


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _content(entry: Entry) -> str:
    return f"blake3:{entry.digest[:16]}" if entry.digest else entry.line()


def merged_request(contributions: Sequence[Contribution], request: LogRequest) -> LogRequest:
    """`request` with the labels of all contributions before its own; of one metadata key the last counts."""
    metadata: dict[str, Any] = {}
    aliases: list[str] = []
    tags: set[str] = set(request.tags)
    description = None
    for contribution in contributions:
        metadata |= contribution.metadata
        aliases += contribution.aliases
        tags |= set(contribution.tags)
        description = contribution.description or description
    return replace(
        request,
        metadata={**metadata, **request.metadata},
        aliases=[*aliases, *request.aliases],
        tags=sorted(tags),
        description=request.description if request.description is not None else description,
    )


def decide_finish(
    state: ProjectState, request: LogRequest, distributed_id: str, merged: Sequence[Contribution]
) -> list[Op]:
    """Ops that make the version of the contributions `merged`, which stay the first of those that wait.

    Every run that contributed is recorded as a producer. Contributions that came in meanwhile wait for the next.
    Raises: ConflictError when another process has finished in between; those of `decide_log`.
    """
    waiting = find_gathering(state, request.collection, distributed_id).waiting
    if waiting[: len(merged)] != tuple(merged):
        raise ConflictError(
            f"artifact {request.collection!r}, distributed_id {distributed_id!r}: finished by another process"
        )
    ops = decide_log(state, request)
    known = state.collections.get(request.collection)
    number = known.by_digest.get(request.content.digest) if known is not None else None
    is_new = number is None
    if number is None:
        number = known.next_version if known is not None else 0
    runs = dict.fromkeys(c.run for c in merged if c.run is not None and c.run != request.run)
    for run in runs:
        edge = {"run": run, "collection": request.collection, "version": number, "new": is_new}
        ops.append({"op": "edge.produce", **edge, "derived_from": None})
    finish = {"collection": request.collection, "distributed_id": distributed_id, "version": number}
    return [*ops, {"op": "artifact.finish", **finish, "count": len(merged)}]
