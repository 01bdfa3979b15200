"""What the journals of a run say: its config, summary and changes, for a run that is still going or has died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from ..storage.errors import UsageError
from .metrics.definitions import Aggregate, Definition, Definitions
from .metrics.history import RunHistory
from .metrics.lines import read_lines
from .metrics.recorder import Recorder
from .run_log import RunRecord
from .values import Summary, changes


class _Nowhere:
    """A journal for lines that are in one already."""

    def append(self, line: bytes) -> None:
        """Drop the line."""


@dataclass(slots=True)
class Replay:
    """One writer's journal, read through. Times in seconds since the epoch."""

    head: Mapping[str, Any] = field(default_factory=dict)  # the first line: writer, host, pid, role, start
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)  # name, notes, tags, group, capture as set later
    alerts: list[Mapping[str, Any]] = field(default_factory=list)
    definitions: list[Mapping[str, Any]] = field(default_factory=list)
    pending: list[Mapping[str, Any]] = field(default_factory=list)  # ops that could not be committed
    set_by_user: set[str] = field(default_factory=set)  # summary keys that no logged value replaces
    steps: int = 0  # the step after the newest row
    last_s: float = 0.0

    @property
    def writer(self) -> str:
        """Who wrote it."""
        return str(self.head.get("writer", ""))


def replay(data: bytes, known: RunRecord | None = None) -> Replay:
    """Read a journal of a run of which the log has `known`. Its config and summary are what it changes of that."""
    before = known or RunRecord("")
    found, summary = Replay(), Summary()
    summary.load(before.summary)
    recorder = Recorder(_Nowhere, summary)
    for definition in before.definitions:
        recorder.definitions.add(Definition.of_json(definition))
    recorder.set_by_user |= before.set_by_user
    for line in read_lines(data):
        try:
            _take(line, found, recorder, summary)
        except (KeyError, TypeError, AttributeError, ValueError, UsageError):
            continue  # nothing that a client of ours has written: passed over like a torn one
    found.summary, found.steps = changes(before.summary, summary.as_dict()), recorder.step
    found.set_by_user = recorder.set_by_user
    return found


def merged(replays: Iterable[Replay]) -> Replay:
    """Several writers as one; what was written later wins. Config and summary may have `DELETED` in them."""
    whole = Replay()
    for part in sorted(replays, key=lambda found: found.last_s):
        whole.head = whole.head or part.head
        whole.config.update(part.config)
        whole.summary.update(part.summary)
        whole.changes.update(part.changes)
        whole.alerts += part.alerts
        whole.definitions += part.definitions
        whole.set_by_user |= part.set_by_user
        whole.steps = max(whole.steps, part.steps)
        whole.last_s = max(whole.last_s, part.last_s)
    return whole


def defined_aggregates(
    history: RunHistory, definitions: Sequence[Mapping[str, Any]], set_by_user: Set[str] = frozenset()
) -> dict[str, tuple[Definition, Aggregate]]:
    """Of each metric whose summary is defined: all that was logged of it, by whichever process."""
    known = Definitions(Definition.of_json(definition) for definition in definitions)
    if not any(definition.summary for definition in known.all()):
        return {}
    found: dict[str, Definition] = {}
    metrics = history.keys()
    for key in metrics:
        definition = known.of(key)
        if definition is not None and definition.summary and "none" not in definition.summary:
            found[key] = definition
    wanted = [key for key in found if key not in set_by_user]
    return {key: (found[key], aggregate) for key, aggregate in history.aggregates(wanted).items()}


def defined_summary(
    history: RunHistory, definitions: Sequence[Mapping[str, Any]], set_by_user: Set[str]
) -> dict[str, Any]:
    """What `define_metric` has asked for, over the rows of all processes of a run."""
    said = {
        key: definition.summary_of(aggregate)
        for key, (definition, aggregate) in defined_aggregates(history, definitions, set_by_user).items()
    }
    return {key: value for key, value in said.items() if value is not None}


def _take(line: Mapping[str, Any], found: Replay, recorder: Recorder, summary: Summary) -> None:
    if "log" in line:
        recorder.take_row(line["log"], line["time"], line["step"])
    elif "writer" in line:
        found.head = line
    elif "define" in line:
        recorder.define(Definition.of_json(line["define"]))
        found.definitions.append(line["define"])
    elif "summary" in line:
        summary.load(line["summary"])
        recorder.set_summary(line["summary"])
    elif "config" in line:
        found.config.update(line["config"])
    elif "set" in line:
        found.changes.update(line["set"])
    elif "alert" in line:
        found.alerts.append(line["alert"])
    elif "op" in line:
        found.pending.append(line["op"])
    elif "done" in line:
        found.pending = [op for op in found.pending if op.get("id") != line["done"]]
    found.last_s = max(found.last_s, line.get("time", 0.0))
