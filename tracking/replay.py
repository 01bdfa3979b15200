"""What the journals of a run say: its config, summary and changes, for a run that is still going or has died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .metrics.definitions import Definition
from .metrics.lines import read_lines
from .metrics.recorder import Recorder
from .values import Summary, merge_values


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
    steps: int = 0  # the step after the newest row
    last_s: float = 0.0

    @property
    def writer(self) -> str:
        """Who wrote it."""
        return str(self.head.get("writer", ""))


def replay(data: bytes) -> Replay:
    """Read a journal."""
    found, summary = Replay(), Summary()
    recorder = Recorder(_Nowhere, summary)
    for line in read_lines(data):
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
    found.summary, found.steps = summary.as_dict(), recorder.step
    return found


def merged(replays: Iterable[Replay]) -> Replay:
    """Several writers as one; what was written later wins."""
    whole = Replay()
    for part in sorted(replays, key=lambda found: found.last_s):
        whole.head = whole.head or part.head
        merge_values(whole.config, part.config)
        whole.summary.update(part.summary)
        whole.changes.update(part.changes)
        whole.alerts += part.alerts
        whole.definitions += part.definitions
        whole.steps = max(whole.steps, part.steps)
        whole.last_s = max(whole.last_s, part.last_s)
    return whole
