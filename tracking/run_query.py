"""Which runs a filter finds, in which order: over a short log in Python, over a long one in the catalog.

Up to `_SHORT` transactions the log itself is folded (`run_records`): measured for 1,000 runs in 2,500
transactions, that takes 0.1 s less than loading DuckDB and the catalog. Longer logs have a checkpoint of the catalog,
where SQL finds the runs and their rows are fetched page by page. Runs that are still running have newer values outside
of the log (`live`): those are always tested in Python.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..artifacts.names import ProjectName
from ..storage.errors import UsageError
from ..storage.store import project_prefix
from .run_filters import Node, parse_filters, time_text
from .run_keys import value_at
from .run_matching import holds
from .run_order import Rank, SortKey, order_sql, ordered, parse_order, rank
from .run_records import COLUMNS, RUNNING, WITH_FILES, RunLog, RunRecord, document, record_of_row
from .run_sql import RunSql
from .values import merge_values
from .workspace import Workspace

if TYPE_CHECKING:
    from ..lineage import Catalog

_SHORT = 4000  # transactions
_LEAST_PAGE = 500  # a page costs about a hundred rows
_Sortable = tuple[str, str, tuple[Rank, ...]]  # id, created_at, ranks


class RunList(Protocol):
    """The runs found, in order; records are fetched when asked for."""

    def __len__(self) -> int: ...

    def record(self, index: int) -> RunRecord:
        """Number `index`, from 0."""
        ...


class RunReader:
    """The runs of a store's projects. Keeps what it has read of short logs; used by one thread."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._logs: dict[ProjectName, RunLog] = {}

    def record(self, project: ProjectName, run: str) -> RunRecord | None:
        """One run with its newest values; None when there is none."""
        if self.is_short(project):
            found = self._log(project).refresh().record(run)
        else:
            catalog = self.workspace.catalog([project])
            try:
                wanted = [str(project), run]
                rows = catalog.rows(
                    f"SELECT {COLUMNS} FROM {WITH_FILES} WHERE project = ? AND run = ?", wanted
                )
            finally:
                catalog.close()
            found = record_of_row(rows[0]) if rows else None
        return None if found is None else with_live(self.workspace, found)

    def ids(self, project: ProjectName) -> list[tuple[str, str]]:
        """Id and name of every run of a project, oldest first."""
        if self.is_short(project):
            return [(record.id, record.name) for record in self._log(project).refresh().records()]
        catalog = self.workspace.catalog([project])
        try:
            query = "SELECT run, coalesce(nullif(name, ''), run) FROM runs WHERE project = ? ORDER BY created_at, run"
            return [(run, name) for run, name in catalog.rows(query, [str(project)])]
        finally:
            catalog.close()

    def find(self, project: ProjectName, node: Node, order: tuple[SortKey, ...], per_page: int) -> RunList:
        """The runs for which `node` holds."""
        if self.is_short(project):
            return self.find_in_log(project, node, order)
        return self.find_in_catalog(project, node, order, per_page)

    def find_in_log(self, project: ProjectName, node: Node, order: tuple[SortKey, ...]) -> RunList:
        """The same by way of Python."""
        records = [with_live(self.workspace, record) for record in self._log(project).refresh().records()]
        return _Records(_sorted([record for record in records if holds(node, document(record))], order))

    def find_in_catalog(
        self, project: ProjectName, node: Node, order: tuple[SortKey, ...], per_page: int
    ) -> RunList:
        """The same by way of SQL."""
        return _Rows(self.workspace, project, node, order, per_page)

    def is_short(self, project: ProjectName) -> bool:
        """Whether the log is read faster than the catalog is loaded."""
        return not self.workspace.store.log(project_prefix(project.entity, project.project)).reaches(_SHORT)

    def _log(self, project: ProjectName) -> RunLog:
        if project not in self._logs:
            self._logs[project] = RunLog(self.workspace.store, project)
        return self._logs[project]


def parse_query(filters: Mapping[str, Any] | None, order: str | None) -> tuple[Node, tuple[SortKey, ...]]:
    """Filter and order of a query. Raises: UsageError."""
    return parse_filters(filters), parse_order(order)


def with_live(workspace: Workspace, record: RunRecord) -> RunRecord:
    """A run that the log calls running, with what its processes have said since; others as they are."""
    if record.state != RUNNING:
        return record
    from .live import live_state

    live = live_state(workspace, record.project, record.id)
    said = {key: getattr(live, key) for key in ("name", "notes", "group")}
    return replace(
        record,
        **{key: value for key, value in said.items() if value is not None},
        state=live.state,
        config=_merged(record.config, live.config),
        summary=_merged(record.summary, live.summary),
        tags=record.tags if live.tags is None else list(live.tags),
        heartbeat_at=record.heartbeat_at
        if live.heartbeat_s is None
        else time_text(live.heartbeat_s, "heartbeat"),
    )


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(values)
    merge_values(made, changes)
    return made


class _Records:
    """A list of records."""

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def record(self, index: int) -> RunRecord:
        return self._records[index]


class _Rows:
    """The matching rows in a table of a catalog of its own, read page by page."""

    def __init__(
        self,
        workspace: Workspace,
        project: ProjectName,
        node: Node,
        order: tuple[SortKey, ...],
        per_page: int,
    ) -> None:
        self._per_page = max(per_page, _LEAST_PAGE)
        self._catalog: Catalog = workspace.catalog([project])
        weakref.finalize(self, self._catalog.close)
        running = [
            with_live(workspace, record_of_row(row))
            for row in self._catalog.rows(f"SELECT {COLUMNS} FROM {WITH_FILES} WHERE state = '{RUNNING}'")
        ]
        self._known = {record.id: record for record in running if holds(node, document(record))}
        found = self._select(node, order)
        if self._known:
            found += [_sortable(record, order) for record in self._known.values()]
            found = ordered(found, order, lambda item: item[2], lambda item: (item[1], item[0]))
        self._ids = [run for run, _, _ in found]

    def _select(self, node: Node, order: tuple[SortKey, ...]) -> list[_Sortable]:
        """Keep the rows of finished runs that match; what they are ordered by, in order."""
        sql = RunSql()
        where = sql.where(node)
        columns = [sql.rank(key.key) for key in order]
        names = [(f"kind_{at}", f"number_{at}", f"text_{at}") for at in range(len(order))]
        ranks = "".join(
            f", {expression} AS {name}"
            for expressions, named in zip(columns, names, strict=True)
            for expression, name in zip(expressions, named, strict=True)
        )
        query = f"CREATE TEMP TABLE matched AS SELECT *{ranks} FROM {WITH_FILES} WHERE state <> '{RUNNING}' AND {where}"
        try:
            self._catalog.rows(query, sql.parameters)
        except Exception as error:  # DuckDB's, which is not imported here
            if "regex" in str(error).lower() or "invalid perl operator" in str(error).lower():
                raise UsageError(
                    f"filter: $regex: {' '.join(str(error).split())}; expected RE2 syntax"
                ) from error
            raise
        picked = "".join(f", {name}" for named in names for name in named)
        made = "strftime(created_at, '%Y-%m-%dT%H:%M:%S.%fZ')"
        rows = self._catalog.rows(
            f"SELECT run, {made}{picked} FROM matched ORDER BY {order_sql(order, names)}"
        )
        return [(row[0], row[1], _ranks(row[2:])) for row in rows]

    def __len__(self) -> int:
        return len(self._ids)

    def record(self, index: int) -> RunRecord:
        run = self._ids[index]
        if run not in self._known:
            start = index - index % self._per_page
            page = [run for run in self._ids[start : start + self._per_page] if run not in self._known]
            query = f"SELECT {COLUMNS} FROM matched WHERE run IN (SELECT unnest(?::VARCHAR[]))"
            self._known.update((row[1], record_of_row(row)) for row in self._catalog.rows(query, [page]))
        return self._known[run]


def _sorted(records: Iterable[RunRecord], order: tuple[SortKey, ...]) -> list[RunRecord]:
    by_id = {record.id: record for record in records}
    found = [_sortable(record, order) for record in by_id.values()]
    return [
        by_id[run]
        for run, _, _ in ordered(found, order, lambda item: item[2], lambda item: (item[1], item[0]))
    ]


def _sortable(record: RunRecord, order: tuple[SortKey, ...]) -> _Sortable:
    values = document(record)
    return record.id, record.created_at, tuple(rank(value_at(values, key.key)) for key in order)


def _ranks(cells: Sequence[Any]) -> tuple[Rank, ...]:
    return tuple((cells[at], cells[at + 1], cells[at + 2]) for at in range(0, len(cells), 3))
