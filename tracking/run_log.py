"""What the store says of one run: its claim, and the ops of the log that concern it.

A run is claimed by creating ``runs/<id>/run.json``: of two processes that want the same id one is told. The claim says
where the log stood, so that the run's ops are found without reading what was before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..artifacts.project import Project
from ..storage.digest import is_hex_digest
from ..storage.errors import ConflictError, IntegrityError, NotFoundError
from ..storage.log import Position
from ..storage.sealed import check_seal, seal
from ..storage.transaction import canonical_json, is_time
from .metrics.pieces import run_prefix
from .values import merge_values

FORMAT = 1
CLAIM_LIMIT_BYTES = 1 << 20


def claim_run(project: Project, run: str, time: str) -> bool:
    """Take the id `run`; False when somebody has it. Raises: FormatError, StoreError, CommError."""
    project.demand_understood()  # reads the log: what comes after is read when the run is looked at
    position = project.position
    value = {"format": FORMAT, "run": run, "time": time, "seq": position.seq, "head": position.digest}
    claim = seal(canonical_json(value))
    try:
        project.store.backend.create(_key(project, run), claim)
    except ConflictError:
        # Our own claim, if the answer to the first try was lost: no other process writes the same time.
        return project.store.backend.read(_key(project, run)) == claim
    return True


def decode_claim(data: bytes) -> tuple[str, Position]:
    """When a run was claimed, and where the log stood then. Raises: IntegrityError."""
    try:
        check_seal(data)
        found = json.loads(data)
        time, position = found["time"], Position(found["seq"], found["head"])
        if not is_time(time) or not isinstance(position.seq, int) or not is_hex_digest(position.digest):
            raise ValueError("its values are not what they should be")
    except (ValueError, KeyError, TypeError, RecursionError, IntegrityError) as error:
        raise IntegrityError(f"its run.json is damaged ({error}); restore it from a copy") from error
    return time, position


def _key(project: Project, run: str) -> str:
    return f"{run_prefix(project.name, run)}run.json"


@dataclass(slots=True)
class RunRecord:
    """A run as the log has it; `state` by its writers' ends."""

    run: str
    claimed_at: str = ""
    started: bool = False
    name: str = ""
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    capture: dict[str, Any] = field(default_factory=dict)
    definitions: list[Mapping[str, Any]] = field(default_factory=list)
    set_by_user: set[str] = field(default_factory=set)  # summary keys that no logged value replaces
    files: list[Mapping[str, Any]] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    deleted: bool = False

    @property
    def open_writers(self) -> list[str]:
        """Those that have joined and not ended."""
        return [writer for writer in self.joined if writer not in self.ended]

    def add(self, op: Mapping[str, Any]) -> None:
        """Take in an op of this run."""
        kind, writer = op["op"], op.get("writer") or ""
        if kind in ("run.start", "run.join"):
            self.joined.append(writer)
            self.started = self.started or kind == "run.start"
        elif kind == "run.finish":
            self.ended[writer] = op["state"]
            self.error = op.get("error")
        elif kind == "run.delete":
            self.deleted = True
        for key in ("name", "group", "job_type", "notes"):
            if op.get(key) is not None:
                setattr(self, key, op[key])
        if op.get("tags") is not None:
            self.tags = tuple(op["tags"])
        merge_values(self.config, op.get("config") or {})
        merge_values(self.summary, op.get("summary") or {})
        self.capture = op.get("capture") or self.capture
        self.definitions += op.get("define") or ()
        if op.get("summary_set") is not None:
            self.set_by_user = set(op["summary_set"])
        if op.get("files"):
            self.files.append(op["files"])


def _claim(project: Project, run: str) -> tuple[str, Position]:
    """When a run was claimed (empty: never) and where its ops begin. Raises: IntegrityError, CommError."""
    try:
        claimed_at, position = decode_claim(
            project.store.backend.read(_key(project, run), 0, CLAIM_LIMIT_BYTES)
        )
    except NotFoundError:
        return "", Position()  # a run from before claims existed is in the log all the same
    except IntegrityError as error:
        raise IntegrityError(f"run {project.name}/{run}: {error}") from error
    if not project.log.holds(position):
        position = Position()  # the log is an older copy than the claim: what it has of the run is anywhere
    return claimed_at, position


def uses_of(project: Project, run: str) -> list[str]:
    """The full names of the versions that a run has used so far, by whichever process. Raises: IntegrityError."""
    names: dict[str, None] = {}
    for entry in project.log.read_after(_claim(project, run)[1]):
        for op in entry.transaction.ops:
            if op.get("op") == "edge.use" and op.get("run") == run:
                names[f"{op['project']}/{op['collection']}:v{op['version']}"] = None
    return list(names)


def read_run(project: Project, run: str) -> RunRecord | None:
    """What the log says of a run, None when nobody has claimed the id. Raises: IntegrityError, CommError."""
    claimed_at, position = _claim(project, run)
    record = RunRecord(run, claimed_at)
    for entry in project.log.read_after(position):
        for op in entry.transaction.ops:
            if op.get("run") == run and str(op.get("op", "")).startswith("run."):
                try:
                    record.add(op)
                except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
                    raise IntegrityError(
                        f"transaction {entry.transaction.seq} of {project.name}: op {str(op)[:200]!a} is malformed"
                        f" ({str(error)[:200]})"
                    ) from error
    return record if record.claimed_at or record.started else None
