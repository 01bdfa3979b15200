"""What may be committed about protected aliases, registries and policies: pure, as `decisions`.

A protected alias moves by promotion only. A promotion is one op: it moves the alias and says by which policies, with
which values and by whose approval. Promotions of an alias are numbered and each names the digest of the one before,
so that none can be left out, told twice or told of another moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..storage.digest import digest_of
from ..storage.errors import ConflictError, NotFoundError, UsageError
from ..storage.transaction import Op
from .decisions import LATEST, demand_allowed, find_collection, find_version
from .names import ArtifactName, check_alias, check_name, nearest
from .state import CollectionState, PolicyText, ProjectState, Promoted

MAX_POLICY_BYTES = 64 * 1024
Verdict = Literal["pass", "fail", "undecided"]
Kind = Literal["promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One clause of a policy, as it was judged."""

    clause: str
    verdict: Verdict
    values: str  # the facts in it with their values, in words
    because: str = ""  # what the policy says of it

    def record(self) -> dict[str, str]:
        """As it stands in the log."""
        return {
            "clause": self.clause,
            "verdict": self.verdict,
            "values": self.values,
            "because": self.because,
        }


@dataclass(frozen=True, slots=True)
class Promotion:
    """The wish to move `alias` to the version `name`, judged when it pointed to `incumbent`."""

    name: ArtifactName  # with its number
    alias: str
    incumbent: int | None
    last: Promoted  # the last promotion that the judgement knew
    kind: Kind = "promote"
    reason: str = ""
    policies: Sequence[Mapping[str, str]] = ()  # of, digest, text
    clauses: Sequence[Judged] = ()
    approvals: Sequence[str] = field(default=())  # the ids of those that were counted
    time: str = ""  # when it was judged
    again: bool = False  # also when the alias points there: the promotion that moved it there is not signed

    @property
    def verdict(self) -> Verdict:
        """The worst of the clauses'; a failure is worse than what could not be decided."""
        return verdict_of(self.clauses)


def verdict_of(clauses: Sequence[Judged]) -> Verdict:
    """The verdict on all of `clauses`; on none it is ``pass``."""
    found = {clause.verdict for clause in clauses}
    return "fail" if "fail" in found else "undecided" if "undecided" in found else "pass"


def policy_text(text: str) -> PolicyText:
    """A policy with its digest. Raises: UsageError when it is too long."""
    data = text.encode()
    if len(data) > MAX_POLICY_BYTES:
        raise UsageError(f"policy of {len(data):,} bytes: at most {MAX_POLICY_BYTES:,} are allowed")
    return PolicyText(digest_of(data).hex(), text)


Sign = Callable[[Op], Mapping[str, Any] | None]


def _signed(op: Op, sign: Sign | None) -> Op:
    envelope = None if sign is None else sign(op)
    return op if envelope is None else {**op, "envelope": dict(envelope)}


def decide_protection(
    state: ProjectState,
    collection_name: str,
    alias: str,
    *,
    protected: bool,
    reason: str = "",
    time: str = "",
    sign: Sign | None = None,
) -> list[Op]:
    """Ops that protect an alias, or end that; none when it is so already.

    `time` is when it was decided; `sign` makes an envelope over the op.
    Raises: NotFoundError; UsageError for ``latest``, which follows the newest logging; InvalidNameError.
    """
    collection = find_collection(state, collection_name)
    if check_alias(alias) == LATEST:
        raise UsageError("alias 'latest' follows the newest logging and cannot be protected")
    if (alias in collection.protected) is protected:
        return []
    op = {
        "op": "alias.protect",
        "collection": collection.name,
        "alias": alias,
        "protected": protected,
        "reason": reason,
        "said_at": time,
    }
    if not protected:
        op["since"] = collection.protected[alias]  # which protection ends: an old word cannot be said again
    return [_signed(op, sign)]


def decide_description(
    state: ProjectState, name: str, *, description: str | None = None, tags: Sequence[str] | None = None
) -> list[Op]:
    """The op that says what a collection is for; none when all is said already, None leaves as it is.

    Raises: NotFoundError; InvalidNameError for a tag.
    """
    found = find_collection(state, name)
    said = found.description if description is None else description
    chosen = list(found.tags) if tags is None else sorted({check_name(tag, "tag") for tag in tags})
    if (said, chosen) == (found.description, list(found.tags)):
        return []
    return [{"op": "collection.revise", "collection": name, "description": said, "tags": chosen}]


def decide_registered(
    state: ProjectState,
    name: str,
    type: str,
    *,
    description: str = "",
    protect: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> list[Op]:
    """Ops that make an empty collection for what is to be linked, with protected aliases; what exists stays.

    Raises: UsageError for one of another type, or a type that the registry does not allow; InvalidNameError.
    """
    check_name(name, "artifact name")
    check_name(type, "type")
    demand_allowed(state, name, type)
    ops: list[Op] = []
    found = state.collections.get(name)
    if found is None:
        ops.append({"op": "collection.create", "collection": name, "type": type, "description": description})
    elif found.type != type:
        raise UsageError(f"artifact {name!r} has type {found.type!r}, not {type!r}; choose another name")
    if tags or (found is not None and description):
        made = found or CollectionState(name, type, description, "")
        there = replace(state, collections=state.collections.insert(name, made))
        ops += decide_description(there, name, description=description or None, tags=tags or None)
    for alias in dict.fromkeys(map(check_alias, protect)):
        if alias == LATEST:
            raise UsageError("alias 'latest' follows the newest logging and cannot be protected")
        if found is None or alias not in found.protected:
            where = {"collection": name, "alias": alias}
            ops.append({"op": "alias.protect", **where, "protected": True, "reason": ""})
    return ops


def decide_registry(
    state: ProjectState,
    *,
    description: str | None = None,
    types: Sequence[str] | None = None,
) -> list[Op]:
    """Ops that make a project a registry, or change what is said of it.

    Raises: UsageError when collections that it has are of none of `types`; InvalidNameError.
    """
    now = state.registry
    changes: dict[str, Any] = {}
    if now is None or (description is not None and description != now.description):
        changes["description"] = description or ""
    if types is not None:
        wanted = sorted({check_name(type, "type") for type in types})
        others = sorted(c.name for c in state.collections.values() if wanted and c.type not in wanted)
        if others:
            raise UsageError(f"types {', '.join(wanted)}: {', '.join(others[:5])} are here, of another type")
        if now is None or tuple(wanted) != now.types:
            changes["types"] = wanted
    return [{"op": "registry.revise", **changes}] if changes else []


def decide_policy(state: ProjectState, collection_name: str | None, policy: PolicyText | None) -> list[Op]:
    """Ops that set the policy of a collection, or (None) of all of the registry; None for `policy` takes it off.

    Raises: NotFoundError.
    """
    said = None if policy is None else {"digest": policy.digest, "text": policy.text}
    if collection_name is None:
        now = None if state.registry is None else state.registry.policy
        return [] if now == policy else [{"op": "registry.revise", "policy": said}]
    collection = find_collection(state, collection_name)
    if collection.policy == policy:
        return []
    return [{"op": "collection.policy", "collection": collection.name, "policy": said}]


def decide_promotion(state: ProjectState, wish: Promotion, sign: Sign | None = None) -> list[Op]:
    """The op that promotes, or, when its verdict is not ``pass``, the one that records the refusal.

    `sign` makes an envelope over the op. None when the alias points there already by a promotion.
    Raises: NotFoundError; ConflictError when the alias was promoted or moved since it was judged.
    """
    check_alias(wish.alias)
    version = find_version(state, wish.name)
    collection = state.collections[wish.name.collection]
    last = collection.promoted.get(wish.alias) or Promoted()
    actual = collection.aliases.get(wish.alias)
    common: dict[str, Any] = {
        "collection": collection.name,
        "alias": wish.alias,
        "from": actual,
        "to": version.number,
        "digest": version.digest,
        "kind": wish.kind,
        "reason": wish.reason,
        "policies": [dict(policy) for policy in wish.policies],
        "verdict": wish.verdict,
        "clauses": [clause.record() for clause in wish.clauses],
        "approvals": list(wish.approvals),
        "said_at": wish.time,
    }
    if wish.verdict != "pass":
        return [{"op": "promotion.refuse", **common}]
    if last != wish.last or actual != wish.incumbent:
        found = "nothing" if actual is None else f"v{actual}"
        judged = "nothing" if wish.incumbent is None else f"v{wish.incumbent}"
        raise ConflictError(
            f"alias {collection.name}:{wish.alias} was moved meanwhile: it points to {found} (promotion {last.number}),"
            f" and was judged against {judged} (promotion {wish.last.number}); look again and decide"
        )
    is_promoted = last.number > 0 or wish.alias not in collection.protected
    if actual == version.number and is_promoted and not wish.again:
        return []
    op: Op = {"op": "alias.promote", **common, "number": last.number + 1, "previous": last.digest}
    return [_signed(op, sign)]


def decide_approval(
    state: ProjectState,
    name: ArtifactName,
    alias: str,
    id: str,
    comment: str = "",
    *,
    time: str = "",
    sign: Sign | None = None,
) -> list[Op]:
    """The op by which its actor approves that `alias` moves to the version. Raises: NotFoundError; UsageError."""
    version = find_version(state, name)
    op: dict[str, Any] = {
        "op": "approval.give",
        "collection": name.collection,
        "version": version.number,
        "digest": version.digest,
        "alias": check_alias(alias),
        "id": id,
        "comment": comment,
        "said_at": time,
    }
    return [_signed(op, sign)]


def find_promoted(collection: CollectionState, alias: str) -> int:
    """The number that `alias` points to. Raises: NotFoundError."""
    number = collection.aliases.get(alias)
    if number is None:
        raise NotFoundError(
            f"artifact {collection.name!r} has no alias {alias!r}{nearest(alias, collection.aliases)}"
        )
    return number
