"""`JoinedTable`: two tables and the column that they share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ...storage.errors import IntegrityError, UsageError
from ..values import plain
from .base import FileSink, FileSource, Media
from .table import Table

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ("outer", "inner", "left")


class JoinedTable(Media):
    """Two tables joined by a key: a column of both, or one of each as ``["id", "image_id"]``.

    Both tables are kept as they are; `join` puts their rows together.

    >>> left = Table(columns=["id", "loss"], data=[[1, 0.5], [2, 0.25]])
    >>> right = Table(columns=["id", "label"], data=[[2, "cat"]])
    >>> JoinedTable(left, right, "id").join("inner").data
    [[2, 0.25, 'cat']]
    """

    kind = "joined-table"

    def __init__(self, table_1: Table, table_2: Table, join_key: str | int | Sequence[str | int]) -> None:
        """Raises: UsageError when a table lacks the key."""
        for name, table in (("table_1", table_1), ("table_2", table_2)):
            if not isinstance(table, Table):
                raise UsageError(f"JoinedTable {name}: {type(table).__name__} is not a Table")
        keys = [join_key, join_key] if isinstance(join_key, str | int) else list(join_key)
        if len(keys) != 2:
            raise UsageError(f"JoinedTable join_key {join_key!r}: expected a column, or one for each table")
        for name, table, key in zip(("table_1", "table_2"), (table_1, table_2), keys, strict=True):
            if key not in table.columns:
                raise UsageError(f"JoinedTable join_key: {name} has no column {key!r}, only {table.columns}")
        self.table_1 = table_1
        self.table_2 = table_2
        self.join_key = join_key if isinstance(join_key, str | int) else keys
        self._keys = keys

    def join(self, how: str = "outer") -> Table:
        """The rows of both with the same key side by side, the key once.

        "outer" also gives rows that have no partner (with None in place of it), "left" those of `table_1`, "inner"
        none. None is the key of nothing. Columns of the same name get ``_1`` and ``_2`` behind it.
        Raises: UsageError for another `how`.
        """
        if how not in _KINDS:
            raise UsageError(f"JoinedTable how {how!r}: expected one of {', '.join(_KINDS)}")
        first, second = self.table_1.columns, self.table_2.columns
        at_1, at_2 = first.index(self._keys[0]), second.index(self._keys[1])
        rest = second[:at_2] + second[at_2 + 1 :]
        names = _apart(first, rest)
        partners: dict[str, list[int]] = {}
        rows_2 = [row for _, row in self.table_2.iterrows()]
        for i, row in enumerate(rows_2):
            if row[at_2] is not None:
                partners.setdefault(_key(row[at_2]), []).append(i)
        used: set[int] = set()
        rows: list[list[Any]] = []
        for _, row in self.table_1.iterrows():
            found = partners.get(_key(row[at_1]), []) if row[at_1] is not None else []
            used.update(found)
            rows += [[*row, *_without(rows_2[i], at_2)] for i in found]
            if not found and how != "inner":
                rows.append([*row, *[None] * len(rest)])
        if how == "outer":
            for i, row in enumerate(rows_2):
                if i not in used:
                    empty: list[Any] = [None] * len(first)
                    empty[at_1] = row[at_2]
                    rows.append([*empty, *_without(row, at_2)])
        return Table(columns=names, data=rows, allow_mixed_types=True)

    def get_dataframe(self, how: str = "outer") -> pd.DataFrame:
        """What `join` gives, as a DataFrame."""
        return self.join(how).get_dataframe()

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep both tables."""
        tables = {"table_1": self.table_1.to_value(sink), "table_2": self.table_2.to_value(sink)}
        return {"_type": self.kind, **tables, "join_key": self.join_key}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The joined table whose value this is."""
        try:
            tables = [Table.from_value(value[name], source) for name in ("table_1", "table_2")]
            return cls(tables[0], tables[1], value["join_key"])
        except (KeyError, UsageError) as error:
            raise IntegrityError(f"joined-table value: {error}; run art verify") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JoinedTable):
            return NotImplemented
        same = self._keys == other._keys
        return same and self.table_1 == other.table_1 and self.table_2 == other.table_2

    __hash__ = None  # type: ignore[assignment]  # its tables change

    def __repr__(self) -> str:
        return f"<JoinedTable by {self.join_key!r}: {self.table_1!r}, {self.table_2!r}>"


def _key(value: Any) -> str:
    """Equal for keys that are equal, also lists: 1 and 1.0 are one key, 1 and True are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(plain(value, "join key"), sort_keys=True)


def _without(row: list[Any], index: int) -> list[Any]:
    return row[:index] + row[index + 1 :]


def _apart(first: Sequence[str | int], second: Sequence[str | int]) -> list[str | int]:
    """The names of both, none twice."""
    both = set(first) & set(second)
    names: list[str | int] = []
    for part, columns in (("_1", first), ("_2", second)):
        for name in columns:
            chosen: str | int = f"{name}{part}" if name in both else name
            while chosen in names:
                chosen = f"{chosen}{part}"
            names.append(chosen)
    return names
