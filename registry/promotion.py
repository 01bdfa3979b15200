"""Deciding a promotion: which policies hold, what their clauses come to, whose approval counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..artifacts.protection import Judged, Kind
from ..artifacts.state import CollectionState, PolicyText, ProjectState
from ..lineage import Catalog
from ..storage.errors import NotFoundError, UsageError
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
        Approval(id, by or "?", time, comment or "", envelope, position)
        for id, by, time, comment, envelope, position in catalog.rows(
            "SELECT id, user_name, strftime(time, '%Y-%m-%dT%H:%M:%S.%fZ'), comment, envelope, position FROM approvals"
            " WHERE version_id = $1 AND alias = $2 AND position > coalesce((SELECT max(position) FROM promotions"
            " WHERE verdict = 'pass' AND version_id = $1 AND alias = $2), -1) ORDER BY position",
            [version_id, alias],
        )
    ]


def approvers(approvals: Sequence[Approval], author: str | None) -> dict[str, str]:
    """Who approves, each once, with the id of the approval; the author's own does not count."""
    found: dict[str, str] = {}
    for approval in approvals:
        if approval.by != author:
            found.setdefault(approval.by, approval.id)
    return found


def promoted_before(catalog: Catalog, project: str, collection: CollectionState, alias: str) -> int:
    """The version that an alias was promoted to before the present one. Raises: NotFoundError when there is none."""
    now = collection.aliases.get(alias)
    for (number,) in catalog.rows(
        "SELECT to_version FROM promotions WHERE project = ? AND collection = ? AND alias = ? AND verdict = 'pass'"
        " ORDER BY number DESC",
        [project, collection.name, alias],
    ):
        version = collection.versions.get(number)
        if number != now and version is not None and not version.deleted:
            return int(number)
    raise NotFoundError(
        f"alias {collection.name}:{alias} was promoted to no other version that is still there;"
        " name one with --to"
    )
