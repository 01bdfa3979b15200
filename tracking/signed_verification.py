"""`art verify --signed-by`: from the bytes of a version to the key that stands for it, offline and link by link.

Bytes → manifest → the version's record in the log → the chain of the log from its first transaction → the signature
over the version, which names a transaction: what stood in the log then cannot have been changed since. Only the
store (or a copy of it) and the public keys are needed; caches, checkpoints and the catalog are not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..artifacts.decisions import find_version
from ..artifacts.log_check import LogCheck, check_log
from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.version import Version
from ..registry.signing import (
    LogPosition,
    Step,
    Subject,
    TrustedKeys,
    expect_version,
    open_envelope,
    signed_log_position,
)
from ..registry.signing.log_facts import Attestation, LogFacts, signed_by
from ..registry.signing.statements import VERSION_TYPE, signed_subject
from ..storage.digest import digest_of, parse_hex
from ..storage.errors import Error, FormatError, IntegrityError, NotFoundError
from ..storage.inventory import Inventory
from ..storage.log import Position
from ..storage.store import Store, project_prefix
from ..storage.transaction import Transaction
from .store_verification import directly
from .version_signing import VERSION
from .workspace import Workspace

Progress = Callable[[int], None]


@dataclass(slots=True)
class SignedCheck:
    """What was found, link by link; others may append theirs."""

    name: ArtifactName
    digest: str
    steps: list[Step] = field(default_factory=list)
    signers: list[str] = field(default_factory=list)  # names of the keys whose signature holds
    log: LogFacts | None = None  # as far as it could be read

    @property
    def ok(self) -> bool:
        """Whether every link holds."""
        return all(step.ok for step in self.steps)


@dataclass(slots=True)
class Signatures:
    """What the attestations of a version have come to."""

    good: list[tuple[Attestation, tuple[str, ...], Subject, LogPosition]] = field(default_factory=list)
    bad: list[tuple[Attestation, str]] = field(default_factory=list)


def verify_signed(
    workspace: Workspace, name: str, keys: TrustedKeys, progress: Progress = lambda count: None
) -> SignedCheck:
    """Verify that each of `keys` has signed the version `name`, and everything that the signature stands on.

    `progress` gets the bytes read. Raises: NotFoundError for a version that is not there; CommError, StoreError.
    """
    wanted = workspace.parse(name)
    with directly(workspace.store) as store:
        facts, log = _read_log(store, wanted.project)
        version = _find(workspace, store, wanted, facts)
        check = SignedCheck(version.name, version.state.digest, log=facts)
        manifest = _manifest(version)
        stored = _bytes(version, progress) if manifest.ok else Step("bytes", None, "the manifest names them")
        check.steps += [stored, manifest, _record(facts, version)]
        signatures = open_signatures(facts, version, keys)
        check.steps.append(_chain(facts, log, version, signatures))
        check.steps.append(_signature(signatures, keys, check))
    return check


def _find(workspace: Workspace, store: Store, wanted: ArtifactName, facts: LogFacts) -> Version:
    """What the name means by the log itself. Raises: NotFoundError."""
    try:
        state = find_version(facts.state, wanted)
        kind = facts.state.collections[wanted.collection].type
    except NotFoundError:
        found = workspace.version(
            wanted
        )  # of a damaged log that could not be read so far; else it tells what there is
        state, kind = found.state, found.type
    return Version(store, wanted.project, wanted.collection, kind, state)


def _bytes(version: Version, progress: Progress) -> Step:
    try:
        entries = [entry for entry in version.manifest.values() if entry.digest is not None]
        restorer = version.store.restorer(version.packs, progress)
        errors = list(restorer.check({parse_hex(entry.digest or "") for entry in entries}))
    except Error as error:
        return Step("bytes", False, str(error))
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return Step("bytes", False, f"{errors[0]}{more}")
    count = version.state.reference_count
    left = f"; the bytes of its references ({count}) lie elsewhere" if count else ""
    return Step("bytes", True, f"files: {len(entries)}, each with the digest that the manifest names{left}")


def _manifest(version: Version) -> Step:
    try:
        with version.open_manifest() as stream:
            found = digest_of(stream.read()).hex()
        if found != version.state.digest:
            raise IntegrityError(f"its lines hash to {found[:12]}, expected {version.state.digest[:12]}")
    except Error as error:
        return Step("manifest", False, str(error))
    return Step("manifest", True, f"its lines hash to {found[:16]}, the digest of the version")


def _record(facts: LogFacts, version: Version) -> Step:
    try:
        found = facts.version(version.name)
        if found.digest != version.state.digest:
            raise IntegrityError(
                f"the log says {found.digest[:12]}, a checkpoint {version.state.digest[:12]}"
            )
        origin = facts.creators[version.collection, found.number]
        time, seq = facts.made[origin]
    except IntegrityError as error:
        return Step("version", False, str(error))
    copied = ", copied from where it was made" if origin in facts.copied else ""
    return Step(
        "version", True, f"transaction {seq} of the log records it with this digest, of {time}{copied}"
    )


def _read_log(store: Store, project: ProjectName) -> tuple[LogFacts, LogCheck]:
    facts = LogFacts(store.settings.store, str(project))
    prefix = project_prefix(project.entity, project.project)
    broken: list[Error] = []

    def observe(transaction: Transaction, before: Position) -> None:
        facts.pass_by(before) if before.seq >= 0 else None
        try:
            if not broken:
                facts.take(transaction)
        except (IntegrityError, FormatError) as error:
            broken.append(error)  # told by the check, which folds as well

    inventory = Inventory(store.cache / "stores" / store.settings.store)
    try:
        log = check_log(store, prefix, str(project), inventory, observe)
    finally:
        inventory.close()
    if log.head.seq >= 0:
        facts.pass_by(log.head)
    return facts, log


def open_signatures(facts: LogFacts, version: Version, keys: TrustedKeys) -> Signatures:
    """The statements about the version that one of `keys` has signed, and those that do not hold."""
    found = Signatures()
    for attestation in facts.attestations.get((version.collection, version.state.number), ()):
        if attestation.kind != VERSION:
            continue
        try:
            opened = open_envelope(attestation.envelope, keys)
            if opened.statement.get("predicateType") != VERSION_TYPE:
                raise IntegrityError(f"attestation: it is no {VERSION_TYPE}")
            said, position = signed_subject(opened.statement), signed_log_position(opened.statement)
            expect_version(opened.statement, facts.facts(version.name, position, said))
        except IntegrityError as error:
            found.bad.append((attestation, str(error)))
        else:
            found.good.append((attestation, opened.signers, said, position))
    return found


def _chain(facts: LogFacts, log: LogCheck, version: Version, signatures: Signatures) -> Step:
    problems = [str(problem.error) for problem in log.problems if not problem.is_advisory]
    if log.newer is not None:
        problems.append(f"the log has {log.newer}, written by a newer lineart; upgrade")
    pinned, elsewhere = -1, ""
    for _, _, said, position in signatures.good:
        if not facts.is_of_this_log(said):
            elsewhere = f"; it was signed as {said.name} in store {said.store[:12]}, whose log is not here"
            continue
        holds = facts.holds(position)
        if holds is None:
            problems.append(
                f"transaction {position.seq}, up to which it was signed, is missing; the log was cut off"
            )
        elif not holds:
            problems.append(
                f"transaction {position.seq} is another one than was signed: the log was written anew since"
            )
        elif position.seq < facts.made[said.origin][1]:
            problems.append(f"it was signed at transaction {position.seq}, before the log has it")
        else:
            pinned = max(pinned, position.seq)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Step("log", False, problems[0] + more)
    whole = f"{log.transactions} transactions from the first one on, each names the one before"
    pin = f"; the signature fixes those up to {pinned}" if pinned >= 0 else elsewhere
    return Step("log", True, whole + pin)


def _signature(signatures: Signatures, keys: TrustedKeys, check: SignedCheck) -> Step:
    by_name = {name: made for made, names, _, _ in signatures.good for name in names}
    check.signers = [name for name in keys.names() if name in by_name]
    missing = [name for name in keys.names() if name not in by_name]
    if missing:
        return Step("signature", False, _why_missing(signatures, keys, missing))
    words = [f"{name} (in the log since {by_name[name].time})" for name in check.signers]
    forged = [reason for found, reason in signatures.bad if set(signed_by(found)) & set(keys)]
    note = f"; beside it stands one that does not hold: {forged[0]}" if forged else ""
    return Step("signature", True, f"signed by {', '.join(words)}{note}")


def _why_missing(signatures: Signatures, keys: TrustedKeys, missing: Sequence[str]) -> str:
    """Of what bears the key's id the reason, else that there is none."""
    ids = {key_id for key_id in keys if keys.name(key_id) in missing}
    own = [reason for found, reason in signatures.bad if ids & set(signed_by(found))]
    others = [reason for found, reason in signatures.bad if not set(signed_by(found)) & set(keys)]
    if own or others:
        return f"not signed by {', '.join(missing)}: {(own or others)[0]}"
    return f'not signed by {", ".join(missing)}; "art sign" signs it'
