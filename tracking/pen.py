"""Signing and believing what is decided about a registry: by the key and the trusted keys that the settings name.

Without either it does nothing: what is decided is not signed, and whoever approves is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.version import Version
from ..registry.promotion import Approval
from ..storage.transaction import Op
from .settings import SigningChoice, find_signing

if TYPE_CHECKING:
    from ..registry.audit import Audit
    from ..registry.signing import Signer, TrustedKeys
    from .workspace import Workspace


class Pen:
    """The keys of this process, and the log of a project as they see it."""

    def __init__(self, workspace: Workspace, project: ProjectName) -> None:
        self._workspace = workspace
        self._project = project
        self._choice: SigningChoice = find_signing()

    @cached_property
    def _signer(self) -> Signer | None:
        if self._choice.key is None:
            return None
        from .keys import read_signer

        return read_signer(self._choice)

    @property
    def _trusted(self) -> TrustedKeys | None:
        """The trusted keys; who signs and trusts nobody trusts himself."""
        if self._workspace.trusted is not None or self._signer is None:
            return self._workspace.trusted
        from ..registry.signing import TrustedKeys

        return TrustedKeys({"own": self._signer.public})

    @cached_property
    def _audit(self) -> Audit | None:
        """None when there is no key to compare with."""
        from .trust import AuditedLog

        trusted = self._trusted
        return (
            None if trusted is None else AuditedLog(self._workspace.store, self._project, trusted).refresh()
        )

    # Signing

    def sign(self, op: Op) -> Mapping[str, Any] | None:
        """The envelope of a promotion, an approval or a protection; None without a key. Raises: UsageError."""
        if self._signer is None or self._audit is None or op["op"] == "promotion.refuse":
            return None
        from ..registry.signing.decisions import sign_decision

        return sign_decision(op, self._audit.log, self._signer)

    def sign_version(self, version: Version) -> None:
        """Sign a version that is promoted, once. Raises: as `version_signing.sign_version`."""
        if self._signer is None:
            return
        from .version_signing import sign_version

        sign_version(self._workspace, str(version.name), self._signer)

    def with_result(self, version: Version, ops: Sequence[Op]) -> Sequence[Op]:
        """With each signed promotion a simple verification result: the clauses that have passed."""
        if self._signer is None or self._audit is None:
            return ops
        from ..registry.signing import PolicyFacts, passed_policy_statement, sign_statement
        from ..registry.signing.decisions import policies_digest

        more: list[Op] = []
        for op in ops:
            digest = policies_digest(op) if op["op"] == "alias.promote" else None
            if digest is None:
                continue
            facts = PolicyFacts(
                subject=self._audit.log.subject(version.name),
                name=f"art://{self._project}/{op['collection']}:{op['alias']}",
                policy=digest,
                time=op["said_at"],
                properties=[clause["clause"] for clause in op["clauses"]],
            )
            home = {"collection": op["collection"], "version": op["to"], "kind": "policy"}
            envelope = sign_statement(passed_policy_statement(facts), self._signer)
            more.append({"op": "attestation.add", **home, "envelope": envelope})
        return [*ops, *more]

    def must_promote_again(self, name: ArtifactName, alias: str, incumbent: int | None) -> bool:
        """Whether the alias points somewhere that no trusted key has promoted it to, and this process can sign it."""
        if self._signer is None or self._audit is None:
            return False
        found = self._audit.targets.get((name.collection, alias))
        return found is not None and (
            found.number != incumbent or bool(found.refused and not self._audit.signed)
        )

    # Believing

    def believed(self, approvals: Sequence[Approval]) -> list[Approval]:
        """The approvals that count: with trusted keys those that one of them has signed, under its name."""
        if self._workspace.trusted is None or self._audit is None:
            return list(approvals)
        names = self._audit.approvers
        return [
            replace(approval, by=names[approval.id][0]) for approval in approvals if names.get(approval.id)
        ]

    def signers(self, *names: ArtifactName) -> Sequence[str]:
        """The trusted keys that have signed one of these versions: a link, and what it is a link to."""
        trusted = self._workspace.trusted
        if trusted is None:
            return ()
        from .signed_verification import open_signatures
        from .version_signing import read_log

        found: dict[str, None] = {}
        for name in dict.fromkeys(names):
            facts, _ = read_log(self._workspace.store, name.project)
            version = self._workspace.version(name, deleted_too=True)
            for _, signed, _, _ in open_signatures(facts, version, trusted).good:
                found.update(dict.fromkeys(signed))
        return list(found)
