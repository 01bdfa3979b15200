"""What runs have read and not declared, where that was observed (the setting `observe`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..artifacts.manifest import Manifest
from ..artifacts.version import Version
from ..storage.digest import parse_hex
from ..storage.errors import NotFoundError
from ..storage.store import Store
from .catalog import Catalog
from .graph import LineageGraph


@dataclass(frozen=True, slots=True)
class UntrackedInput:
    """A file or URL that a run has read without `use_artifact`: no version of it was an input of the run."""

    uri: str  # of a file its path, from the working folder of the run if it lay below it
    size_bytes: int | None
    digest: str | None  # None: of a URL, and of a file that was changed or gone at the end of the run


@dataclass(frozen=True, slots=True)
class UntrackedInputs:
    """What was observed of one run, sorted by URI."""

    is_observed: bool  # whether there was anybody to see it
    listed: tuple[UntrackedInput, ...] = ()
    omitted: int = 0  # that are not in the list, at least

    @property
    def count(self) -> int:
        """How many there are, at least."""
        return len(self.listed) + self.omitted


def untracked_inputs(catalog: Catalog, run_id: str) -> UntrackedInputs:
    """The untracked inputs of a run; none, and `is_observed` false, when nobody looked."""
    rows = catalog.rows(
        "SELECT uri, size_bytes, digest FROM untracked_inputs WHERE run_id = ? ORDER BY uri", [run_id]
    )
    said = catalog.rows("SELECT sum(omitted) FROM run_inputs WHERE run_id = ? AND uri IS NULL", [run_id])
    omitted = said[0][0]
    return UntrackedInputs(
        omitted is not None, tuple(UntrackedInput(*row) for row in rows), int(omitted or 0)
    )


def untracked_count(catalog: Catalog, version_id: str, *, upstream: bool) -> int:
    """How many untracked inputs the run that made a version had; with `upstream` also all runs before it.

    A run counts once, with all that it read, also where only some of its outputs were made from it. Runs that were not
    observed count as none: `unobserved_runs` names them.
    """
    runs = producing_runs(catalog, version_id, upstream=upstream)
    found = catalog.rows(
        "SELECT (SELECT count(*) FROM untracked_inputs WHERE run_id IN (SELECT unnest($1::VARCHAR[])))"
        " + (SELECT coalesce(sum(omitted), 0) FROM run_inputs WHERE run_id IN (SELECT unnest($1::VARCHAR[])))",
        [runs],
    )
    return int(found[0][0])


def unobserved_runs(catalog: Catalog, version_id: str, *, upstream: bool) -> list[str]:
    """Those of the runs that `untracked_count` counts of which nobody has observed what they read."""
    runs = producing_runs(catalog, version_id, upstream=upstream)
    rows = catalog.rows(
        "SELECT run_id FROM (SELECT unnest(?::VARCHAR[]) AS run_id) ANTI JOIN run_inputs USING (run_id)"
        " ORDER BY run_id",
        [runs],
    )
    return [row[0] for row in rows]


def producing_runs(catalog: Catalog, version_id: str, *, upstream: bool) -> list[str]:
    """The run that made a version (of a link: its source), or with `upstream` all runs behind it; full ids, sorted."""
    graph = LineageGraph(catalog)
    if upstream:
        return sorted(graph.runs_around(version_id, "upstream"))
    return sorted(graph.makers(version_id))


def versions_with(
    store: Store, versions: Iterable[Version], digests: Sequence[str], *, most: int = 10_000
) -> dict[str, Version]:
    """Of each digest the first of `versions` that has a file with it. At most `most` manifests are read."""
    found: dict[str, Version] = {}
    searched: set[str] = set()
    for version in versions:
        wanted = [digest for digest in digests if digest not in found]
        if not wanted or len(searched) >= most:
            break
        if version.state.digest in searched:
            continue
        searched.add(version.state.digest)
        try:
            data = bytes(store.objects.read(parse_hex(version.state.digest), version.packs))
        except NotFoundError:
            continue  # deleted, and collected meanwhile
        near = [digest for digest in wanted if digest.encode() in data]
        if near:
            held = {entry.digest for _, entry in Manifest.decode(data).items()}
            found |= {digest: version for digest in near if digest in held}
    return found
