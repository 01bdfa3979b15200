"""Promotion, approval and rollback in a workspace: facts are gathered, clauses judged, the decision is committed.

What counts is compared once more when it is committed: of two who promote the same alias at once one wins, and the
other is told.
"""

from __future__ import annotations

import contextlib
import datetime
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..artifacts.decisions import LATEST, find_collection
from ..artifacts.names import ArtifactName, ProjectName, check_alias
from ..artifacts.protection import (
    Judged,
    Kind,
    Promotion,
    Verdict,
    decide_approval,
    decide_promotion,
    decide_protection,
    find_promoted,
)
from ..artifacts.references import References
from ..artifacts.state import CollectionState, ProjectState, Promoted
from ..artifacts.version import Version
from ..lineage import Catalog
from ..registry.facts import Facts, Signed, Subject, Surroundings
from ..registry.policy import Policy
from ..registry.promotion import (
    Applied,
    Step,
    approvals_of,
    approvers,
    history_of,
    judged,
    policies_for,
    rules_of,
    version_before,
)
from ..storage.actor import this_actor, utc_now
from ..storage.errors import CommError, ConflictError, NotFoundError, UsageError
from ..storage.transaction import Op
from .artifact_reading import reference_options
from .links import link_version, name_of_link
from .pen import Pen
from .workspace import Workspace


@dataclass(frozen=True, slots=True)
class Decision:
    """What a promotion or rollback came to. True when the alias points to the version (or would, when only tried)."""

    name: str  # of the version, in full
    alias: str
    kind: Kind
    before: str | None  # "v7"; None: the alias pointed nowhere
    after: str
    verdict: Verdict
    clauses: Sequence[Judged]
    policies: Sequence[Applied]
    approvals: Sequence[str]
    number: int | None  # of the promotion; None when nothing was promoted
    is_recorded: bool  # False: only tried, or the alias pointed there already

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "alias": self.alias,
            "kind": self.kind,
            "from": self.before,
            "to": self.after,
            "verdict": self.verdict,
            "clauses": [clause.record() for clause in self.clauses],
            "policies": [
                {"of": applied.of, "digest": applied.policy.source.digest} for applied in self.policies
            ],
            "approvals": list(self.approvals),
            "number": self.number,
            "recorded": self.is_recorded,
        }


@dataclass(frozen=True, slots=True)
class Wish:
    """A promotion or rollback as it was asked for."""

    alias: str
    kind: Kind = "promote"
    policy: Policy | None = None
    reason: str = ""
    expect: tuple[int | None] | None = (
        None  # the version that the alias must point to now (None in it: nowhere)
    )
    is_tried: bool = False  # judge, and change nothing


def promote(
    workspace: Workspace, name: ArtifactName | str, wish: Wish, *, target: str | None = None
) -> Decision:
    """Move an alias to a version, when all clauses of its policies pass; a refusal is recorded, too.

    With `target`, ``[[entity/]project/]model``, the version is linked there first, unless it is only tried.
    Raises: NotFoundError; ConflictError when the alias was moved meanwhile, or is not where `expect` says; UsageError
    for a policy that is not the model's own; CommError.
    """
    version = workspace.version(name)
    if target is None:
        return _decide(workspace, version, version.name, wish)
    wanted = name_of_link(workspace, version.name, target)
    _Place.of(workspace, wanted, version.type, wish)  # what cannot be decided makes no link
    if wish.is_tried:
        return _decide(workspace, version, wanted, wish)
    link = link_version(workspace, version.name, target)
    return _decide(workspace, link, link.name, wish)


def rollback(workspace: Workspace, name: ArtifactName, wish: Wish, *, to: int | None = None) -> Decision:
    """Move an alias back to the version that was in place before, or to `to`; its bytes are read and checked first.

    Only a version that was promoted there already: with trusted keys, by one of them.
    Raises: as `promote`; IntegrityError when a byte of the version is not what was recorded, ReferenceChangedError or
    NotFoundError when a place outside holds something else.
    """
    state = workspace.project(name.project).state()
    collection = state.collections.get(name.collection)
    if collection is None:
        workspace.version(name)  # says that it is not there, with the nearest names
        raise NotFoundError(f"artifact {name.collection!r} does not exist")
    find_promoted(collection, wish.alias)
    history = _history(workspace, name, wish.alias)
    if to is None:
        now = workspace.believed(replace(name, reference=wish.alias), collection)
        to = version_before(history, now, lambda number: _is_live(collection, number))
        if to is None:
            raise NotFoundError(
                f"alias {collection.name}:{wish.alias} was promoted to no other version that is still there;"
                f' "art promote {collection.name}:vN --to {wish.alias}" promotes one'
            )
    version = workspace.version(replace(name, reference=f"v{to}"))
    if to not in (step.to for step in history):
        raise UsageError(
            f"v{to} of {collection.name!r} was never promoted to {wish.alias!r}, so there is no way back to it;"
            f' "art promote {collection.name}:v{to} --to {wish.alias}" judges it by the policy'
        )
    for error in version.verify_stored():
        raise error
    references = References(reference_options())
    for entry in version.manifest.values():
        if entry.kind == "reference":
            references.check(entry)
    return _decide(workspace, version, version.name, replace(wish, kind="rollback"))


def _is_live(collection: CollectionState, number: int) -> bool:
    version = collection.versions.get(number)
    return version is not None and not version.deleted


def _history(workspace: Workspace, name: ArtifactName, alias: str) -> Sequence[Step]:
    """The moves of an alias by promotion; with trusted keys those that one of them stands for."""
    audit = workspace.audit(name.project)
    if audit is not None:
        found = audit.targets.get((name.collection, alias))
        return [] if found is None else found.history
    catalog = workspace.catalog([name.project])
    try:
        return history_of(catalog, str(name.project), name.collection, alias)
    finally:
        catalog.close()


@dataclass(frozen=True, slots=True)
class _Place:
    """An alias that is to move: the collection that it is of, where it points, and what has to hold."""

    collection: CollectionState
    incumbent: int | None
    policies: Sequence[Applied]

    @classmethod
    def of(cls, workspace: Workspace, name: ArtifactName, type: str, wish: Wish) -> _Place:
        """Raises: InvalidNameError, ConflictError, UsageError for what is not to be decided at all."""
        if check_alias(wish.alias) == LATEST:
            raise UsageError(
                f"alias {LATEST!r} follows the newest logging and cannot be promoted; choose another"
            )
        state = workspace.project(name.project).state()
        collection = state.collections.get(name.collection)
        if collection is None:
            collection = CollectionState(name.collection, type, "", "")
        incumbent = collection.aliases.get(wish.alias)
        if wish.expect is not None and wish.expect[0] != incumbent:
            wanted, found = (_label(number) or "nothing" for number in (wish.expect[0], incumbent))
            raise ConflictError(
                f"alias {collection.name}:{wish.alias} points to {found}, expected {wanted}; look again and decide"
            )
        return cls(collection, incumbent, policies_for(state, collection, wish.policy))


def _is_done(workspace: Workspace, name: ArtifactName, place: _Place, wish: Wish) -> bool:
    """Whether it was this version that the alias was promoted to last, so that there is nothing to decide."""
    if (
        wish.is_tried
        or _label(place.incumbent) != name.reference
        or wish.alias not in place.collection.protected
    ):
        return False
    history = _history(workspace, name, wish.alias)
    return bool(history) and history[-1].to == place.incumbent


def _decide(workspace: Workspace, version: Version, name: ArtifactName, wish: Wish) -> Decision:
    """`name` is what the alias is to point to: the version's own or, of a link that is not made, the link's."""
    place = _Place.of(workspace, name, version.type, wish)
    collection, incumbent, policies = place.collection, place.incumbent, place.policies
    pen = Pen(workspace, name.project)
    again = pen.must_promote_again(name, wish.alias, incumbent)
    if not again and _is_done(workspace, name, place, wish):
        return _decision(name, wish, place, "pass", (), (), ())
    rules = rules_of(policies, wish.alias, wish.kind)
    clauses: list[Judged] = []
    counted: dict[str, str] = {}
    if rules:
        catalog = workspace.catalog()
        try:
            facts, counted = _facts(workspace, catalog, version, name, wish.alias, incumbent, pen)
            clauses = judged(rules, facts)
        finally:
            catalog.close()
    promotion = Promotion(
        name=name,
        alias=wish.alias,
        incumbent=incumbent,
        last=collection.promoted.get(wish.alias) or Promoted(),
        kind=wish.kind,
        reason=wish.reason,
        policies=[applied.record() for applied in policies],
        clauses=clauses,
        approvals=sorted(counted.values()),
        time=utc_now(),
        again=again,
    )
    if not wish.is_tried and promotion.verdict == "pass":
        pen.sign_version(version)

    def decide(state: ProjectState) -> Sequence[Op]:
        now = policies_for(state, find_collection(state, version.collection), wish.policy)
        if [applied.record() for applied in now] != promotion.policies:
            raise ConflictError(
                f"the policy of {version.collection!r} was changed meanwhile; look again and decide"
            )
        if counted and not set(counted.values()) <= _open_approvals(workspace, version, wish.alias):
            raise ConflictError(
                f"an approval of {version.name.short} was taken back meanwhile; look again and decide"
            )
        return pen.with_result(version, decide_promotion(state, promotion, pen.sign))

    ops = [] if wish.is_tried else _commit(workspace, version.project, decide)
    return _decision(name, wish, place, promotion.verdict, clauses, promotion.approvals, ops)


def _decision(
    name: ArtifactName,
    wish: Wish,
    place: _Place,
    verdict: Verdict,
    clauses: Sequence[Judged],
    approvals: Sequence[str],
    ops: Sequence[Op],
) -> Decision:
    return Decision(
        name=str(name),
        alias=wish.alias,
        kind=wish.kind,
        before=_label(place.incumbent),
        after=name.reference,
        verdict=verdict,
        clauses=clauses,
        policies=place.policies,
        approvals=approvals,
        number=next((op["number"] for op in ops if op["op"] == "alias.promote"), None),
        is_recorded=bool(ops),
    )


def _open_approvals(workspace: Workspace, version: Version, alias: str) -> set[str]:
    """The ids of the approvals that hold now."""
    catalog = workspace.catalog([version.project])
    try:
        found = approvals_of(catalog, str(version.project), version.collection, version.state.number, alias)
    finally:
        catalog.close()
    return {approval.id for approval in found}


def _facts(
    workspace: Workspace,
    catalog: Catalog,
    version: Version,
    name: ArtifactName,
    alias: str,
    incumbent: int | None,
    pen: Pen,
) -> tuple[Facts, dict[str, str]]:
    around = _surroundings(workspace, catalog)
    candidate = _subject(workspace, around, version)
    number = int(name.reference[1:])
    found = approvals_of(catalog, str(name.project), name.collection, number, alias)
    counted = approvers(pen.believed(found), candidate.author)
    in_place = None
    if incumbent is not None:
        # With trusted keys not what somebody has forged there: a bad version would lower the bar.
        reference = f"v{incumbent}" if workspace.trusted is None else alias
        with contextlib.suppress(NotFoundError):  # no trusted key has promoted one
            in_place = _subject(workspace, around, workspace.version(replace(name, reference=reference)))
    source = workspace.parse(str(candidate.source))
    return Facts(
        around, candidate, in_place, Signed(counted, lambda: pen.signers(version.name, source))
    ), counted


def _surroundings(workspace: Workspace, catalog: Catalog) -> Surroundings:
    return Surroundings(
        catalog,
        lambda name, home: workspace.version(ArtifactName.parse(name, home.project)),
        References(reference_options()),
        datetime.datetime.now(datetime.UTC),
    )


def _subject(workspace: Workspace, around: Surroundings, version: Version) -> Subject:
    source = version
    if version.state.source is not None:
        source = workspace.version(workspace.parse(version.state.source), deleted_too=True)
    collection = workspace.state(version.project).collections[version.collection]
    return Subject(around, version, source, collection.aliases_of(version.state.number))


def approve(workspace: Workspace, name: ArtifactName | str, alias: str, comment: str = "") -> str:
    """Approve that `alias` moves to a version; the approval's id. It is used up by the promotion.

    Raises: NotFoundError, InvalidNameError, CommError.
    """
    version = workspace.version(name)
    id, now, pen = uuid.uuid4().hex, utc_now(), Pen(workspace, version.project)
    _commit(
        workspace,
        version.project,
        lambda state: decide_approval(state, version.name, alias, id, comment, time=now, sign=pen.sign),
    )
    return id


def author_of(workspace: Workspace, version: Version) -> str | None:
    """The user who made a version, of a link its source: their own approval does not count."""
    catalog = workspace.catalog()
    try:
        return _subject(workspace, _surroundings(workspace, catalog), version).author
    finally:
        catalog.close()


def revoke_approvals(workspace: Workspace, name: ArtifactName | str, alias: str) -> int:
    """Take back one's own approvals of a version that no promotion has used up; how many there were.

    Raises: NotFoundError, CommError.
    """
    version = workspace.version(name)
    catalog = workspace.catalog([version.project])
    try:
        found = approvals_of(catalog, str(version.project), version.collection, version.state.number, alias)
    finally:
        catalog.close()
    mine = [approval for approval in found if approval.by == this_actor()["user"]]
    where = {"collection": version.collection, "version": version.state.number, "alias": alias}
    ops: list[Mapping[str, Any]] = [{"op": "approval.revoke", **where, "id": own.id} for own in mine]
    if ops:
        _commit(workspace, version.project, lambda state: ops)
    return len(mine)


def protect(
    workspace: Workspace, name: ArtifactName, alias: str, *, protected: bool = True, reason: str = ""
) -> bool:
    """Protect an alias of a collection, or end that; whether anything changed. Raises: NotFoundError, UsageError."""
    now, pen = utc_now(), Pen(workspace, name.project)

    def decide(state: ProjectState) -> Sequence[Op]:
        return decide_protection(
            state, name.collection, alias, protected=protected, reason=reason, time=now, sign=pen.sign
        )

    return bool(_commit(workspace, name.project, decide))


def _commit(
    workspace: Workspace, project: ProjectName, decide: Callable[[ProjectState], Sequence[Op]]
) -> Sequence[Op]:
    """Commit what is decided about an alias: to the store, never into an outbox, where others would not see it."""

    def decide_there(state: ProjectState) -> Sequence[Op]:
        if workspace.store.is_offline:
            raise CommError(f"store {workspace.store.url} does not answer; aliases are promoted when it does")
        return decide(state)

    return workspace.project(project).commit(decide_there)


def _label(number: int | None) -> str | None:
    return None if number is None else f"v{number}"
