"""Proving what a registry's log says of its aliases: the log itself, then each promotion, approval and protection.

All from the log's first transaction on and offline; caches, checkpoints and the catalog are not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..artifacts.log_check import check_log
from ..artifacts.names import ArtifactName, ProjectName, parse_version
from ..registry.audit import Audit, Finding
from ..registry.policy import Policy
from ..registry.signing import Step, TrustedKeys
from ..registry.signing.log_facts import LogFacts
from ..storage.errors import IntegrityError
from ..storage.inventory import Inventory
from ..storage.log import Position
from ..storage.store import Store, project_prefix
from ..storage.transaction import Op, Transaction
from .store_verification import directly
from .workspace import Workspace


@dataclass(slots=True)
class RegistryCheck:
    """What was found in a registry's log."""

    project: ProjectName
    transactions: int
    promotions: int
    signed: int  # promotions that a trusted key stands for
    problems: list[str] = field(default_factory=list)  # of the log itself
    findings: list[Finding] = field(default_factory=list)  # of what it says
    last: Mapping[tuple[str, str], Op] = field(default_factory=dict)  # the last promotion of each alias

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not self.findings


def audit_registry(
    workspace: Workspace, project: ProjectName, trusted: TrustedKeys | None, policy: Policy | None = None
) -> RegistryCheck:
    """Read a registry's log from the first transaction on, and say what should not be in it.

    With `trusted` keys every promotion, approval and end of a protection has to be signed by one of them. With `policy`
    the last promotion of each alias that it speaks of has to have been decided by it.
    Raises: CommError, StoreError.
    """
    with directly(workspace.store) as store:
        check, _ = _read(store, project, trusted)
    if policy is not None:
        check.findings += _other_policy(check, policy)
    return check


def promotion_steps(workspace: Workspace, name: ArtifactName, keys: TrustedKeys) -> list[Step]:
    """Whether the keys stand for where an alias points, and by which policy; nothing for what was never promoted.

    Raises: CommError, StoreError.
    """
    if parse_version(name.reference) is not None:
        return []
    with directly(workspace.store) as store:
        check, audit = _read(store, name.project, keys)
    target = audit.targets.get((name.collection, name.reference))
    op = check.last.get((name.collection, name.reference))
    if target is None or (op is None and not target.is_guarded):
        return []
    stated = audit.log.state.collections[name.collection].aliases.get(name.reference)
    if op is None or target.number != stated:
        reason = target.refused[-1] if target.refused else "it was never promoted"
        return [Step("promotion", False, reason), Step("policy", None, "the promotion names it")]
    if op["to"] != target.number:  # it was moved by hand since, when it was not protected
        said = f"promotion {op['number']} of it is to v{op['to']}; v{target.number} was never promoted"
        return [Step("promotion", False, said), Step("policy", None, "the promotion names it")]
    moved = f"promotion {op['number']} of {name.collection}:{name.reference} to v{op['to']}"
    by = f", because {op['reason']!r}" if op["reason"] else ""
    wrong = [
        f.message for f in check.findings if (f.collection, f.alias) == (name.collection, name.reference)
    ]
    of_policy = [f.message for f in check.findings if f.kind == "policy" and f.message in wrong]
    return [
        Step("promotion", True, f"{moved} is signed{by}; {len(wrong)} other words about it are not believed")
        if wrong
        else Step("promotion", True, f"{moved} is signed{by}; the {op['number']} follow each other"),
        _policy_step(op, of_policy),
    ]


def _policy_step(op: Op, wrong: list[str]) -> Step:
    if wrong:
        return Step("policy", False, wrong[-1])
    if not op["policies"]:
        return Step("policy", True, "there was none")
    digests = ", ".join(f"{policy['digest'][:12]} of the {policy['of']}" for policy in op["policies"])
    return Step("policy", True, f"{digests}: all of {len(op['clauses'])} clauses had passed")


def _read(store: Store, project: ProjectName, trusted: TrustedKeys | None) -> tuple[RegistryCheck, Audit]:
    audit = Audit(LogFacts(store.settings.store, str(project)), trusted)
    broken: list[str] = []
    last: dict[tuple[str, str], Op] = {}

    def observe(transaction: Transaction, before: Position) -> None:
        if before.seq >= 0:
            audit.log.pass_by(before)
        if broken:
            return
        try:
            audit.take(transaction)
        except IntegrityError as error:
            broken.append(str(error))  # the check of the log, which folds as well, may have told it
        for op in transaction.ops:
            if op["op"] == "alias.promote":
                last[op["collection"], op["alias"]] = op

    prefix = project_prefix(project.entity, project.project)
    inventory = Inventory(store.cache / "stores" / store.settings.store)
    try:
        log = check_log(store, prefix, str(project), inventory, observe)
    finally:
        inventory.close()
    problems = [str(problem.error) for problem in log.problems if not problem.is_advisory]
    problems += [message for message in broken if not any(message in problem for problem in problems)]
    if log.newer is not None:
        problems.append(f"the log has {log.newer}, written by a newer lineart; upgrade")
    check = RegistryCheck(
        project, log.transactions, audit.promotions, audit.signed, problems, audit.findings, last
    )
    return check, audit


def _other_policy(check: RegistryCheck, policy: Policy) -> list[Finding]:
    found = []
    for (collection, alias), op in check.last.items():
        digests = [applied["digest"] for applied in op["policies"]]
        if not policy.rules(alias) or policy.source.digest in digests:
            continue
        shown = ", ".join(digest[:12] for digest in digests) or "none"
        said = f"promotion {op['number']} of {collection}:{alias} was decided by {shown}"
        found.append(Finding("policy", collection, alias, -1, f"{said}, not by {policy.source.digest[:12]}"))
    return found
