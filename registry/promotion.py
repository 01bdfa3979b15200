"""Deciding a promotion: which policies hold, what their clauses come to, whose approval counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..artifacts.protection import Judged, Kind
from ..artifacts.state import CollectionState, PolicyText, ProjectState
from ..lineage import Catalog
from ..storage.errors import UsageError
from .facts import Facts
from .judging import judge
from .policy import Policy, Rule, read_policy

REGISTRY, MODEL, FILE = "registry", "model", "file"


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy that holds for a decision, and who says so: the registry, the model, or the file that was given."""

    of: str
    policy: Policy

    def record(self) -> dict[str, str]:
        """As it stands in the log: in full, so that the decision can be checked for ever."""
        return {"of": self.of, "digest": self.policy.source.digest, "text": self.policy.source.text}


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's yes to the move of an alias to a version."""

    id: str
    by: str  # the user, or the name of the trusted key that signed it
    user: str  # as the log has it, which anybody can write
    time: str
    comment: str
    envelope: Mapping[str, object] | None
    position: int


def policies_for(state: ProjectState, collection: CollectionState, given: Policy | None) -> list[Applied]:
    """The policies of the registry and of the model; `given` stands in for that of a model which has none.

    Raises: UsageError when `given` is another one than the model's, which would be a way around it.
    """
    found = []
    if state.registry is not None and state.registry.policy is not None:
        found.append(Applied(REGISTRY, _recorded(state.registry.policy, "the registry")))
    if collection.policy is not None:
        if given is not None and given.source.digest != collection.policy.digest:
            raise UsageError(
                f"policy {given.source.digest[:12]} is not the one of {collection.name!r},"
                f" {collection.policy.digest[:12]}; leave --policy out, or set it first:"
                f' "art registry policy set FILE {collection.name}"'
            )
        found.append(Applied(MODEL, _recorded(collection.policy, collection.name)))
    elif given is not None:
        found.append(Applied(FILE, given))
    return found


def _recorded(text: PolicyText, of: str) -> Policy:
    return read_policy(text.text, f"of {of}")


def rules_of(policies: Sequence[Applied], alias: str, kind: Kind) -> list[Rule]:
    """The clauses of all of `policies` that concern the move of an alias."""
    return [rule for applied in policies for rule in applied.policy.rules(alias, kind)]


def judged(rules: Sequence[Rule], facts: Facts) -> list[Judged]:
    """The verdict on each clause. Raises: CommError, IntegrityError while facts are looked up."""
    return [judge(rule.text, rule.tree, facts, rule.because) for rule in rules]


def approvals_of(catalog: Catalog, project: str, collection: str, number: int, alias: str) -> list[Approval]:
    """The approvals of a version for an alias that no promotion has used up yet, oldest first."""
    version_id = f"{project}/{collection}:v{number}"
    return [
        Approval(id, by or "?", by or "?", time, comment or "", envelope, position)
        for id, by, time, comment, envelope, position in catalog.rows(
            "SELECT id, user_name, strftime(time, '%Y-%m-%dT%H:%M:%S.%fZ'), comment, envelope, position FROM approvals"
            " WHERE version_id = $1 AND alias = $2 AND position > coalesce((SELECT max(position) FROM promotions"
            " WHERE verdict = 'pass' AND version_id = $1 AND alias = $2), -1) ORDER BY position",
            [version_id, alias],
        )
    ]


def approvers(approvals: Sequence[Approval], author: str | None) -> dict[str, str]:
    """Who approves, each once, with the id of the approval; the author's own does not count, by whatever key."""
    found: dict[str, str] = {}
    for approval in approvals:
        if author not in (approval.by, approval.user):
            found.setdefault(approval.by, approval.id)
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """A promotion or a rollback of an alias that was carried out."""

    kind: Kind
    to: int


def history_of(catalog: Catalog, project: str, collection: str, alias: str) -> list[Step]:
    """All moves of an alias by promotion, as the log says them, oldest first."""
    return [
        Step(kind, to)
        for kind, to in catalog.rows(
            "SELECT kind, to_version FROM promotions WHERE project = ? AND collection = ? AND alias = ?"
            " AND verdict = 'pass' ORDER BY number",
            [project, collection, alias],
        )
    ]


def version_before(history: Sequence[Step], now: int | None, is_there: Callable[[int], bool]) -> int | None:
    """Where a rollback leads: to what was in place before the present version, without what was rolled back from.

    >>> history = [Step("promote", 0), Step("promote", 1), Step("promote", 2), Step("rollback", 1)]
    >>> version_before(history, 1, lambda number: True)
    0
    """
    stack: list[int] = []
    for step in history:
        if step.kind == "rollback" and step.to in stack:
            while stack[-1] != step.to:
                stack.pop()
        else:
            stack.append(step.to)
    return next((number for number in reversed(stack) if number != now and is_there(number)), None)
