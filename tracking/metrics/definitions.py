"""`define_metric`: what a metric is drawn against, and what of it stands in the summary."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ...storage.errors import UsageError
from ..values import plain

Goal = Literal["minimize", "maximize"]
SUMMARIES = ("min", "max", "mean", "best", "last", "first", "none")


@dataclass(frozen=True, slots=True)
class Definition:
    """What was said of the metrics that `name` matches (``*`` stands for anything)."""

    name: str
    step_metric: str | None = None
    summary: tuple[str, ...] = ()
    goal: Goal | None = None
    hidden: bool = False
    step_sync: bool = True

    @classmethod
    def checked(
        cls,
        name: str,
        *,
        step_metric: str | None,
        summary: str | None,
        goal: str | None,
        hidden: bool | None,
        step_sync: bool | None,
    ) -> Definition:
        """Raises: UsageError naming the argument, its value and what is expected."""
        if not isinstance(name, str) or not name:
            raise UsageError(
                f"define_metric name {name!r}: expected a metric's name, such as 'loss' or 'val/*'"
            )
        if step_metric is not None and (not isinstance(step_metric, str) or "*" in step_metric):
            raise UsageError(f"define_metric step_metric {step_metric!r}: expected the name of one metric")
        kinds = tuple(part.strip() for part in summary.split(",")) if summary else ()
        kinds = tuple({"copy": "last"}.get(kind, kind) for kind in kinds)
        for kind in kinds:
            if kind not in SUMMARIES:
                raise UsageError(f"define_metric summary {kind!r}: expected some of {', '.join(SUMMARIES)}")
        goal = {"min": "minimize", "max": "maximize"}.get(goal, goal) if goal is not None else None
        if goal not in (None, "minimize", "maximize"):
            raise UsageError(f"define_metric goal {goal!r}: expected 'minimize' or 'maximize'")
        if "best" in kinds and goal is None:
            goal = "minimize"  # as the W&B SDK has it
        sync = step_sync if step_sync is not None else True
        return cls(name, step_metric, kinds, goal, bool(hidden), sync)  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        """For the journal: what differs from the defaults."""
        said = asdict(self)
        return {field.name: said[field.name] for field in fields(self) if said[field.name] != field.default}

    def summary_of(self, known: Aggregate) -> Any:
        """What stands in the summary for the values of a metric, as JSON; None when there is nothing yet."""
        found = {kind: known.get(kind, self.goal) for kind in self.summary}
        said = {kind: plain(value, self.name) for kind, value in found.items() if value is not None}
        if len(self.summary) == 1:
            return next(iter(said.values()), None)
        return said or None

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Definition:
        """What `as_json` made."""
        known = {key: value[key] for key in cls.__slots__ if key in value}
        return cls(**{**known, "summary": tuple(value.get("summary", ()))})


class Definitions:
    """All definitions of a run. An exact name goes before a pattern, a later definition before an earlier one."""

    def __init__(self, definitions: Iterable[Definition] = ()) -> None:
        self._exact: dict[str, Definition] = {}
        self._patterns: dict[str, Definition] = {}
        self._found: dict[str, Definition | None] = {}
        for definition in definitions:
            self.add(definition)

    def __bool__(self) -> bool:
        return bool(self._exact or self._patterns)

    def all(self) -> list[Definition]:
        """Every definition."""
        return [*self._exact.values(), *self._patterns.values()]

    def add(self, definition: Definition) -> None:
        """Take in `definition`, in place of an earlier one of the same name."""
        place = self._patterns if "*" in definition.name else self._exact
        place.pop(definition.name, None)
        place[definition.name] = definition
        self._found.clear()

    def of(self, metric: str) -> Definition | None:
        """What was said of a metric."""
        if metric not in self._found:
            self._found[metric] = self._exact.get(metric) or next(
                (d for d in reversed(self._patterns.values()) if fnmatch.fnmatchcase(metric, d.name)), None
            )
        return self._found[metric]


@dataclass(slots=True)
class Aggregate:
    """The numbers of one metric so far, for its summary."""

    count: int = 0
    total: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    first: Any = None
    last: Any = None

    def add(self, value: Any) -> None:
        """Take in a value. NaN counts for none of minimum, maximum and mean."""
        if self.first is None:
            self.first = value
        self.last = value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:  # noqa: PLR0124 - NaN
            self.count += 1
            self.total += value
            self.minimum = value if self.minimum is None or value < self.minimum else self.minimum
            self.maximum = value if self.maximum is None or value > self.maximum else self.maximum

    def get(self, kind: str, goal: Goal | None) -> Any:
        """The summary of a kind; None when there is none yet."""
        if kind == "best":
            kind = "max" if goal == "maximize" else "min"
        if kind == "mean":
            return self.total / self.count if self.count else None
        return {"min": self.minimum, "max": self.maximum, "first": self.first, "last": self.last}.get(kind)
