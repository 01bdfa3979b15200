"""What may stand in a column of a table: types that were asked for, or that its first values show."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from ...storage.errors import UsageError
from .base import Media
from .table_columns import family

_WIDER = {
    "float": {"float", "int"},
    "datetime": {"datetime"},
    "date": {"date"},
    "json": {"json", "dict", "list"},
}
_ALIKE = ({"int", "float"}, {"datetime", "date"}, {"list"})


class ColumnRule:
    """The kinds of values that one column takes in."""

    def __init__(self, dtype: Any = None, *, optional: bool = True, mixed: bool = False) -> None:
        """`dtype` is a Python or numpy type, a media class, None to take what comes first, or object for anything."""
        self.optional = optional
        self._fixed = dtype is not None
        self._any = mixed or dtype is object or dtype is Any
        self._families: set[str] = set()
        self.seen: set[type] = set()  # types that were checked before and are taken in
        if self._fixed and not self._any:
            found: Any = getattr(dtype, "type", dtype)  # numpy's dtype objects hold the class
            if not isinstance(found, type):
                raise UsageError(f"Table dtype {dtype!r}: expected a type such as int, float, str or Image")
            if issubclass(found, Media):
                self._families = {f"media {found.__name__}"}
            elif found is datetime.date:
                self._families = {"date"}
            else:
                self._families = set(_WIDER.get(family(found), {family(found)}))

    def check(self, types: set[type], where: str) -> None:
        """Take in values of these types. Raises: UsageError when the column does not take one of them."""
        for kind_of_value in types:
            found = family(kind_of_value)
            if found == "null":
                if not self.optional:
                    raise UsageError(
                        f"{where}: None, but the column is not optional; give a value, or optional=True"
                    )
            elif found == "bytes":
                raise UsageError(
                    f"{where}: a table does not keep bytes; decode them to text, or make a media value of them"
                )
            elif not self._any and found not in self._families:
                self._take(found, kind_of_value, where)
        self.seen |= types

    def _take(self, found: str, kind_of_value: type, where: str) -> None:
        alike = any({*self._families, found} <= kinds for kinds in _ALIKE)
        if self._families and (self._fixed or not alike):
            expected = " or ".join(sorted(self._families))
            hint = "" if self._fixed else "; Table(…, allow_mixed_types=True) takes values of several kinds"
            raise UsageError(f"{where}: {kind_of_value.__name__} in a column of {expected}{hint}")
        self._families.add(found)


def rules_for(columns: Sequence[Any], dtype: Any, optional: Any, mixed: bool) -> list[ColumnRule]:
    """A rule for each column; `dtype` and `optional` are one for all, or one for each. Raises: UsageError."""

    def one_each(given: Any, name: str) -> list[Any]:
        if not isinstance(given, list | tuple):
            return [given] * len(columns)
        if len(given) != len(columns):
            raise UsageError(f"Table {name}: {len(given)} given for {len(columns)} columns")
        return list(given)

    return [
        ColumnRule(kind, optional=bool(may_lack), mixed=mixed)
        for kind, may_lack in zip(one_each(dtype, "dtype"), one_each(optional, "optional"), strict=True)
    ]
