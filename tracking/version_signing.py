"""Signing versions: statements about them in the project's log, and signatures in files for others.

What is said and how it is signed is `registry.signing`; here the log, the catalog and the bytes are read for it.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Any

from ..artifacts.decisions import find_version
from ..artifacts.manifest import Manifest
from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.state import ProjectState
from ..artifacts.version import Version
from ..lineage import Catalog, why
from ..lineage.schema import LOG_TIME
from ..registry.signing import (
    LogPosition,
    MadeBy,
    Signer,
    Statement,
    Subject,
    TrustedKeys,
    UsedInput,
    expect_version,
    open_envelope,
    provenance_statement,
    sign_model,
    sign_statement,
    signed_log_position,
    version_statement,
)
from ..registry.signing.envelopes import peek
from ..registry.signing.log_facts import LogFacts
from ..registry.signing.oms import is_covered
from ..registry.signing.statements import signed_subject
from ..storage.errors import CommError, ConflictError, IntegrityError, UsageError
from ..storage.log import Position
from ..storage.store import Store, project_prefix
from ..storage.transaction import Op
from .workspace import Workspace

VERSION, PROVENANCE = "version", "provenance"  # kinds of attestations
_READ_BYTES = 1 << 20
_MOST_LINKS = 40  # one that leads to the next

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Signed:
    """What `sign_version` has done: the version, and the kinds that were added and that were there."""

    name: ArtifactName
    digest: str
    added: tuple[str, ...]
    present: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """The content of a ``model.sig``, and which files of the version it leaves out."""

    data: bytes
    covered: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedAttestation:
    """A signed statement, as lists show it."""

    kind: str
    predicate_type: str | None  # None: it is malformed
    key_ids: tuple[str, ...]  # on it, whether or not their signatures fit
    signed_by: tuple[str, ...]  # names of the trusted keys whose signatures fit
    logged_by: str  # user@host
    time: str
    problem: str | None  # why it does not count, as far as that was looked at


def read_log(store: Store, project: ProjectName) -> tuple[LogFacts, LogPosition]:
    """All that a project's log says, each transaction compared with the one before, and its end.

    Raises: IntegrityError when the chain is broken; UsageError when the log is empty; CommError.
    """
    facts = LogFacts(store.settings.store, str(project))
    log, position = store.log(project_prefix(project.entity, project.project)), Position()
    for entry in log.read_after(position):
        facts.take(entry.transaction)
        position = entry.position
        facts.pass_by(position)
    log.demand_no_hole(position)
    if position.seq < 0:
        raise UsageError(f"project {project} is empty; there is nothing to sign")
    return facts, LogPosition(position.seq, position.digest)


def sign_version(workspace: Workspace, name: str, signer: Signer, *, provenance: bool = False) -> Signed:
    """Add a signed statement about a version to its project's log; with `provenance` one about the run that made it.

    What the key has signed already is not signed again. The log is read from its first transaction, since the
    statement names the last one.
    Raises: NotFoundError; IntegrityError when the log is damaged; UsageError when no run made the version; CommError
    when the store does not answer (numbers given offline may change).
    """
    if workspace.store.is_offline:
        raise CommError(f"store {workspace.store.url} is offline; sign when it answers")
    version = workspace.version(name)
    facts, head = read_log(workspace.store, version.project)
    subject = facts.subject(version.name)
    if subject.digest != version.state.digest:
        raise IntegrityError(
            f"version {version.name}: the log says {subject.digest[:12]}, a checkpoint {version.state.digest[:12]};"
            ' run "art verify --repair"'
        )
    wanted: dict[str, Statement] = {VERSION: version_statement(facts.facts(version.name, head))}
    if provenance:
        wanted[PROVENANCE] = make_provenance(workspace, version, subject)
    present = [kind for kind, said in wanted.items() if _has_signed(facts, version, kind, said, signer)]
    home = {"collection": version.collection, "version": version.state.number}
    ops = [
        {"op": "attestation.add", **home, "kind": kind, "envelope": sign_statement(said, signer)}
        for kind, said in wanted.items()
        if kind not in present
    ]

    def decide(state: ProjectState) -> Sequence[Op]:
        if find_version(state, version.name).digest != subject.digest:
            raise ConflictError(
                f"version {version.name} is another one than a moment ago; look again and decide"
            )
        return ops

    if ops:
        workspace.project(version.project).commit(decide)
    added = tuple(kind for kind in wanted if kind not in present)
    return Signed(version.name, subject.digest, added, tuple(present))


def _has_signed(facts: LogFacts, version: Version, kind: str, wanted: Statement, signer: Signer) -> bool:
    """Whether the log has what this key would say again, but for how far the log went then."""
    own = TrustedKeys({"own": signer.public})
    for found in facts.attestations.get((version.collection, version.state.number), ()):
        if found.kind != kind:
            continue
        try:
            said = open_envelope(found.envelope, own).statement
            if kind == VERSION:
                expect_version(
                    said, facts.facts(version.name, signed_log_position(said), signed_subject(said))
                )
            elif said != wanted:
                continue
        except IntegrityError:
            continue  # of another key, or forged: no reason not to sign
        return True
    return False


def make_provenance(workspace: Workspace, version: Version, subject: Subject) -> Statement:
    """The SLSA provenance of a version. Raises: UsageError when its run is not known here."""
    catalog = workspace.catalog()
    try:
        reasons = why(catalog, str(version.name))
        if reasons.run is None:
            raise UsageError(f"version {version.name} {reasons.unknown}: there is no provenance to sign here")
        made = MadeBy(
            run=reasons.run,
            inputs=_with_digests(catalog, reasons.inputs),
            exact=reasons.exact,
            version=version_of("lineart"),
            untracked=reasons.untracked,
        )
    finally:
        catalog.close()
    return provenance_statement(subject, made)


def _with_digests(catalog: Catalog, inputs: Sequence[tuple[str, str | None]]) -> list[UsedInput]:
    names = [name for name, _ in inputs]
    query = "SELECT version_id, digest FROM version_creations WHERE version_id IN (SELECT unnest(?))"
    digests = dict(catalog.rows(query, [names])) if names else {}
    return [UsedInput(name, digests.get(name), role) for name, role in sorted(inputs)]


def sign_provenance(workspace: Workspace, name: str, signer: Signer) -> dict[str, Any]:
    """The envelope with the SLSA provenance of a version, for a file. Raises: as `sign_version`."""
    version = workspace.version(name)
    facts, _ = read_log(workspace.store, version.project)
    return sign_statement(make_provenance(workspace, version, facts.subject(version.name)), signer)


def sign_files(version: Version, signer: Signer, progress: Progress = lambda count: None) -> ModelSignature:
    """The OpenSSF model signature of a version: every byte is read, from the store or from where references lead.

    `progress` gets the bytes read. Raises: UsageError for a key of another kind than ecdsa-p256, and for a symbolic
    link that leads out of the version or to nothing; IntegrityError, ReferenceChangedError, CommError.
    """
    manifest = version.manifest
    files = {e.path: e.path for e in manifest.values() if e.digest is not None or e.kind == "reference"}
    links = {entry.path for entry in manifest.values() if entry.kind == "symlink"}
    for link in links:
        target = _end_of_link(version.name, manifest, link)
        if target is not None:
            files[link] = target
    sign_model(version.name.short, {"x": "00" * 32}, signer, has_links=False)  # of another kind: said at once
    sums: dict[str, str] = {}
    for path in sorted({target for path, target in files.items() if is_covered(path)}):
        sums[path] = _sha256(version, path, progress)
    signed = {path: sums[target] for path, target in files.items() if is_covered(path)}
    data = sign_model(version.name.short, signed, signer, has_links=bool(links))
    left_out = tuple(sorted(path for path in files if not is_covered(path)))
    return ModelSignature(data, len(signed), left_out)


def _sha256(version: Version, path: str, progress: Progress) -> str:
    found = hashlib.sha256()
    with version.open(path) as file:
        while block := file.read(_READ_BYTES):
            found.update(block)
            progress(len(block))
    return found.hexdigest()


def _end_of_link(name: ArtifactName, manifest: Manifest, link: str) -> str | None:
    """The file that a link leads to; None for a folder. Raises: UsageError for one that leads elsewhere."""
    path, entry = link, manifest.get(link)
    for _ in range(_MOST_LINKS):
        if entry is None or entry.kind != "symlink":
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.target or ""))
        entry = manifest.get(path)
    if entry is not None and entry.kind not in ("symlink", "directory"):
        return path
    is_folder = entry is not None and entry.kind == "directory"
    if path == "." or is_folder or any(other.startswith(f"{path}/") for other in manifest):
        return None
    raise UsageError(
        f"link {link!r} of {name.short} leads to no file of it; a model signature covers what is in the version"
    )


def list_attestations(
    catalog: Catalog, version_id: str, trusted: TrustedKeys | None = None
) -> list[ListedAttestation]:
    """What was signed about a version, oldest first. Which of `trusted` fit is said; what is signed is not compared."""
    rows = catalog.rows(
        f"SELECT kind, envelope::VARCHAR, user_name, host, {LOG_TIME.format('time')} FROM attestations"
        " WHERE version_id = ? ORDER BY position",
        [version_id],
    )
    return [
        _listed(kind, json.loads(envelope), f"{user}@{host}", time, trusted)
        for kind, envelope, user, host, time in rows
    ]


def _listed(
    kind: str, envelope: object, logged_by: str, time: str, trusted: TrustedKeys | None
) -> ListedAttestation:
    try:
        statement, key_ids = peek(envelope)
    except IntegrityError as error:
        return ListedAttestation(kind, None, (), (), logged_by, time, str(error))
    signers: tuple[str, ...] = ()
    problem = None
    if trusted:
        try:
            signers = open_envelope(envelope, trusted).signers
        except IntegrityError as error:
            problem = str(error)
    said = str(statement.get("predicateType"))
    return ListedAttestation(kind, said, key_ids, signers, logged_by, time, problem)
