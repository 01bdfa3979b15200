"""What the log says about runs, one record a run; folded in Python, without DuckDB.

The catalog's `runs` view (lineage/schema.py) says the same of the same log; a test compares the two. The fold is for
short logs: reading 4,000 transactions costs less than loading DuckDB. Pure but for `RunLog`, which reads.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..artifacts.names import ProjectName, check_name
from ..storage.errors import IntegrityError, InvalidNameError
from ..storage.log import Position
from ..storage.store import Store, project_prefix
from ..storage.transaction import Op, Transaction, actor_of, is_time, time_of
from .values import merge_values

RUNNING = "running"
_FORMS: Mapping[str, type] = {
    "tags": list,
    "capture": dict,
    "exit_code": int,
}  # of the keys of ops; others are text


@dataclass(slots=True)
class RunRecord:
    """All about a run but its history; values are JSON as the log has them, times RFC 3339 in UTC."""

    project: ProjectName
    id: str
    name: str = ""
    state: str = RUNNING
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    group: str | None = None
    job_type: str | None = None
    capture: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    error: str | None = None
    user: str | None = None
    host: str | None = None
    created_at: str = ""
    finished_at: str | None = None
    heartbeat_at: str | None = None
    files: list[Mapping[str, Any]] = field(default_factory=list)  # of its ops, oldest first
    history: dict[str, int] = field(default_factory=dict)  # writer → bytes of its journal that the store has

    @property
    def path(self) -> str:
        """``entity/project/id``."""
        return f"{self.project}/{self.id}"

    @property
    def duration_s(self) -> float | None:
        """Seconds from the start to the end or, of a run that has none, to the last sign of life."""
        end = self.finished_at or self.heartbeat_at
        if end is None:
            return None
        return (parse_time(end) - parse_time(self.created_at)).total_seconds()


def parse_time(text: str) -> datetime.datetime:
    """A time of the log."""
    return datetime.datetime.fromisoformat(text)


@dataclass(slots=True)
class _Events:
    """What was said about one run so far; a later value wins, None says nothing."""

    first: str
    last: str
    finished: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    joined: dict[str, int] = field(default_factory=dict)
    ended: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    files: list[Mapping[str, Any]] = field(default_factory=list)
    history: dict[str, int] = field(default_factory=dict)
    deleted: bool = False

    def add(self, op: Op, transaction: Transaction, order: int) -> None:
        """Take in one op; `order` grows from op to op."""
        event = op["op"]
        then = op.get("started_at") or op.get("ended_at")
        time: str = str(then) if is_time(then) else time_of(op, transaction)
        actor = actor_of(op, transaction)
        self.first, self.last = min(self.first, time), max(self.last, time)
        for key in ("name", "job_type", "group", "tags", "notes", "capture", "exit_code", "error"):
            if op.get(key) is not None:
                if not isinstance(op[key], _FORMS.get(key, str)):
                    raise TypeError(f"{key} is {type(op[key]).__name__}")
                self.values[key] = op[key]
        for key, who in (("user", actor.get("user")), ("host", actor.get("host"))):
            if who is not None:
                self.values[key] = who
        if op.get("config"):
            merge_values(self.config, op["config"])
        if op.get("summary"):
            merge_values(self.summary, op["summary"])
        if op.get("files"):
            self.files.append(op["files"])
        merge_history(self.history, op.get("history"))
        writer = op.get("writer") or ""
        if event in ("run.start", "run.join"):
            self.joined[writer] = order
        elif event == "run.finish":
            self.finished = max(self.finished or "", time)
            before = self.ended.get(writer, (0, None))[1]
            self.ended[writer] = (order, op.get("state") or before)
        elif event == "run.delete":
            self.deleted = True

    def state(self) -> str:
        """Running while a process is left; else how the last one ended, or one that failed beside it."""
        if not self.ended or any(writer not in self.ended for writer in self.joined):
            return RUNNING
        ends = sorted((order, state, writer) for writer, (order, state) in self.ended.items())
        known = [writer for _, _, writer in ends if writer in self.joined]
        since = self.joined[known[-1]] if known else None
        failed = [
            s for order, s, _ in ends if s not in (None, "finished") and since is not None and order > since
        ]
        return failed[-1] if failed and failed[-1] else next((s for _, s, _ in reversed(ends) if s), RUNNING)

    def record(self, project: ProjectName, run: str) -> RunRecord:
        """The run as it is now."""
        state, values = self.state(), self.values
        is_over = state != RUNNING
        return RunRecord(
            project=project,
            id=run,
            name=values.get("name") or run,
            state=state,
            config=dict(self.config),
            summary=dict(self.summary),
            tags=list(values.get("tags") or ()),
            notes=values.get("notes"),
            group=values.get("group"),
            job_type=values.get("job_type"),
            capture=values.get("capture") or {},
            exit_code=values.get("exit_code") if is_over else None,
            error=values.get("error") if state not in (RUNNING, "finished") else None,
            user=values.get("user"),
            host=values.get("host"),
            created_at=self.first,
            finished_at=self.finished if is_over else None,
            heartbeat_at=self.finished if is_over else self.last,
            files=list(self.files),
            history=dict(self.history),
        )


def merge_history(known: dict[str, int], said: object) -> None:
    """Take in what an op says of how much of each journal the store has."""
    for writer, end in said.items() if isinstance(said, Mapping) else ():
        if isinstance(writer, str) and isinstance(end, int):
            known[writer] = max(known.get(writer, 0), end)


class RunFold:
    """The runs of one project, folded transaction by transaction."""

    def __init__(self, project: ProjectName) -> None:
        self.project = project
        self._runs: dict[str, _Events] = {}
        self._order = 0

    def add(self, transactions: Iterable[Transaction]) -> None:
        """Take in the transactions that follow."""
        for transaction in transactions:
            for op in transaction.ops:
                if op.get("op") not in _RUN_OPS:
                    continue
                self._order += 1
                try:
                    events = self._runs.get(op["run"])
                    if events is None:
                        check_name(op["run"], "run")
                        then = op.get("started_at")
                        time = str(then) if is_time(then) else time_of(op, transaction)
                        events = self._runs[op["run"]] = _Events(time, time)
                    events.add(op, transaction, self._order)
                except (
                    KeyError,
                    TypeError,
                    AttributeError,
                    ValueError,
                    RecursionError,
                    InvalidNameError,
                ) as error:
                    raise IntegrityError(
                        f"transaction {transaction.seq} of {self.project}: op {str(op)[:200]!a} is malformed"
                        f" ({str(error)[:200]})"
                    ) from error

    def records(self) -> list[RunRecord]:
        """The runs that were not deleted, oldest first."""
        return [events.record(self.project, run) for run, events in self._runs.items() if not events.deleted]

    def record(self, run: str) -> RunRecord | None:
        """One run; None when there is none, or it was deleted."""
        events = self._runs.get(run)
        return None if events is None or events.deleted else events.record(self.project, run)


_RUN_OPS = {"run.start", "run.join", "run.update", "run.files", "run.finish", "run.delete"}


class RunLog:
    """The runs of a project, read from its log as far as it has grown."""

    def __init__(self, store: Store, project: ProjectName) -> None:
        self._log = store.log(project_prefix(project.entity, project.project))
        self._position = Position()
        self._fold = RunFold(project)

    def refresh(self) -> RunFold:
        """The fold of all that is committed. Raises: CommError, IntegrityError."""
        is_first = self._position.seq < 0
        entries = list(self._log.read_after(self._position))
        if is_first:
            self._log.demand_no_hole(entries[-1].position if entries else self._position)
        if entries:
            self._fold.add(entry.transaction for entry in entries)
            self._position = entries[-1].position
        return self._fold


COLUMNS = (
    "project, run, name, state, config::VARCHAR, summary::VARCHAR, tags, notes, group_name, job_type,"
    " capture::VARCHAR, exit_code, error, user_name, host, strftime(created_at, '%Y-%m-%dT%H:%M:%S.%fZ'),"
    " strftime(finished_at, '%Y-%m-%dT%H:%M:%S.%fZ'), files, history"
)
WITH_FILES = (
    "(FROM runs LEFT JOIN (SELECT run_id,"
    " list(files ORDER BY position) FILTER (files IS NOT NULL) AS files,"
    " list(history) FILTER (history IS NOT NULL) AS history FROM run_events"
    " WHERE files IS NOT NULL OR history IS NOT NULL GROUP BY run_id) USING (run_id))"
)


def record_of_row(row: tuple[Any, ...]) -> RunRecord:
    """A record from the `COLUMNS` of `WITH_FILES`: the catalog's `runs` view and what is recorded of their files."""
    project, run, name, state, config, summary, tags, notes, group, job_type, capture, *rest = row
    exit_code, error, user, host, created_at, finished_at, files, said = rest
    history: dict[str, int] = {}
    for text in said or ():
        merge_history(history, json.loads(text))
    entity, _, short = project.partition("/")
    return RunRecord(
        ProjectName(entity, short),
        run,
        name or run,
        state,
        _json(config),
        _json(summary),
        list(tags or ()),
        notes,
        group,
        job_type,
        _json(capture),
        exit_code,
        error,
        user,
        host,
        created_at,
        finished_at,
        finished_at or created_at,
        [json.loads(text) for text in files or ()],
        history,
    )


def _json(text: str | None) -> dict[str, Any]:
    return json.loads(text or "{}") or {}


def document(record: RunRecord) -> Mapping[str, Any]:
    """What filters and orders look at: JSON under the names of `run_keys.ROOTS`."""
    return {
        "config": record.config,
        "summary": record.summary,
        "tags": record.tags,
        "state": record.state,
        "name": record.id,
        "display_name": record.name,
        "group": record.group,
        "job_type": record.job_type,
        "created_at": record.created_at,
        "heartbeat_at": record.heartbeat_at,
        "duration": record.duration_s,
        "user": record.user,
        "host": record.host,
        "sweep": None,
        "notes": record.notes,
    }
