"""Reading the catalog's edges for a walk: a query for each level, and for deep walks all that can be reached at once.

A chain of 10,000 versions must not be 10,000 queries. Behind a certain depth the pairs of runs of which one made what
the other used are read as hashes (a fifth of a second for two million edges), and walked in memory; of the runs that
were reached that way, the edges are read. Two names with one hash only make that a little more than is needed: what
belongs to the graph is decided by the names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .catalog import Catalog
from .parts import Part, Use, parts_of
from .schema import rows_where

_NAMES = "IN (SELECT unnest(?::VARCHAR[]))"
_LEVELS = 4  # by queries; among a million versions each costs about 0.03 s, and looking ahead half a second

# Pairs of runs, the second of which made something that the first used; a link counts as its source.
_PAIRS = """
WITH RECURSIVE made AS (
    SELECT version_id, run_id FROM productions WHERE is_new
    UNION
    SELECT l.link_id, m.run_id FROM version_links l JOIN made m ON m.version_id = l.source_id WHERE l.is_new),
pairs AS MATERIALIZED (
    SELECT hash({0}.run_id) AS here, hash({1}.run_id) AS there
    FROM (SELECT run_id, version_id FROM uses UNION ALL SELECT run_id, input_id FROM derivations) used
    JOIN made USING (version_id))
SELECT here, there FROM pairs
"""
# Most stores have no link that a run has used: then there is nothing to recur over.
_PLAIN_PAIRS = """
WITH pairs AS MATERIALIZED (
    SELECT hash({0}.run_id) AS here, hash({1}.run_id) AS there
    FROM (SELECT run_id, version_id FROM uses UNION ALL SELECT run_id, input_id FROM derivations) used
    JOIN productions made USING (version_id) WHERE made.is_new)
SELECT here, there FROM pairs
"""
# Half of all runs are an end that no other leads to; where a walk begins, its own pairs are read.
_INNER = "WHERE here IN (SELECT there FROM pairs) ORDER BY 1"
_FIRST = "WHERE here IN (SELECT hash(unnest(?::VARCHAR[])))"
_Pairs = list[tuple[int, int]]


@dataclass(slots=True)
class _Ahead:
    """The edges of all runs that lie in one direction."""

    runs: dict[str, list[str]] = field(default_factory=dict)  # of each version: who made it, or who used it
    links: dict[str, list[str]] = field(default_factory=dict)


class EdgeReader:
    """Reads edges as a walk comes to them, level by level. It remembers what it has read."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._parts: dict[str, list[Part]] = {}
        self._ahead: dict[bool, _Ahead] = {}

    def runs(self, versions: Sequence[str], level: int, *, up: bool) -> Mapping[str, list[str]]:
        """By version the runs that made it, or those that used it; `level` says how deep the walk is."""
        if level > _LEVELS and up not in self._ahead:
            self._look_ahead(versions, up=up)
        if up in self._ahead:
            return self._ahead[up].runs
        if up:
            query = f"SELECT version_id, run_id FROM productions WHERE is_new AND version_id {_NAMES}"
        else:
            query = f"SELECT DISTINCT version_id, run_id FROM uses WHERE version_id {_NAMES} ORDER BY ALL"
        return _grouped(self._catalog.rows(query, [versions]))

    def links(self, versions: Sequence[str], *, up: bool) -> Mapping[str, list[str]]:
        """By version what it is a link of, or the links that it has."""
        if up in self._ahead:
            return self._ahead[up].links
        here, there = ("link_id", "source_id") if up else ("source_id", "link_id")
        query = f"SELECT DISTINCT {here}, {there} FROM version_links WHERE is_new AND {here} {_NAMES} ORDER BY ALL"
        return _grouped(self._catalog.rows(query, [versions]))

    def load(self, runs: Iterable[str]) -> None:
        """Read the parts of these runs; those that are known are not read again."""
        wanted = sorted({run for run in runs if run not in self._parts})
        if wanted:
            self._load(wanted, f"WHERE run_id {_NAMES}", wanted)

    def parts(self, run: str) -> list[Part]:
        """The parts of a run that was loaded."""
        return self._parts[run]

    def _look_ahead(self, versions: Sequence[str], *, up: bool) -> None:
        catalog, found = self._catalog, _Ahead()
        pairs = catalog.rows(
            "SELECT DISTINCT link_id, source_id FROM version_links WHERE is_new ORDER BY ALL"
        )
        found.links = _grouped(pairs if up else [(source, link) for link, source in pairs])
        start, known = list(versions), set(versions)
        for version in start:  # it grows meanwhile
            following = [other for other in found.links.get(version, ()) if other not in known]
            known.update(following)
            start += following
        first = self.runs(start, 0, up=up)
        start_runs = sorted({run for runs in first.values() for run in runs})
        hashed = catalog.rows("SELECT hash(unnest(?::VARCHAR[]))", [start_runs])
        nearest = catalog.rows(self._query_of_pairs(up=up) + _FIRST, [start_runs])
        begin = [row[0] for row in hashed] + [there for _, there in nearest]
        reached = list(_reached(begin, self._inner_pairs(up=up)))
        only = "WHERE hash(run_id) IN (SELECT unnest(?::UBIGINT[]))"
        made = f"SELECT version_id, run_id FROM productions {only} AND is_new"
        used = f"SELECT DISTINCT version_id, run_id FROM uses {only} ORDER BY ALL"
        found.runs = _grouped(catalog.rows(made if up else used, [reached]))
        runs = sorted({run for runs in found.runs.values() for run in runs} - set(self._parts))
        self._load(runs, only, reached)
        self._ahead[up] = found

    def _inner_pairs(self, *, up: bool) -> _Pairs:
        """Kept with the catalog until it changes."""
        known: dict[bool, _Pairs] = self._catalog.derived.setdefault("pairs of runs", {})
        if up not in known:
            known[up] = self._catalog.rows(self._query_of_pairs(up=up) + _INNER)
        return known[up]

    def _query_of_pairs(self, *, up: bool) -> str:
        used_links = "SELECT 1 FROM version_links l JOIN uses u ON u.version_id = l.link_id LIMIT 1"
        derived_links = "SELECT 1 FROM version_links l JOIN derivations d ON d.input_id = l.link_id LIMIT 1"
        has_links = self._catalog.rows(used_links) or self._catalog.rows(derived_links)
        query = _PAIRS if has_links else _PLAIN_PAIRS
        return query.format(*(("used", "made") if up else ("made", "used")))

    def _load(self, runs: Sequence[str], only: str, given: Sequence[Any]) -> None:
        uses: dict[str, list[Use]] = {run: [] for run in runs}
        for run, version, role, position in self._catalog.rows(
            # As the view `edges` has it; that would look at all uses first.
            "SELECT run_id, version_id, max(role),"
            " coalesce(min(position) FILTER (starts_with(run_id, project || '/')), min(position))"
            f" FROM uses WHERE {rows_where('uses', only)} GROUP BY run_id, version_id",
            [given],
        ):
            if run in uses:
                uses[run].append(Use(version, role, position))
        productions: dict[str, list[tuple[str, int, bool]]] = {}
        for run, version, position, exact in self._catalog.rows(
            "SELECT run_id, version_id, position, exact FROM productions"
            f" WHERE is_new AND {rows_where('productions', only)}",
            [given],
        ):
            productions.setdefault(run, []).append((version, position, exact))
        derivations: dict[str, list[tuple[str, str]]] = {}
        for run, output, source in self._catalog.rows(
            # Of the production that made the output: what a later logging of the same content declared is no origin.
            "SELECT d.run_id, d.output_id, d.input_id FROM (SELECT * FROM derivations"
            f" {only}) d JOIN productions p"
            " ON p.run_id = d.run_id AND p.version_id = d.output_id AND p.position = d.position WHERE p.is_new",
            [given],
        ):
            derivations.setdefault(run, []).append((output, source))
        for run in runs:
            self._parts[run] = parts_of(run, uses[run], productions.get(run, []), derivations.get(run, []))


def _reached(start: Iterable[int], pairs: _Pairs) -> set[int]:
    """All that can be reached from `start` over `pairs`, which are sorted."""
    found = set(start)
    waiting = list(found)
    while waiting:
        here = waiting.pop()
        at = bisect_left(pairs, (here,))
        while at < len(pairs) and pairs[at][0] == here:
            there = pairs[at][1]
            if there not in found:
                found.add(there)
                waiting.append(there)
            at += 1
    return found


def _grouped(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in rows:
        groups.setdefault(key, []).append(value)
    return groups
