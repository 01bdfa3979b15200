"""Which versions were made from something that is not the newest any more, directly or further upstream.

An input is out of date when ``latest`` of its collection points elsewhere now, or when a file that it refers to is not
what it was. Links are followed: a link is as stale as its source, and it does not matter that the source's collection
has gone on. One query: upwards from the versions judged, then down again from what is out of date.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..artifacts.manifest import Entry
from ..artifacts.references import References
from ..artifacts.version import Version
from ..storage.errors import NotFoundError, ReferenceChangedError
from .catalog import Catalog

REFERENCE_TIMEOUT_S = 60.0
_ASKED_AT_ONCE = 16

# What each version was made from, as `parts_of` in `graph.py` has it: what was declared, else all that its run had used
# before. Numbers stand for names: with them the walks take a quarter of the time.
_MADE = """
ids AS MATERIALIZED (
    SELECT version_id, project, collection, version, (row_number() OVER ())::INTEGER AS id FROM version_creations),
named AS (
    SELECT p.version_id AS output, d.input_id AS input, false AS is_link
    FROM productions p JOIN derivations d
    ON d.run_id = p.run_id AND d.output_id = p.version_id AND d.position = p.position
    WHERE p.is_new AND p.exact
    UNION ALL
    SELECT p.version_id, u.version_id, false
    FROM productions p JOIN uses u ON u.run_id = p.run_id AND u.project = p.project AND u.position < p.position
    WHERE p.is_new AND NOT p.exact
    UNION ALL
    SELECT link_id, source_id, true FROM links WHERE is_new),
made AS MATERIALIZED (
    SELECT DISTINCT o.id AS output, i.id AS input, is_link
    FROM named JOIN ids o ON o.version_id = output JOIN ids i ON i.version_id = input WHERE o.id <> i.id),
judged AS MATERIALIZED (SELECT id FROM ids WHERE version_id IN (SELECT unnest($judged::VARCHAR[]))),
above(id) AS MATERIALIZED (
    SELECT id FROM judged
    UNION
    SELECT m.input FROM made m JOIN above a ON m.output = a.id)
"""
_STALE = f"""
WITH RECURSIVE {_MADE},
newest AS (
    SELECT i.id, a.version_id AS newest FROM ids i JOIN above USING (id)
    JOIN aliases a ON a.project = i.project AND a.collection = i.collection
    WHERE a.alias = 'latest' AND a.version <> i.version),
bad AS MATERIALIZED (
    SELECT m.output, m.input, n.newest FROM made m JOIN above a ON m.output = a.id
    JOIN newest n ON n.id = m.input WHERE NOT m.is_link
    UNION ALL
    SELECT id, id, NULL FROM ids WHERE version_id IN (SELECT unnest($changed::VARCHAR[]))),
down(id, via) USING KEY (id) AS MATERIALIZED (
    SELECT DISTINCT output, NULL::INTEGER FROM bad
    UNION
    SELECT m.output, min(d.id) FROM made m JOIN down d ON m.input = d.id JOIN above a ON a.id = m.output
    LEFT JOIN recurring.down known ON known.id = m.output
    WHERE known.id IS NULL GROUP BY m.output),
shown(id) AS MATERIALIZED (
    SELECT id FROM down JOIN judged USING (id)
    UNION
    SELECT d.via FROM down d JOIN shown s ON s.id = d.id WHERE d.via IS NOT NULL),
causes AS (
    SELECT b.output AS id, list(struct_pack(input := i.version_id, newest := b.newest) ORDER BY i.version_id) AS causes
    FROM bad b JOIN shown ON shown.id = b.output JOIN ids i ON i.id = b.input GROUP BY b.output)
SELECT i.version_id, v.version_id, c.causes
FROM down d JOIN shown USING (id) JOIN ids i ON i.id = d.id
LEFT JOIN ids v ON v.id = d.via LEFT JOIN causes c ON c.id = d.id
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """What is out of date: an input and the version that is the newest now, or one whose references changed (None)."""

    input: str
    newest: str | None

    @property
    def kind(self) -> Literal["newer", "reference"]:
        """Which of the two it is."""
        return "reference" if self.newest is None else "newer"


@dataclass(frozen=True, slots=True)
class Stale:
    """A version that was made from something out of date. `chain` leads from it to what was made from `causes`."""

    version: str  # entity/project/collection:vN
    aliases: tuple[str, ...]
    chain: tuple[str, ...]  # the version itself, alone if the causes are its own inputs
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """What asking for references has found: versions with one that changed, and how many could not be asked."""

    changed: Mapping[str, str]  # version → what changed
    unanswered: int


def judged_versions(catalog: Catalog, projects: Sequence[str], *, everything: bool = False) -> list[str]:
    """The versions with an alias (``latest`` is one), or all live ones, of the given projects."""
    rows = catalog.rows(
        "SELECT version_id FROM versions WHERE project IN (SELECT unnest(?::VARCHAR[])) AND NOT deleted"
        " AND (? OR len(aliases) > 0) ORDER BY project, collection, version",
        [list(projects), everything],
    )
    return [row[0] for row in rows]


def find_stale(catalog: Catalog, judged: Sequence[str], changed: Iterable[str] = ()) -> list[Stale]:
    """Those of the versions `judged` that are stale, in that order. `changed` have references that changed."""
    rows = catalog.rows(_STALE, {"judged": list(judged), "changed": sorted(changed)})
    found = {version: (via, causes) for version, via, causes in rows}
    names = [version for version in judged if version in found]
    aliases = {
        row[0]: tuple(row[1])
        for row in catalog.rows(
            "SELECT version_id, aliases FROM versions WHERE version_id IN (SELECT unnest(?::VARCHAR[]))",
            [names],
        )
    }
    return [_stale(version, aliases.get(version, ()), found) for version in names]


def _stale(version: str, aliases: tuple[str, ...], found: Mapping[str, tuple[str | None, Any]]) -> Stale:
    chain = [version]
    while (via := found[chain[-1]][0]) is not None:
        chain.append(via)
    causes = tuple(Cause(cause["input"], cause["newest"]) for cause in found[chain[-1]][1])
    return Stale(version, aliases, tuple(chain), causes)


def versions_with_references(catalog: Catalog, judged: Sequence[str]) -> list[str]:
    """Those of `judged` and of what they were made from that have references and were not deleted."""
    rows = catalog.rows(
        f"WITH RECURSIVE {_MADE} SELECT version_id FROM above JOIN ids USING (id) JOIN versions USING (version_id)"
        " WHERE reference_count > 0 AND NOT deleted ORDER BY version_id",
        {"judged": list(judged)},
    )
    return [row[0] for row in rows]


def ask_references(
    versions: Sequence[Version], references: References, *, timeout_s: float = REFERENCE_TIMEOUT_S
) -> ReferenceReport:
    """Ask the places of all references whether they still have what was logged, sixteen at a time.

    What has not answered after `timeout_s` seconds, or refuses, counts as unanswered.
    """
    changed: dict[str, str] = {}
    unanswered = 0
    for owners, said in _asked(_by_place(versions), references.check, timeout_s):
        if isinstance(said, (ReferenceChangedError, NotFoundError)):
            for name in owners:
                changed.setdefault(name, str(said))
        elif said is not None:
            unanswered += 1
    return ReferenceReport(changed, unanswered)


def _by_place(versions: Sequence[Version]) -> dict[Entry, list[str]]:
    """What is to be asked, each once, and the versions that need the answer."""
    wanted: dict[Entry, list[str]] = {}
    for version in versions:
        for entry in version.manifest.values():
            if entry.kind == "reference":
                wanted.setdefault(entry, []).append(str(version.name))
    return wanted


def _asked(
    wanted: Mapping[Entry, list[str]], check: Callable[[Entry], None], timeout_s: float
) -> list[tuple[list[str], Exception | None]]:
    """Of each entry its owners and None, or what came instead. A place that hangs is left to its daemon thread."""
    waiting: queue.SimpleQueue[Entry] = queue.SimpleQueue()
    for entry in wanted:
        waiting.put(entry)
    answers: dict[Entry, Exception | None] = {}
    deadline = time.monotonic() + timeout_s

    def work() -> None:
        while time.monotonic() < deadline:
            try:
                entry = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                check(entry)
                answers[entry] = None
            except Exception as error:  # ours, or of any file system: this place has no good answer
                answers[entry] = error

    threads = [
        threading.Thread(target=work, name="lineart-references", daemon=True)
        for _ in range(min(_ASKED_AT_ONCE, len(wanted)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    late = TimeoutError(f"no answer within {timeout_s} s")
    known = dict(answers)
    return [(owners, known.get(entry, late)) for entry, owners in wanted.items()]
