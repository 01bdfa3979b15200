"""What a project's log says: the pure fold over its transactions.

`state = apply(state, transaction)`: no I/O, no clock, and `state` itself never changes, so that a decision can be
tried and thrown away. The maps are persistent (rpds), which makes a step cost microseconds whatever the size.

The laws, each a property test:

- A version number is given once per collection, also after deletion; numbers have no holes. One that is kept for a
  version of another store (``version.absent``) is given to that version only, when it comes.
- An alias points to a live version.
- A protected alias moves by promotions only, which are numbered without a hole and each name the one before. A move
  beside them changes nothing, and is remembered as ignored.
- A contribution that was recorded is in exactly one finished version, or still waits.
- Replaying the same transactions in batches of any size gives the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rpds import HashTrieMap

from ..storage.digest import digest_of
from ..storage.errors import IntegrityError, InvalidNameError
from ..storage.gc import check_plan_id
from ..storage.transaction import FORMAT, Op, Transaction, actor_of, canonical_json, time_of
from .names import check_name

# Facts that change nothing a decision depends on; the catalog reads them.
_RECORDED_ONLY = frozenset(
    {
        "edge.use",
        "edge.produce",
        "edge.used_by",
        "run.start",
        "run.join",
        "run.update",
        "run.files",
        "run.inputs",
        "run.finish",
        "run.delete",
        "version.same",
        "promotion.refuse",
        "approval.give",
        "approval.revoke",
    }
)
_IGNORED_KEPT = 20  # of moves of a protected alias beside promotion: enough to say that there are some


@dataclass(frozen=True, slots=True)
class VersionState:
    """One version; immutable but for its revisions (metadata, description, tags, ttl), its links and its deletion."""

    number: int
    digest: str
    size_bytes: int
    file_count: int
    reference_count: int
    metadata: Mapping[str, Any]
    description: str
    tags: tuple[str, ...]
    run: str | None
    created_at: str
    packs: tuple[str, ...]
    meta_packs: tuple[str, ...]
    packs_object: str | None
    ttl_s: int | None = None
    deleted: bool = False
    step: int | None = None  # of the history of its run, when it was logged
    source: str | None = None  # of a link: "entity/project/collection:vN", which has the same content
    links: tuple[str, ...] = ()  # full names of the versions that are links to this one
    updated_at: str = ""  # of its last revision
    index: str | None = None  # the object with the places of all others
    absent: bool = False  # left in another store: only its number and digest are here; counts as deleted


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one worker has added to a version that several make together."""

    type: str
    run: str | None
    writer: str  # one run object of one process: what it contributes later replaces what it did before
    digest: str  # of the manifest of what was added
    packs: tuple[str, ...]
    meta_packs: tuple[str, ...]
    packs_object: str | None
    metadata: Mapping[str, Any]
    description: str | None
    aliases: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gathering:
    """The contributions under one distributed id that wait, and the version that the earlier ones became."""

    waiting: tuple[Contribution, ...] = ()
    finished: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyText:
    """The text of a policy file, with the BLAKE3 of its bytes."""

    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Promoted:
    """The last promotion of an alias: the how manieth it was, and the digest of its op (`promotion_digest`)."""

    number: int = 0
    digest: str = ""


def _no_promotions() -> HashTrieMap[str, Promoted]:
    return HashTrieMap()


def _no_protections() -> HashTrieMap[str, str]:
    return HashTrieMap()


def _no_versions() -> HashTrieMap[int, VersionState]:
    return HashTrieMap()


def _no_numbers() -> HashTrieMap[str, int]:
    return HashTrieMap()


@dataclass(frozen=True, slots=True)
class CollectionState:
    """The versions and aliases of one artifact name."""

    name: str
    type: str
    description: str
    created_at: str
    versions: HashTrieMap[int, VersionState] = field(default_factory=_no_versions)
    by_digest: HashTrieMap[str, int] = field(default_factory=_no_numbers)  # live versions only
    aliases: HashTrieMap[str, int] = field(default_factory=_no_numbers)
    next_version: int = 0
    protected: HashTrieMap[str, str] = field(default_factory=_no_protections)  # alias → since when
    promoted: HashTrieMap[str, Promoted] = field(default_factory=_no_promotions)
    policy: PolicyText | None = None
    ignored: tuple[str, ...] = ()  # moves of protected aliases beside promotion, in words; the last ones
    tags: tuple[str, ...] = ()  # of the collection itself

    def aliases_of(self, number: int) -> tuple[str, ...]:
        """The aliases that point to version `number`, sorted, ``latest`` first."""
        found = [alias for alias, to in self.aliases.items() if to == number]
        return tuple(sorted(found, key=lambda alias: (alias != "latest", alias)))

    def live(self) -> list[VersionState]:
        """The versions that are not deleted, by number."""
        return sorted((v for v in self.versions.values() if not v.deleted), key=lambda v: v.number)


def _no_collections() -> HashTrieMap[str, CollectionState]:
    return HashTrieMap()


def _no_gatherings() -> HashTrieMap[tuple[str, str], Gathering]:
    return HashTrieMap()


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """What is said of a project as a registry."""

    description: str = ""
    types: tuple[str, ...] = ()  # of artifacts that may be in it; none named: all
    policy: PolicyText | None = None  # holds for each of its collections, beside theirs


@dataclass(frozen=True, slots=True)
class ProjectState:
    """All collections of a project; `newer` names what a newer client wrote that this one does not understand."""

    collections: HashTrieMap[str, CollectionState] = field(default_factory=_no_collections)
    newer: str | None = None
    # By collection and distributed id; the collection need not exist yet.
    gatherings: HashTrieMap[tuple[str, str], Gathering] = field(default_factory=_no_gatherings)
    # Of the collection of garbage: whether the store's log knows this project, and all plans there ever were.
    registered: bool = False
    plans: tuple[str, ...] = ()
    registry: RegistrySettings | None = None  # set for a project that is one


class ProjectFold:
    """The fold as the committer wants it."""

    def apply(self, state: ProjectState, transaction: Transaction) -> ProjectState:
        """The state after `transaction`. Raises: IntegrityError when its facts contradict the state."""
        return apply(state, transaction)


def replay(state: ProjectState, transactions: Iterable[Transaction]) -> ProjectState:
    """The state after all of `transactions`."""
    for transaction in transactions:
        state = apply(state, transaction)
    return state


def apply(state: ProjectState, transaction: Transaction) -> ProjectState:
    """The state after `transaction`. Raises: IntegrityError when its facts contradict the state."""
    if transaction.format > FORMAT:
        return replace(state, newer=f"format {transaction.format} in transaction {transaction.seq}")
    for op in transaction.ops:
        try:
            state = _apply_op(state, op, transaction)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise IntegrityError(
                f"transaction {transaction.seq}: op {str(op)[:200]} is malformed ({error!r})"
            ) from error
    return state


def _apply_op(state: ProjectState, op: Op, transaction: Transaction) -> ProjectState:
    name = op["op"]
    if name in _RECORDED_ONLY:
        return state
    if name == "collection.create":
        _demand(op["collection"] not in state.collections, transaction, op, "the collection exists")
        _demand_name(op["collection"], transaction, op)  # it names folders on whose machine it is downloaded
        made = CollectionState(op["collection"], op["type"], op["description"], time_of(op, transaction))
        return replace(state, collections=state.collections.insert(made.name, made))
    if name in ("artifact.contribute", "artifact.finish"):
        return _gather(state, op, transaction)
    if name == "registry.revise":
        return replace(state, registry=_registry(state.registry or RegistrySettings(), op))
    if name in ("project.create", "gc.condemn"):
        plans = list(map(check_plan_id, op["plans"] if name == "project.create" else [op["plan"]]))
        registered = state.registered or name == "project.create"
        known = (*state.plans, *(plan for plan in plans if plan not in state.plans))
        return replace(state, registered=registered, plans=known)
    change = _CHANGES.get(name)
    if change is None:
        return replace(state, newer=f"op {name!r} in transaction {transaction.seq}")
    collection = state.collections.get(op["collection"])
    if collection is None:
        raise _contradiction(transaction, op, "there is no such collection")
    changed = change(collection, op, transaction)
    return replace(state, collections=state.collections.insert(changed.name, changed))


def _registry(settings: RegistrySettings, op: Op) -> RegistrySettings:
    return RegistrySettings(
        description=str(op.get("description", settings.description)),
        types=tuple(map(str, op.get("types", settings.types))),
        policy=_policy(op) if "policy" in op else settings.policy,
    )


def _policy(op: Op) -> PolicyText | None:
    said = op["policy"]
    return None if said is None else PolicyText(str(said["digest"]), str(said["text"]))


def _set_policy(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    return replace(collection, policy=_policy(op))


def _protect(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    _demand_name(op["alias"], transaction, op)
    if op["protected"]:
        if op["alias"] in collection.protected:  # the one that holds is the one that is ended
            return collection
        since = time_of(op, transaction)
        return replace(collection, protected=collection.protected.insert(op["alias"], since))
    return replace(collection, protected=collection.protected.discard(op["alias"]))


def _promote(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    """A promotion moves its alias, protected or not."""
    alias, last = op["alias"], collection.promoted.get(op["alias"]) or Promoted()
    _demand_name(alias, transaction, op)
    _demand(op["number"] == last.number + 1, transaction, op, f"{last.number} promotions came before it")
    _demand(op["previous"] == last.digest, transaction, op, "it names another promotion as the one before")
    actual = collection.aliases.get(alias)
    _demand(actual == op["from"], transaction, op, f"{alias!r} points to {actual}")
    version = _live(collection, op, transaction, op["to"])
    _demand(version.digest == op["digest"], transaction, op, f"v{version.number} has another content")
    promoted = Promoted(op["number"], promotion_digest(op))
    return replace(
        collection,
        aliases=collection.aliases.insert(alias, version.number),
        promoted=collection.promoted.insert(alias, promoted),
    )


def promotion_digest(op: Op) -> str:
    """The BLAKE3 by which the next promotion names this one, whatever store it was copied to since."""
    said = {key: value for key, value in op.items() if key not in ("origin", "at", "by")}
    return digest_of(canonical_json(said)).hex()


def _describe(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    return replace(collection, description=op["description"], tags=tuple(op.get("tags", collection.tags)))


def _create(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    number = op["version"]
    left_out = collection.versions.get(number)
    if left_out is None or not left_out.absent:
        expected = f"expected number {collection.next_version}"
        _demand(number == collection.next_version, transaction, op, expected)
    created_at = time_of(op, transaction)
    version = VersionState(
        number=number,
        digest=op["digest"],
        size_bytes=op["size_bytes"],
        file_count=op["file_count"],
        reference_count=op["reference_count"],
        metadata=op["metadata"],
        description=op["description"],
        tags=tuple(op["tags"]),
        run=op["run"],
        created_at=created_at,
        packs=tuple(op.get("packs", ())),
        meta_packs=tuple(op.get("meta_packs", ())),
        packs_object=op.get("packs_object"),
        ttl_s=op.get("ttl_s"),
        step=op.get("step"),
        source=op.get("source"),
        updated_at=created_at,
        index=op.get("index"),
    )
    return replace(
        collection,
        versions=collection.versions.insert(number, version),
        by_digest=collection.by_digest.insert(version.digest, number),
        next_version=max(number + 1, collection.next_version),
    )


def _leave_out(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    """Keep a number for a version that was not copied with its collection, so that those after it have theirs."""
    number = op["version"]
    _demand(number == collection.next_version, transaction, op, f"expected number {collection.next_version}")
    version = VersionState(
        number=number,
        digest=op["digest"],
        size_bytes=0,
        file_count=0,
        reference_count=0,
        metadata={},
        description="",
        tags=(),
        run=None,
        created_at=time_of(op, transaction),
        packs=(),
        meta_packs=(),
        packs_object=None,
        deleted=True,
        absent=True,
    )
    return replace(collection, versions=collection.versions.insert(number, version), next_version=number + 1)


def _live(collection: CollectionState, op: Op, transaction: Transaction, number: int) -> VersionState:
    version = collection.versions.get(number)
    if version is None or version.deleted:
        raise _contradiction(transaction, op, f"v{number} is not a live version")
    return version


def _revise(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    version = _live(collection, op, transaction, op["version"])
    changed = replace(
        version,
        metadata=op.get("metadata", version.metadata),
        description=op.get("description", version.description),
        tags=tuple(op.get("tags", version.tags)),
        ttl_s=op.get("ttl_s", version.ttl_s),
        updated_at=time_of(op, transaction),
    )
    return replace(collection, versions=collection.versions.insert(version.number, changed))


def _delete(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    version = _live(collection, op, transaction, op["version"])
    pointing = collection.aliases_of(version.number)
    _demand(not pointing, transaction, op, f"aliases {list(pointing)} still point to it")
    by_digest = collection.by_digest
    if by_digest.get(version.digest) == version.number:
        by_digest = by_digest.remove(version.digest)
    return replace(
        collection,
        versions=collection.versions.insert(version.number, replace(version, deleted=True)),
        by_digest=by_digest,
    )


def _restore(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    version = collection.versions.get(op["version"])
    if version is None or not version.deleted:
        raise _contradiction(transaction, op, f"v{op['version']} is not a deleted version")
    _demand(version.digest not in collection.by_digest, transaction, op, "another version has its content")
    restored = replace(version, deleted=False)
    if "meta_packs" in op:  # from another store: its content lies elsewhere now
        restored = replace(
            restored,
            packs=tuple(op["packs"]),
            meta_packs=tuple(op["meta_packs"]),
            packs_object=op.get("packs_object"),
            index=op.get("index"),
        )
    return replace(
        collection,
        versions=collection.versions.insert(version.number, restored),
        by_digest=collection.by_digest.insert(version.digest, version.number),
    )


def _move_alias(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    alias, target = op["alias"], op["to"]
    _demand_name(alias, transaction, op)
    if alias in collection.protected:
        goal = "nothing" if target is None else f"v{int(target)}"
        actor = actor_of(op, transaction)
        who = f"{actor.get('user') or '?'}@{actor.get('host') or '?'}"
        said = f"transaction {transaction.seq}: {alias} → {goal} by {who}, without a promotion"
        return replace(collection, ignored=(*collection.ignored, said)[-_IGNORED_KEPT:])
    actual = collection.aliases.get(alias)
    _demand(actual == op["from"], transaction, op, f"{alias!r} points to {actual}")
    if target is None:
        return replace(collection, aliases=collection.aliases.discard(alias))
    _live(collection, op, transaction, target)
    return replace(collection, aliases=collection.aliases.insert(alias, target))


def _link(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    """A link was made elsewhere, or removed. The version may be deleted: it was when the link was made."""
    version, target = collection.versions.get(op["version"]), op["target"]
    if version is None:
        raise _contradiction(transaction, op, f"there is no v{op['version']}")
    others = tuple(link for link in version.links if link != target)
    links = (*others, target) if op["op"] == "version.link" else others
    return replace(
        collection, versions=collection.versions.insert(version.number, replace(version, links=links))
    )


def _attest(collection: CollectionState, op: Op, transaction: Transaction) -> CollectionState:
    """It changes nothing. The version may be deleted; what was signed, and by whom, is for those who have keys."""
    known = type(op["version"]) is int and op["version"] in collection.versions
    _demand(known and isinstance(op["kind"], str), transaction, op, "it is about no version")
    return collection


def _gather(state: ProjectState, op: Op, transaction: Transaction) -> ProjectState:
    key = op["collection"], op["distributed_id"]
    found = state.gatherings.get(key) or Gathering()
    if op["op"] == "artifact.contribute":
        changed = replace(found, waiting=(*found.waiting, _contribution(op)))
    else:
        count = op["count"]
        _demand(0 < count <= len(found.waiting), transaction, op, f"{len(found.waiting)} contributions wait")
        changed = Gathering(found.waiting[count:], op["version"])
    return replace(state, gatherings=state.gatherings.insert(key, changed))


def _contribution(op: Op) -> Contribution:
    return Contribution(
        type=op["type"],
        run=op["run"],
        writer=op["writer"],
        digest=op["digest"],
        packs=tuple(op.get("packs", ())),
        meta_packs=tuple(op["meta_packs"]),
        packs_object=op.get("packs_object"),
        metadata=op["metadata"],
        description=op["description"],
        aliases=tuple(op["aliases"]),
        tags=tuple(op["tags"]),
    )


_CHANGES = {
    "collection.revise": _describe,
    "version.create": _create,
    "version.absent": _leave_out,
    "version.revise": _revise,
    "version.delete": _delete,
    "version.restore": _restore,
    "version.link": _link,
    "version.unlink": _link,
    "alias.move": _move_alias,
    "alias.protect": _protect,
    "alias.promote": _promote,
    "collection.policy": _set_policy,
    "attestation.add": _attest,
}


def _demand(holds: bool, transaction: Transaction, op: Op, expected: str) -> None:
    if not holds:
        raise _contradiction(transaction, op, expected)


def _demand_name(name: object, transaction: Transaction, op: Op) -> None:
    try:
        check_name(name, "name")
    except InvalidNameError as error:
        raise IntegrityError(f"transaction {transaction.seq}: op {op['op']}: {str(error)[:200]}") from error


def _contradiction(transaction: Transaction, op: Op, reason: str) -> IntegrityError:
    return IntegrityError(
        f"transaction {transaction.seq}: op {op['op']} of {op.get('collection')!r}: {reason}"
    )
