"""What a call of `log` means: a flat row of plain values at a step, written to the journal, taken into the summary.

Rules, each a test:

- A call writes one row. Without `step` it is the next one; with ``commit=False`` the next call goes on with this row.
- Any step is kept, in any order; an explicit step that is not behind the newest one moves the counter after it.
- Nested names are joined with ``.``; the caller's dictionary is never changed; a call that raises writes nothing.
- Of a metric the summary keeps what `define_metric` says, else the last value; what the user has set there wins.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...artifacts.recorded import shown
from ...storage.errors import UsageError
from ..values import DELETED, Summary, plain, plain_number, plain_text
from .definitions import Aggregate, Definition, Definitions
from .lines import line, row_line

_BIG = 1 << 63
_LAST_STEP = _BIG - 2  # the one after it can still be counted
_LAST_TIME_S = 253402300800.0  # the end of the year 9999
_RESERVED = ("_step", "_timestamp", "_runtime")


class Appends(Protocol):
    """Where lines go: a journal."""

    def append(self, line: bytes) -> None:
        """Write one line."""
        ...


class Recorder:
    """Turns calls into lines. Safe in threads.

    `media` turns a value that is neither number nor text into its JSON form, None for what it does not know.
    """

    def __init__(
        self,
        journal: Callable[[], Appends],
        summary: Summary,
        *,
        media: Callable[[Any], Any] = lambda value: None,
        step: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.step = step
        self.definitions = Definitions()
        self.lock = threading.RLock()
        self._journal = journal
        self._summary = summary
        self._last = summary.kept  # an update of it is all that a call costs
        self._media = media
        self._now = now
        self._open_step: int | None = None  # of the row that the next call goes on with
        self.set_by_user: set[str] = set()  # summary keys that no logged value replaces
        self._aggregates: dict[str, Aggregate] = {}
        self._step_values: dict[str, Any] = {}

    def log(self, data: Mapping[str, Any], step: Any = None, commit: bool | None = None) -> None:
        """Write one row. Raises: TypeError, UsageError."""
        row = {}
        if not isinstance(data, Mapping):
            raise TypeError(
                f"log takes a dictionary with text keys, not {type(data).__name__} {str(data)[:80]}"
            )
        for key, value in data.items():
            kind = type(value)
            if type(key) is not str or not key:
                key = _key(key)  # noqa: PLW2901 - the same name, as text
            # The cheap cases first: they are nearly all. `value - value` is 0 unless it is NaN or infinite.
            if (kind is float and value - value == 0.0) or (kind is int and -_BIG <= value < _BIG):  # noqa: SIM114
                row[key] = value
            elif kind is bool or value is None or (kind is str and value.isascii()):
                row[key] = value
            else:
                try:
                    self._take(row, key, value)
                except RecursionError:
                    raise UsageError(f"metric {key!r}: is nested without end, or too deeply") from None
        now = self._now()
        if "_timestamp" in row:
            now = _timestamp(row.pop("_timestamp"))
        for key in _RESERVED:
            if key in row:
                row.pop(key)  # what `scan_history` gave: logging such a row again is no error
        with self.lock:
            self._write(row, now, self.step if step is None else _step(step), step is None, commit)

    def _write(self, row: dict[str, Any], now: float, step: int, is_next: bool, commit: bool | None) -> None:
        if step > _LAST_STEP:
            raise UsageError(f"log step {step}: is beyond the last one, {_LAST_STEP}")
        if self.definitions:
            self._add_step_metrics(row)
        self._journal().append(row_line(step, now, row, self._open_step == step))
        if commit is False:
            self._open_step = step
            self.step = max(self.step, step)
        else:
            self._open_step = None
            if is_next or step >= self.step:
                self.step = step + 1
        if self.set_by_user or self.definitions:
            self._summarise(row)
        else:
            self._last.update(row)

    def _take(self, row: dict[str, Any], key: str, value: Any) -> None:
        """A value that is not one of the cheap cases."""
        number = plain_number(value)
        if number is not None:
            row[key] = number
        elif isinstance(value, str):
            row[key] = plain_text(value)
        elif isinstance(value, Mapping):
            for inner, item in value.items():
                self._take_any(row, f"{key}.{_key(inner)}", item)
        else:
            row[key] = self._plain(value, key)

    def _take_any(self, row: dict[str, Any], key: str, value: Any) -> None:
        if value is None or type(value) is bool:
            row[key] = value
        else:
            self._take(row, key, value)

    def _plain(self, value: Any, key: str) -> Any:
        if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
            return plain(value.item(), f"metric {key!r}")  # numpy and torch scalars
        found = self._media(value)
        return plain(value, f"metric {key!r}", self._media) if found is None else found

    def take_row(self, row: Mapping[str, Any], time_s: float, step: int) -> None:
        """Take in a row that is in a journal already."""
        self._summarise(row)
        self.step = max(self.step, step + 1)

    # Summary

    def define(self, definition: Definition) -> None:
        """Take in what `define_metric` said."""
        with self.lock:
            self._journal().append(line("define", definition.as_json(), self._now()))
            self.definitions.add(definition)

    def set_summary(self, values: Mapping[str, Any]) -> None:
        """The user has set summary values: they stay whatever is logged."""
        with self.lock:
            self._journal().append(line("summary", values, self._now()))
            for key, value in values.items():
                if value == DELETED:
                    self.set_by_user.discard(key)
                else:
                    self.set_by_user.add(key)

    def preset(self, metric: str, aggregate: Aggregate) -> None:
        """What an earlier part of the run has logged of a metric."""
        self._aggregates[metric] = aggregate

    def _add_step_metrics(self, row: dict[str, Any]) -> None:
        """A metric that is drawn against another one needs its value in the same row."""
        for key in list(row):
            definition = self.definitions.of(key)
            name = definition.step_metric if definition is not None and definition.step_sync else None
            if name is not None and name not in row and name in self._step_values:
                row[name] = self._step_values[name]
        for definition in self.definitions.all():
            if definition.step_metric in row:
                self._step_values[definition.step_metric] = row[definition.step_metric]

    def _summarise(self, row: Mapping[str, Any]) -> None:
        for key, value in row.items():
            if key in self.set_by_user:
                continue
            definition = self.definitions.of(key)
            kinds = definition.summary if definition is not None else ()
            if definition is None or not kinds:
                self._last[key] = value
            elif "none" not in kinds:
                known = self._aggregates.get(key)
                if known is None:
                    known = self._aggregates[key] = Aggregate()
                    if key in self._last:
                        known.add(shown(self._last[key]))
                known.add(shown(value))
                found = definition.summary_of(known)
                if found is not None:
                    self._last[key] = found


def _key(key: Any) -> str:
    """A metric's name, of a kind of text (`numpy.str_`, an enum's). Raises: TypeError."""
    if not isinstance(key, str):
        raise TypeError(f"log takes a dictionary with text keys, not {type(key).__name__} {key!r}")
    if not key:
        raise TypeError("log takes a dictionary with text keys, and '' is empty; give the metric a name")
    return str.__str__(key)


def _step(step: Any) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        if isinstance(step, float) and step.is_integer():
            number = int(step)
        else:
            raise UsageError(
                f"log step {step!r}: expected a whole number, not {type(step).__name__}"
            ) from None
    if number < 0:
        raise UsageError(f"log step {number}: expected 0 or more")
    return number


def _timestamp(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"log _timestamp {value!r}: expected seconds since the epoch")
    if not 0 <= value < _LAST_TIME_S:
        raise UsageError(f"log _timestamp {value!r}: expected seconds since 1970, before the year 10000")
    return float(value)
