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
# A version that was logged again with the same content has several productions (0 is the first one). When the first one
# has an input that is out of date, the last counts whose own inputs are not: it was made from what is there now, and
# the same came out. That does not hold for one that was made of the version itself (`circles`).
_MADE = """
homes AS MATERIALIZED (
    SELECT project, collection, version_id AS head, (row_number() OVER ())::INTEGER AS home
    FROM aliases WHERE alias = 'latest'),
ids AS MATERIALIZED (
    SELECT version_id, home, (row_number() OVER ())::INTEGER AS id
    FROM version_creations LEFT JOIN homes USING (project, collection)),
heads AS MATERIALIZED (SELECT h.home, i.id AS newest FROM homes h JOIN ids i ON i.version_id = h.head),
again AS MATERIALIZED (
    SELECT *, (row_number() OVER (ORDER BY position))::INTEGER AS number FROM productions WHERE NOT is_new),
numbered AS (
    SELECT project, run_id, version_id, position, exact, 0 AS number FROM productions WHERE is_new
    UNION ALL
    SELECT project, run_id, version_id, position, exact, number FROM again),
named AS (
    SELECT p.version_id AS output, p.number, d.input_id AS input, false AS is_link
    FROM numbered p JOIN derivations d
    ON d.run_id = p.run_id AND d.output_id = p.version_id AND d.position = p.position
    WHERE p.exact
    UNION ALL
    SELECT p.version_id, p.number, u.version_id, false
    FROM numbered p JOIN uses u ON u.run_id = p.run_id AND u.project = p.project AND u.position < p.position
    WHERE NOT p.exact
    UNION ALL
    SELECT link_id, 0, source_id, true FROM links WHERE is_new),
found AS MATERIALIZED (
    SELECT DISTINCT o.id AS output, number, i.id AS input, is_link, o.home AS output_home, i.home AS input_home
    FROM named JOIN ids o ON o.version_id = output JOIN ids i ON i.version_id = input WHERE o.id <> i.id),
late AS MATERIALIZED ( -- not what the output itself made old
    SELECT f.output, f.number, f.input, h.newest
    FROM found f JOIN heads h ON h.home = f.input_home
    WHERE h.newest <> f.input AND NOT f.is_link AND f.input_home IS DISTINCT FROM f.output_home),
outdated AS MATERIALIZED ( -- not what was used in the newest version as well
    SELECT l.* FROM late l ANTI JOIN found f
    ON f.output = l.output AND f.number = l.number AND f.input = l.newest AND NOT f.is_link),
fresh AS MATERIALIZED (
    SELECT f.output, f.number, f.input FROM found f
    SEMI JOIN (SELECT output FROM outdated WHERE number = 0) first ON first.output = f.output
    ANTI JOIN outdated o ON o.output = f.output AND o.number = f.number
    WHERE f.number > 0),
circles(output, number, id) AS (
    SELECT output, number, input FROM fresh
    UNION
    SELECT c.output, c.number, f.input FROM circles c JOIN found f ON f.output = c.id
    WHERE f.number = 0 AND c.id <> c.output),
taken AS MATERIALIZED (
    SELECT output, max(number) AS number FROM (
        SELECT output, number FROM fresh EXCEPT SELECT output, number FROM circles WHERE id = output)
    GROUP BY output),
made AS MATERIALIZED (
    SELECT f.output, f.input, f.is_link FROM found f LEFT JOIN taken t ON t.output = f.output
    WHERE f.is_link OR f.number = coalesce(t.number, 0)),
judged AS MATERIALIZED (SELECT id FROM ids WHERE version_id IN (SELECT unnest($judged::VARCHAR[]))),
above(id) AS MATERIALIZED (
    SELECT id FROM judged
    UNION
    SELECT m.input FROM made m JOIN above a ON m.output = a.id)
"""
_STALE = f"""
WITH RECURSIVE {_MADE},
bad AS MATERIALIZED (
    SELECT o.output, o.input, n.version_id AS newest FROM outdated o JOIN above a ON a.id = o.output
    JOIN ids n ON n.id = o.newest LEFT JOIN taken t ON t.output = o.output
    WHERE o.number = 0 AND t.output IS NULL
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
class Unasked:
    """A reference whose place gave no answer, and the versions that have it."""

    versions: tuple[str, ...]
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """What asking for references has found: versions with one that changed, and what could not be asked.

    `uncompared` counts references that are there and of which nothing was recorded that could be compared.
    """

    changed: Mapping[str, str]  # version → what changed
    unasked: tuple[Unasked, ...] = ()
    uncompared: int = 0

    @property
    def unanswered(self) -> int:
        """How many references could not be asked."""
        return len(self.unasked)


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
    unasked, uncompared = [], 0
    wanted = _by_place(versions)
    for entry, said in _asked(wanted, references.check, timeout_s).items():
        owners = tuple(dict.fromkeys(wanted[entry]))
        if isinstance(said, (ReferenceChangedError, NotFoundError)):
            for name in owners:
                changed.setdefault(name, str(said))
        elif said is not None:
            unasked.append(Unasked(owners, entry.target or entry.path, " ".join(str(said).split())))
        elif all(fact is None for fact in (entry.size_bytes, entry.etag, entry.version_id, entry.checksum)):
            uncompared += 1
    return ReferenceReport(changed, tuple(unasked), uncompared)


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
) -> dict[Entry, Exception | None]:
    """Of each entry None, or what came instead. A place that hangs is left to its daemon thread."""
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
    return {entry: known.get(entry, late) for entry in wanted}
