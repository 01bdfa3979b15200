"""Questions about one version: why it is as it is, what it touches, where a file occurs, what differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..artifacts.diff import ManifestDiff
from ..artifacts.manifest import Manifest
from ..artifacts.stored_diff import diff_stored
from ..artifacts.version import Version
from ..storage.digest import parse_hex
from ..storage.errors import IntegrityError
from ..storage.store import Store
from .catalog import Catalog
from .graph import LineageGraph, nearest_first
from .schema import LOG_TIME, among
from .untracked import UntrackedInputs, untracked_inputs


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the catalog knows of a run."""

    run_id: str
    name: str
    job_type: str | None
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    capture: Mapping[str, Any]
    user: str | None
    host: str | None
    created_at: str
    finished_at: str | None  # None: it has not ended
    error: str | None


@dataclass(frozen=True, slots=True)
class Why:
    """What made a version: its run, the inputs, and runs that made the same content again. Of a link: of its source."""

    version_id: str
    run: RunFacts | None
    exact: bool
    inputs: list[tuple[str, str | None]]  # (version, role)
    reproduced_by: list[str]
    logged_by: str | None  # user@host
    untracked: UntrackedInputs  # of the run
    source: str | None = None  # of a link: the version that it shows
    absent_run: str | None = None  # the id of the run that logged it, where that is not in this store

    @property
    def unknown(self) -> str:
        """Why there is no run, in words that follow the name of the version; nothing if there is one."""
        if self.run is not None:
            return ""
        if self.absent_run is None:
            return "was logged outside of a run"
        return f"was made by the run {self.absent_run}, which is not in this store or was deleted"


@dataclass(frozen=True, slots=True)
class Impact:
    """All that was made from a version, directly or not, nearest first."""

    version_id: str
    versions: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    aliases: list[str]  # "model:production": names by which people get something that is touched


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What changed between two versions, and what differs in how they were made."""

    files: ManifestDiff
    metadata: dict[str, tuple[Any, Any]]
    config: dict[str, tuple[Any, Any]]
    summary: dict[str, tuple[Any, Any]]
    code: dict[str, tuple[Any, Any]]
    inputs: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))


def run_facts(catalog: Catalog, run_id: str) -> RunFacts | None:
    """The run, None if the catalog does not have it."""
    columns = (
        "run_id, name, job_type, state, config::VARCHAR AS config, summary::VARCHAR AS summary,"
        f" capture::VARCHAR AS capture, user_name, host, {LOG_TIME.format('created_at')} AS created_at,"
        f" {LOG_TIME.format('finished_at')} AS finished_at, error"
    )
    found = catalog.records(among("runs", columns), [[run_id]])
    if not found:
        return None
    row = found[0]
    return RunFacts(
        run_id=run_id,
        name=row["name"] or run_id.rpartition("/")[2],
        job_type=row["job_type"],
        state=row["state"],
        config=json.loads(row["config"] or "{}"),
        summary=json.loads(row["summary"] or "{}"),
        capture=json.loads(row["capture"] or "{}"),
        user=row["user_name"],
        host=row["host"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        error=row["error"],
    )


def why(catalog: Catalog, version_id: str) -> Why:
    """Inputs, code, config and command behind a version; of a link, behind its source."""
    source = source_of(catalog, version_id)
    if source != version_id:
        return replace(why(catalog, source), version_id=version_id, source=source)
    made = catalog.rows(
        "SELECT run_id, is_new, exact FROM productions WHERE version_id = ? ORDER BY position", [version_id]
    )
    producer = next((run for run, is_new, _ in made if is_new), None)
    graph = LineageGraph(catalog).build(version_id, direction="upstream", depth=1)
    inputs = [(source, data["role"]) for source, _, data in graph.edges(data=True) if data["kind"] == "used"]
    who = catalog.rows(
        "SELECT user_name, host, run_id FROM version_creations WHERE version_id = ?", [version_id]
    )
    run = run_facts(catalog, producer) if producer else None
    return Why(
        version_id=version_id,
        run=run,
        exact=any(exact for run, is_new, exact in made if is_new and run == producer),
        inputs=inputs,
        reproduced_by=[run for run, is_new, _ in made if not is_new],
        logged_by=f"{who[0][0]}@{who[0][1]}" if who else None,
        untracked=untracked_inputs(catalog, producer) if producer else UntrackedInputs(False),
        absent_run=who[0][2].rpartition("/")[2] if run is None and who and who[0][2] else None,
    )


def source_of(catalog: Catalog, version_id: str) -> str:
    """The version that a link shows, through links of links; any other version is its own source."""
    seen = {version_id}
    while found := catalog.rows("SELECT source_id FROM links WHERE link_id = ? AND is_new", [version_id]):
        version_id = found[0][0]
        if version_id in seen:  # no client of ours writes a circle
            raise IntegrityError(f"version {version_id} is a link to itself; the log was forged")
        seen.add(version_id)
    return version_id


def impact(catalog: Catalog, version_id: str) -> Impact:
    """What would be touched if this version were bad."""
    graph = LineageGraph(catalog).build(version_id, direction="downstream")
    order = nearest_first(graph, version_id, upstream=False)
    versions = [
        {"id": node, **graph.nodes[node]} for node in order if graph.nodes[node]["kind"] == "artifact"
    ]
    runs = [{"id": node, **graph.nodes[node]} for node in order if graph.nodes[node]["kind"] == "run"]
    aliases = [
        f"{version['name']}:{alias}"
        for version in [{"id": version_id, **graph.nodes[version_id]}, *versions]
        for alias in version["aliases"]
    ]
    return Impact(version_id, versions, runs, aliases)


def whereis(store: Store, versions: Iterable[Version], digest: str) -> Iterator[tuple[Version, list[str]]]:
    """The versions that contain a file with this digest, and under which paths, in the order of `versions`."""
    needle = digest.encode()
    searched: dict[str, list[str]] = {}  # versions with the same manifest are read once
    for version in versions:
        paths = searched.get(version.state.digest)
        if paths is None:
            data = bytes(store.objects.read(parse_hex(version.state.digest), version.packs))
            # The text search is a hundred times faster than parsing, and most manifests do not have it.
            paths = (
                [p for p, e in Manifest.decode(data).items() if e.digest == digest] if needle in data else []
            )
            searched[version.state.digest] = paths
        if paths:
            yield version, paths


def diff_versions(catalog: Catalog, before: Version, after: Version) -> VersionDiff:
    """Compare files, metadata, and the config, summary, code and inputs of the runs that made them."""
    left, right = why(catalog, str(before.name)), why(catalog, str(after.name))
    return VersionDiff(
        files=diff_stored(before, after),
        metadata=changed_keys(before.state.metadata, after.state.metadata),
        config=changed_keys(left.run.config if left.run else {}, right.run.config if right.run else {}),
        summary=changed_keys(left.run.summary if left.run else {}, right.run.summary if right.run else {}),
        code=changed_keys(_code(left.run), _code(right.run)),
        inputs=(
            sorted({name for name, _ in left.inputs} - {name for name, _ in right.inputs}),
            sorted({name for name, _ in right.inputs} - {name for name, _ in left.inputs}),
        ),
    )


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, with both; a key that is missing on a side has None there.

    >>> changed_keys({"a": 1, "b": 2}, {"b": 3})
    {'a': (1, None), 'b': (2, 3)}
    """
    keys = sorted({*before, *after})
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _code(run: RunFacts | None) -> dict[str, Any]:
    if run is None:
        return {}
    git = run.capture.get("git") or {}
    return {"commit": git.get("commit"), "dirty": git.get("dirty"), "command": run.capture.get("command")}
