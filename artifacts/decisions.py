"""What may be committed: pure functions from a state and a wish to ops with their results decided.

Each raises an error of `storage.errors` when the wish cannot be granted, and returns no ops when it holds already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

from ..storage.errors import ConflictError, NotFoundError, UsageError
from ..storage.transaction import Op
from .names import ArtifactName, check_alias, check_name, nearest, parse_version
from .state import CollectionState, ProjectState, VersionState

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Content:
    """A stored manifest and what a version record says about it."""

    digest: str
    size_bytes: int
    file_count: int
    reference_count: int
    packs: Sequence[str]
    meta_packs: Sequence[str]
    packs_object: str | None
    index: str | None = None  # the object with the places of all others (storage/pack_index.py)
    references: Sequence[tuple[str, str]] = ()  # (path, URI) of the first hundred references
    new_bytes: int = 0  # stored by the snapshot that made it; for display


@dataclass(frozen=True, slots=True)
class LogRequest:
    """The wish to make `content` a version of a collection."""

    collection: str
    type: str
    content: Content
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    run: str | None = None
    derived_from: Sequence[str] | None = None  # qualified names of inputs; None: all that the run used so far
    ttl_s: int | None = None
    step: int | None = None  # of the run's history
    source: str | None = None  # of a link: the full name of the version that has this content


def find_collection(state: ProjectState, name: str) -> CollectionState:
    """Raises: NotFoundError with the nearest names."""
    found = state.collections.get(name)
    if found is None:
        raise NotFoundError(f"artifact {name!r} does not exist{nearest(name, state.collections)}")
    return found


def find_version(state: ProjectState, name: ArtifactName, *, deleted_too: bool = False) -> VersionState:
    """The version that `name` means now. Raises: NotFoundError with the nearest names."""
    collection = find_collection(state, name.collection)
    number = parse_version(name.reference)
    if number is None:
        number = collection.aliases.get(name.reference)
        if number is None:
            known = [*collection.aliases, *(f"v{v.number}" for v in collection.live())]
            hint = nearest(name.reference, known)
            raise NotFoundError(f"artifact {name.collection!r} has no alias {name.reference!r}{hint}")
    version = collection.versions.get(number)
    if version is None:
        last = collection.next_version - 1
        raise NotFoundError(f"artifact {name.collection!r} has no v{number}; its newest version is v{last}")
    if version.absent:
        raise NotFoundError(
            f"version {name.collection}:v{number} was not copied into this store, only its number is kept;"
            " push or pull it from a store that has it"
        )
    if version.deleted and not deleted_too:
        raise NotFoundError(
            f"version {name.collection}:v{number} was deleted; its lineage is kept, its content until it is collected:"
            f' "art undelete {name.collection}:v{number}"'
        )
    return version


def decide_log(state: ProjectState, request: LogRequest) -> list[Op]:
    """Ops that log a version, or, if a live version has this content, move its labels.

    Raises: UsageError for a type conflict; InvalidNameError.
    """
    check_name(request.collection, "artifact name")
    check_name(request.type, "type")
    aliases = list(dict.fromkeys([LATEST, *map(check_alias, request.aliases)]))
    tags = sorted({check_name(tag, "tag") for tag in request.tags})
    ops: list[Op] = []
    collection = state.collections.get(request.collection)
    if collection is None:
        ops.append(
            {
                "op": "collection.create",
                "collection": request.collection,
                "type": request.type,
                "description": "",
            }
        )
        collection = CollectionState(request.collection, request.type, "", "")
    elif collection.type != request.type:
        raise UsageError(
            f"artifact {request.collection!r} has type {collection.type!r}, not {request.type!r};"
            " use that type or another name"
        )
    demand_allowed(state, request.collection, request.type)
    number = collection.by_digest.get(request.content.digest)
    is_new = number is None
    if number is None:
        number = collection.next_version
        ops.append(_create_op(request, number, tags))
    else:
        ops += _revise_ops(collection.versions[number], request, tags)
    for alias in aliases:
        if collection.aliases.get(alias) != number:
            demand_unprotected(collection, alias)
            move = {
                "collection": collection.name,
                "alias": alias,
                "from": collection.aliases.get(alias),
                "to": number,
            }
            ops.append({"op": "alias.move", **move})
    if request.run is not None:
        edge = {"run": request.run, "collection": collection.name, "version": number, "new": is_new}
        derived = None if request.derived_from is None else list(request.derived_from)
        ops.append({"op": "edge.produce", **edge, "derived_from": derived})
    return ops


def _create_op(request: LogRequest, number: int, tags: Sequence[str]) -> Op:
    content = request.content
    op: dict[str, Any] = {
        "op": "version.create",
        "collection": request.collection,
        "version": number,
        "digest": content.digest,
        "size_bytes": content.size_bytes,
        "file_count": content.file_count,
        "reference_count": content.reference_count,
        "references": [list(reference) for reference in content.references],
        "metadata": dict(request.metadata),
        "description": request.description or "",
        "tags": list(tags),
        "run": request.run,
        "meta_packs": list(content.meta_packs),
        "ttl_s": request.ttl_s,
    }
    if content.packs_object is None:
        op["packs"] = list(content.packs)
    else:
        op["packs_object"] = content.packs_object
    if content.index is not None:
        op["index"] = content.index
    if request.step is not None:
        op["step"] = request.step
    if request.source is not None:
        op["source"] = request.source
    return op


def _revise_ops(version: VersionState, request: LogRequest, tags: Sequence[str]) -> list[Op]:
    changes: dict[str, Any] = {}
    if request.metadata and dict(request.metadata) != dict(version.metadata):
        changes["metadata"] = dict(request.metadata)
    if request.description is not None and request.description != version.description:
        changes["description"] = request.description
    if not set(tags) <= set(version.tags):
        changes["tags"] = sorted({*version.tags, *tags})
    if request.ttl_s is not None and request.ttl_s != version.ttl_s:
        changes["ttl_s"] = request.ttl_s
    if not changes:
        return []
    return [{"op": "version.revise", "collection": request.collection, "version": version.number, **changes}]


def decide_alias(
    state: ProjectState,
    name: ArtifactName,
    alias: str,
    *,
    expect: int | None = None,
    expect_set: bool = False,
) -> list[Op]:
    """Ops that point `alias` to the version `name`.

    With `expect_set` only if it points to `expect` (None: nowhere) now.
    Raises: NotFoundError; ConflictError when it points elsewhere.
    """
    check_alias(alias)
    version = find_version(state, name)
    collection = state.collections[name.collection]
    actual = collection.aliases.get(alias)
    _check_expected(name.collection, alias, actual, expect, expect_set)
    if actual == version.number:
        return []
    demand_unprotected(collection, alias)
    return [
        {
            "op": "alias.move",
            "collection": name.collection,
            "alias": alias,
            "from": actual,
            "to": version.number,
        }
    ]


def decide_alias_removal(state: ProjectState, collection_name: str, alias: str) -> list[Op]:
    """Ops that remove an alias. Raises: NotFoundError, UsageError for ``latest``."""
    collection = find_collection(state, collection_name)
    if alias == LATEST:
        raise UsageError("alias 'latest' follows the newest logging and cannot be removed")
    actual = collection.aliases.get(alias)
    if actual is None:
        raise NotFoundError(
            f"artifact {collection_name!r} has no alias {alias!r}{nearest(alias, collection.aliases)}"
        )
    demand_unprotected(collection, alias)
    return [{"op": "alias.move", "collection": collection_name, "alias": alias, "from": actual, "to": None}]


def demand_unprotected(collection: CollectionState, alias: str) -> None:
    """Raises: UsageError when `alias` moves by promotion only."""
    if alias in collection.protected:
        raise UsageError(
            f"alias {collection.name}:{alias} is protected: it moves by promotion only; see"
            f' "art promote {collection.name}:vN --to {alias}"'
        )


def demand_allowed(state: ProjectState, name: str, type: str) -> None:
    """Raises: UsageError when this registry does not take artifacts of that type."""
    allowed = state.registry.types if state.registry is not None else ()
    if allowed and type not in allowed:
        raise UsageError(
            f"artifact {name!r} has type {type!r}; this registry takes {', '.join(allowed)} only"
        )


def _check_expected(
    collection: str, alias: str, actual: int | None, expect: int | None, expect_set: bool
) -> None:
    if expect_set and actual != expect:
        found = "nothing" if actual is None else f"v{actual}"
        wanted = "nothing" if expect is None else f"v{expect}"
        raise ConflictError(
            f"alias {collection}:{alias} points to {found}, expected {wanted}; look again and decide"
        )


def decide_revision(
    state: ProjectState,
    name: ArtifactName,
    *,
    metadata: Mapping[str, Any] | None = None,
    description: str | None = None,
    change_tags: Callable[[set[str]], Iterable[str]] | None = None,
    ttl_s: int | EllipsisType | None = ...,
) -> list[Op]:
    """Ops that revise what is not None; of `ttl_s` what is not ``...``, since None means to keep for ever.

    Raises: NotFoundError, InvalidNameError for a tag.
    """
    version = find_version(state, name)
    changes: dict[str, Any] = {}
    if metadata is not None and dict(metadata) != dict(version.metadata):
        changes["metadata"] = dict(metadata)
    if description is not None and description != version.description:
        changes["description"] = description
    if change_tags is not None:
        tags = sorted({check_name(tag, "tag") for tag in change_tags(set(version.tags))})
        if tags != sorted(version.tags):
            changes["tags"] = tags
    if ttl_s is not ... and ttl_s != version.ttl_s:
        changes["ttl_s"] = ttl_s
    if not changes:
        return []
    return [{"op": "version.revise", "collection": name.collection, "version": version.number, **changes}]


def decide_deletion(
    state: ProjectState, name: ArtifactName, *, delete_aliases: bool = False, reason: str | None = None
) -> list[Op]:
    """Ops that delete a version and leave its tombstone; `latest` moves to the newest that is left.

    `reason` is what stands in the log beside it.

    Raises: NotFoundError; UsageError when it is linked elsewhere, or other aliases point to it and `delete_aliases` is
    false.
    """
    version = find_version(state, name)
    collection = state.collections[name.collection]
    if version.links:
        raise UsageError(
            f"version {collection.name}:v{version.number} is linked as {', '.join(version.links)};"
            " remove the links first: unlink() them, or delete them"
        )
    aliases = collection.aliases_of(version.number)
    named = [alias for alias in aliases if alias != LATEST]
    if named and not delete_aliases:
        raise UsageError(
            f"version {collection.name}:v{version.number} has aliases {', '.join(named)};"
            " move them first, or delete them with it"
        )
    for alias in named:
        if alias in collection.protected:
            raise UsageError(
                f"version {collection.name}:v{version.number} is what the protected alias {alias} points to;"
                f' promote another one first, or roll back: "art rollback {collection.name} {alias}"'
            )
    left = [v.number for v in collection.live() if v.number != version.number]
    ops: list[Op] = []
    for alias in aliases:
        target = left[-1] if alias == LATEST and left else None
        ops.append(
            {
                "op": "alias.move",
                "collection": collection.name,
                "alias": alias,
                "from": version.number,
                "to": target,
            }
        )
    op: dict[str, Any] = {"op": "version.delete", "collection": collection.name, "version": version.number}
    if reason is not None:
        op["reason"] = reason
    return [*ops, op]


def decide_restoration(state: ProjectState, name: ArtifactName) -> list[Op]:
    """Ops that bring a deleted version back, none when it is not deleted; ``latest`` is set if nothing has it.

    Its packs must not be in a final list of the collection; see to that first.
    Raises: NotFoundError; UsageError when another version has the same content.
    """
    version = find_version(state, name, deleted_too=True)
    if not version.deleted:
        return []
    collection = state.collections[name.collection]
    same = collection.by_digest.get(version.digest)
    if same is not None:
        raise UsageError(
            f"version {collection.name}:v{version.number} has the content of v{same}, which is there; use that one"
        )
    if not version.meta_packs:
        raise NotFoundError(
            f"version {collection.name}:v{version.number} was deleted before it was copied into this store: its content"
            " was never here; restore it where it was made, and push or pull it again"
        )
    where = {"collection": collection.name, "version": version.number}
    ops: list[Op] = [{"op": "version.restore", **where}]
    if LATEST not in collection.aliases:
        move = {"collection": collection.name, "alias": LATEST, "from": None, "to": version.number}
        ops.append({"op": "alias.move", **move})
    return ops
