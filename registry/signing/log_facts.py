"""What a project's log says of versions, for signing them and for checking what was signed. Pure.

A fold over the whole log: a checkpoint is advisory, and whoever signs a place in the log signs all before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...artifacts.history import CREATIONS, Fact, Known
from ...artifacts.names import ArtifactName, parse_version
from ...artifacts.state import VersionState
from ...storage.errors import FormatError, IntegrityError
from ...storage.log import Position
from ...storage.transaction import FORMAT, Transaction
from .envelopes import peek
from .statements import LogPosition, Subject, VersionFacts


@dataclass(frozen=True, slots=True)
class Attestation:
    """A signed statement as it was added to the log. Nothing of it is checked."""

    kind: str
    envelope: object
    seq: int  # of the transaction that added it here
    origin: str
    time: str
    actor: Mapping[str, str]


class LogFacts(Known):
    """The state of a project's log, where its versions come from, and what was signed about them."""

    def __init__(self, store: str, project: str) -> None:
        """`store` is the store's id, `project` is ``entity/project``. Fed with `take`, from the first transaction."""
        super().__init__()
        self.store = store
        self.project = project
        self.attestations: dict[tuple[str, int], list[Attestation]] = {}
        self.made: dict[str, tuple[str, int]] = {}  # origin of a version → its time, and its transaction here
        self.copied: set[str] = set()  # origins that were said in another log first
        self._digests: dict[int, bytes] = {}
        self._seq = -1

    def take(self, transaction: Transaction) -> None:
        """Go on behind `transaction`. Raises: IntegrityError for a contradiction; FormatError for a newer format."""
        if transaction.format > FORMAT:
            raise FormatError(
                f"transaction {transaction.seq} of {self.project} has format {transaction.format}; upgrade lineart"
            )
        self._seq = transaction.seq
        super().take(transaction)

    def pass_by(self, position: Position) -> None:
        """Note the digest of a transaction's bytes; `holds` compares with it."""
        self._digests[position.seq] = bytes.fromhex(position.digest)

    def holds(self, position: LogPosition) -> bool | None:
        """Whether the log has this transaction there; None when it does not go so far, or not without a gap."""
        found = self._digests.get(position.seq)
        return None if found is None else found == bytes.fromhex(position.digest)

    def _note(self, fact: Fact) -> None:
        super()._note(fact)
        kind = fact.op.get("op")
        if kind in CREATIONS:
            self.made[fact.origin] = fact.time, self._seq
            if "origin" in fact.op:
                self.copied.add(fact.origin)
        elif kind == "attestation.add":
            where = fact.op["collection"], fact.op["version"]
            self.attestations.setdefault(where, []).append(
                Attestation(
                    str(fact.op["kind"]), fact.op["envelope"], self._seq, fact.origin, fact.time, fact.actor
                )
            )

    def version(self, name: ArtifactName) -> VersionState:
        """The version with this number. Raises: IntegrityError when the log does not have it."""
        collection = self.state.collections.get(name.collection)
        number = parse_version(name.reference)
        found = None if collection is None or number is None else collection.versions.get(number)
        if found is None:
            raise IntegrityError(
                f"version {name}: the log, read from its first transaction, does not have it;"
                ' what says otherwise was changed; run "art verify"'
            )
        return found

    def subject(self, name: ArtifactName) -> Subject:
        """The version as it is signed here and now. Raises: IntegrityError."""
        found = self.version(name)
        origin = self.creators[name.collection, found.number]
        return Subject(str(name), found.digest, self.store, origin)

    def facts(self, name: ArtifactName, log: LogPosition, said: Subject | None = None) -> VersionFacts:
        """What a statement about this version has to say, up to this place in the log.

        A version that was copied may have been signed elsewhere, under the name and number that it had there: so it is
        compared with what the statement has `said` of its place, if the log confirms that it comes from there.
        Raises: IntegrityError.
        """
        found, subject = self.version(name), self.subject(name)
        if said is not None and self.is_from_elsewhere(name, said):
            subject = Subject(said.name, found.digest, said.store, said.origin)
        return VersionFacts(
            subject=subject,
            type=self.state.collections[name.collection].type,
            size_bytes=found.size_bytes,
            file_count=found.file_count,
            reference_count=found.reference_count,
            created_at=self.made[subject.origin][0],
            log=log,
        )

    def is_from_elsewhere(self, name: ArtifactName, said: Subject) -> bool:
        """Whether this version is a copy of what `said` names, in another store or project.

        The collection has the same name there: a copy never changes that.
        """
        project, _, rest = said.name.rpartition("/")
        return (
            (said.store, project) != (self.store, self.project)
            and rest.partition(":")[0] == name.collection
            and self.places.get(said.origin) == (name.collection, parse_version(name.reference))
        )

    def is_of_this_log(self, said: Subject) -> bool:
        """Whether it was signed here, so that the place in the log that it names must be one of this log."""
        return (said.store, said.name.rpartition("/")[0]) == (self.store, self.project)


def signed_by(attestation: Attestation) -> tuple[str, ...]:
    """The key ids on an attestation, unchecked; none if it is malformed."""
    try:
        return peek(attestation.envelope)[1]
    except IntegrityError:
        return ()
