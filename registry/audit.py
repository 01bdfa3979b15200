"""What a log says that should not be there: moves beside promotion, forged and replayed words, other policies. Pure.

Fed with a log from its first transaction on. Whether the log itself is whole (bytes, chain, no hole) is for
`artifacts.log_check`; this looks at what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..artifacts.protection import policy_text
from ..lineage.facts import position_of
from ..storage.errors import IntegrityError, UsageError
from ..storage.transaction import Op, Transaction, actor_of, time_of
from .policy import read_policy
from .promotion import Step
from .signing.decisions import check_decision, decision_digest
from .signing.keys import TrustedKeys
from .signing.log_facts import LogFacts


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the log that should not be there."""

    kind: str  # move, promotion, protection, approval, policy
    collection: str
    alias: str | None
    seq: int
    message: str


@dataclass(slots=True)
class Trusted:
    """Where an alias points for those who believe trusted keys only."""

    is_guarded: bool = False  # protected, as far as a trusted key has not ended it
    number: int | None = None
    since: dict[str, bool] = field(default_factory=dict)  # protections that hold → whether it is a copy
    history: list[Step] = field(default_factory=list)  # what is believed of its promotions, oldest first
    refused: list[str] = field(default_factory=list)  # what was not believed, in words


class Audit:
    """The findings about a project's log, and where its aliases point for those who trust some keys."""

    def __init__(self, log: LogFacts, trusted: TrustedKeys | None = None) -> None:
        """Without `trusted` keys what is said is taken as it is, and only its order and its digests are looked at."""
        self.log = log
        self.findings: list[Finding] = []
        self.promotions = 0
        self.signed = 0  # promotions that a trusted key stands for
        self.targets: dict[tuple[str, str], Trusted] = {}
        self.ignored: set[int] = set()  # positions of moves and promotions that are not believed
        self._position = -1  # of the op that is looked at
        self._trusted = trusted
        self.approvers: dict[
            str, tuple[str, ...]
        ] = {}  # id of an approval that is believed → whose keys signed it
        self._approvals: dict[str, tuple[str, int, str]] = {}  # id → collection, version, alias
        self._used: set[str] = set()
        self._revoked: set[str] = set()
        self._ended: set[str] = set()  # digests of words that ended a protection
        self._policies: dict[
            str | None, list[str | None]
        ] = {}  # of collections, and (None) of the registry; all

    def take(self, transaction: Transaction) -> None:
        """Go on to the state after `transaction`. Raises: IntegrityError when it contradicts what came before."""
        self.log.take(transaction)
        # A copy says very much in one transaction: what held then follows from their order.
        for index, op in enumerate(transaction.ops):
            look = _LOOKS.get(op["op"])
            if look is not None:
                self._position = position_of(transaction.seq, index)
                look(self, op, transaction)

    def _find(self, kind: str, op: Op, transaction: Transaction, message: str) -> None:
        alias = op.get("alias")
        name = f"{op['collection']}:{alias}" if alias else op["collection"]
        said = f"transaction {transaction.seq}: {kind} of {name}: {message}"
        self.findings.append(Finding(kind, op["collection"], alias, transaction.seq, said))
        if alias is not None and kind in ("move", "promotion", "protection"):
            self._target(op).refused.append(said)

    def _target(self, op: Op) -> Trusted:
        return self.targets.setdefault((op["collection"], op["alias"]), Trusted())

    def _signers(self, kind: str, op: Op, transaction: Transaction) -> tuple[str, ...] | None:
        """The trusted keys that stand for the op, None when none does; without keys to trust all is taken as it is."""
        if self._trusted is None:
            return ()
        try:
            return check_decision(op, self.log, self._trusted)
        except IntegrityError as error:
            self._find(kind, op, transaction, str(error))
            return None

    def _move(self, op: Op, transaction: Transaction) -> None:
        target = self._target(op)
        if target.is_guarded:
            self.ignored.add(self._position)
            actor = actor_of(op, transaction)
            goal = "nothing" if op["to"] is None else f"v{op['to']}"
            who = f"{actor.get('user') or '?'}@{actor.get('host') or '?'}"
            self._find("move", op, transaction, f"to {goal} by {who}, without a promotion; it is ignored")
        else:
            target.number = op["to"]

    def _protect(self, op: Op, transaction: Transaction) -> None:
        target = self._target(op)
        if op["protected"]:  # to guard more is believed of anybody
            if not target.is_guarded:
                target.since.clear()
            target.is_guarded = True
            target.since.setdefault(time_of(op, transaction), "origin" in op)
            return
        digest = decision_digest(op)
        if self._trusted is not None and op.get("since") not in target.since:
            self._find("protection", op, transaction, "it ends another one than the one that holds")
        elif self._trusted is not None and "origin" in op and not target.since[op["since"]]:
            self._find("protection", op, transaction, "it ended one in another store")
        elif self._trusted is not None and digest in self._ended:
            self._find("protection", op, transaction, "it was said before, of an earlier one")
        elif self._signers("protection", op, transaction) is not None:
            target.is_guarded = False
            self._ended.add(digest)

    def _promote(self, op: Op, transaction: Transaction) -> None:
        self.promotions += 1
        target, count = self._target(op), len(self.findings)
        if op["kind"] == "rollback" and op["to"] not in (step.to for step in target.history):
            self._find(
                "promotion", op, transaction, f"it goes back to v{op['to']}, which was never promoted there"
            )
        signers = self._signers("promotion", op, transaction)
        if signers is None:
            self.ignored.add(self._position)
        else:
            target.number = op["to"]
            target.history.append(Step(op["kind"], op["to"]))
            self.signed += bool(signers)
        if op["verdict"] != "pass" or any(c["verdict"] != "pass" for c in op["clauses"]):
            self._find("promotion", op, transaction, "not all of its clauses had passed")
        self._look_at_policies(op, transaction)
        self._look_at_clauses(op, transaction)
        self._look_at_approvals(op, transaction)
        if len(self.findings) > count and self._trusted is None:
            target.refused.append(self.findings[-1].message)

    def _look_at_clauses(self, op: Op, transaction: Transaction) -> None:
        """Whether it was judged by all that its policies require."""
        try:
            policies = [read_policy(str(policy["text"]), "in the log") for policy in op["policies"]]
        except UsageError as error:
            self._find("policy", op, transaction, str(error))
            return
        wanted = [rule.text for policy in policies for rule in policy.rules(op["alias"], op["kind"])]
        if wanted != [clause["clause"] for clause in op["clauses"]]:
            self._find("policy", op, transaction, "it was not judged by the clauses of its policies")

    def _look_at_policies(self, op: Op, transaction: Transaction) -> None:
        said = {policy["of"]: policy for policy in op["policies"]}
        for policy in said.values():
            if policy_text(str(policy["text"])).digest != policy["digest"]:
                self._find(
                    "policy", op, transaction, f"its text is not the one of digest {policy['digest'][:12]}"
                )
        for of, key in (("registry", None), ("model", op["collection"])):
            known = self._policies.get(key, [])
            wanted = known[-1] if known else None
            digest = None if of not in said else said[of]["digest"]
            # Settings of the registry are copied before its models: then one that held once is enough.
            was_copied = "origin" in op and (digest is None or digest in known)
            if digest != wanted and not was_copied:
                found, held = (name[:12] if name else "none" for name in (digest, wanted))
                told = f"it was judged by {found} as that of the {of}, which was {held}"
                self._find("policy", op, transaction, told)

    def _set_policy(self, op: Op, transaction: Transaction) -> None:
        if "policy" in op:
            said = op["policy"]
            digest = None if said is None else str(said["digest"])
            self._policies.setdefault(op.get("collection"), []).append(digest)

    def _look_at_approvals(self, op: Op, transaction: Transaction) -> None:
        about = op["collection"], op["to"], op["alias"]
        for id in op["approvals"]:
            given = self._approvals.get(id)
            if given is None:
                word = "taken back" if id in self._revoked else "never given"
                self._find("approval", op, transaction, f"approval {id[:12]} that it counts was {word}")
            elif given != about:
                self._find(
                    "approval",
                    op,
                    transaction,
                    f"approval {id[:12]} that it counts is of v{given[1]} for {given[2]}",
                )
            elif id in self._used:
                self._find(
                    "approval", op, transaction, f"approval {id[:12]} that it counts was used up before"
                )
            self._used.add(id)

    def _approve(self, op: Op, transaction: Transaction) -> None:
        about = op["collection"], op["version"], op["alias"]
        given = self._approvals.get(op["id"])
        if op["id"] in self._revoked:
            self._find(
                "approval", op, transaction, f"approval {op['id'][:12]} is said again, and was taken back"
            )
            return
        if given is not None:
            first = f"v{given[1]} for {given[2]}"
            self._find("approval", op, transaction, f"approval {op['id'][:12]} of {first} is said again")
            return
        version = self.log.state.collections[op["collection"]].versions.get(op["version"])
        if version is None or version.digest != op["digest"]:
            other = f"approval {op['id'][:12]} is of another content than v{op['version']}"
            self._find("approval", op, transaction, other)
            return
        signers = self._signers("approval", op, transaction)
        if signers is not None:
            self._approvals[op["id"]] = about
            self.approvers[op["id"]] = signers

    def _revoke(self, op: Op, transaction: Transaction) -> None:
        if op["id"] not in self._used:
            self._approvals.pop(op["id"], None)
            self.approvers.pop(op["id"], None)
            self._revoked.add(op["id"])


_LOOKS: Mapping[str, Any] = {
    "alias.move": Audit._move,
    "alias.protect": Audit._protect,
    "alias.promote": Audit._promote,
    "approval.give": Audit._approve,
    "approval.revoke": Audit._revoke,
    "collection.policy": Audit._set_policy,
    "registry.revise": Audit._set_policy,
}
