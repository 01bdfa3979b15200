"""SLSA provenance (https://slsa.dev/provenance/v1) of a version, out of what the run that made it has left. Pure.

Not a claim of a SLSA level: the run itself says what it did. What the words of the format mean here:

===================== ==============================================================================================
buildType             ``urn:lineart:run:v1``: a run that used versions and logged this one
externalParameters    the run's config, its command, and its job type, without secrets
internalParameters    user, Python and platform; whether tracked files differed from the commit; whether the inputs
                      were declared for this very output; how many untracked inputs are in no list
resolvedDependencies  the versions used (BLAKE3 of their manifests), what it has read beside them (``untracked``; BLAKE3
                      of the bytes), and the commit of the code
builder.id            ``urn:lineart:host:<name>``, the machine
invocationId          the run's full id
===================== ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ...artifacts.recorded import for_others
from ...lineage.addresses import file_url, iri, repository_url
from ...lineage.questions import RunFacts
from ...lineage.untracked import UntrackedInput, UntrackedInputs
from ...storage.masking import mask_address, masked_values
from .envelopes import STATEMENT_TYPE
from .statements import PROVENANCE_TYPE, Statement, Subject

BUILD_TYPE = "urn:lineart:run:v1"
_PLACES = ("python", "executable", "platform", "os")  # of what was captured: what the run ran in


@dataclass(frozen=True, slots=True)
class UsedInput:
    """A version that the run used. Of one in another store the digest may not be known here."""

    name: str  # entity/project/collection:vN
    digest: str | None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The run that made a version, and what it used."""

    run: RunFacts
    inputs: Sequence[UsedInput]
    exact: bool  # the inputs were declared for this output; else they are all that the run had used before
    version: str  # of Lineart, that tells it
    untracked: UntrackedInputs = field(default=UntrackedInputs(False))  # what it has read and not declared


def provenance_statement(subject: Subject, made: MadeBy) -> Statement:
    """The provenance of `subject`."""
    run, git = made.run, made.run.capture.get("git") or {}
    metadata = {"invocationId": run.run_id, "startedOn": run.created_at}
    if made.run.finished_at is not None:
        metadata["finishedOn"] = made.run.finished_at
    internal = {
        "user": run.user,
        "exactInputs": made.exact,
        "dirty": git.get("dirty"),
        "untrackedOmitted": made.untracked.omitted or None,
        **{key: run.capture.get(key) for key in _PLACES},
    }
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": _known(
            {
                "config": masked_values(for_others(run.config)),
                "command": run.capture.get("command"),
                "jobType": run.job_type,
            }
        ),
        "internalParameters": _known(internal),
        "resolvedDependencies": [
            *map(_input, made.inputs),
            *map(_untracked, made.untracked.listed),
            *_code(git),
        ],
    }
    builder = {"id": f"urn:lineart:host:{quote(run.host or 'unknown')}", "version": {"lineart": made.version}}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject.name, "digest": {"blake3": subject.digest}}],
        "predicateType": PROVENANCE_TYPE,
        "predicate": {
            "buildDefinition": definition,
            "runDetails": {"builder": builder, "metadata": metadata},
        },
    }


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _input(used: UsedInput) -> dict[str, Any]:
    found: dict[str, Any] = {"name": used.name}
    if used.digest is not None:
        found["digest"] = {"blake3": used.digest}
    else:
        found["uri"] = f"art://{used.name}"  # a descriptor has to have one of the two
    if used.role is not None:
        found["annotations"] = {"role": used.role}
    return found


def _untracked(read: UntrackedInput) -> dict[str, Any]:
    name = mask_address(read.uri)
    found: dict[str, Any] = {"name": name, "annotations": {"untracked": True}}
    if read.digest is not None:
        found["digest"] = {"blake3": read.digest}
    if read.size_bytes is not None:
        found["annotations"]["sizeBytes"] = read.size_bytes
    if read.digest is None or "://" in name:
        found["uri"] = iri(name) if "://" in name else file_url(name)
    return found


def _code(git: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The commit that the run was started in; the remote has neither user nor password."""
    if not isinstance(git.get("commit"), str):
        return []
    found: dict[str, Any] = {"name": "code", "digest": {"gitCommit": git["commit"]}}
    if isinstance(git.get("remote"), str):
        found["uri"] = f"git+{repository_url(git['remote'])}"
    return [found]
