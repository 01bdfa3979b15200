"""Compaction: what is left of packs that are mostly dead is copied, and no version is another for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
import s3server
from builders import KIB, noise
from collected_store import HOME, another, collect, content, delete, log, packs, packs_of
from lineart.artifacts.verification import Depth
from lineart.storage.log import Position
from lineart.storage.pack import PackLimits
from lineart.storage.store import Store, open_backend
from lineart.tracking import Workspace
from lineart.tracking.artifact import Artifact
from lineart.tracking.links import link_version
from lineart.tracking.publishing import log_draft
from lineart.tracking.store_verification import Scope, verify_store


@pytest.fixture
def sparse(workspace: Workspace, tmp_path: Path) -> tuple[Workspace, dict[str, bytes]]:
    """A version that needs a tenth of the packs of a deleted one."""
    files = {f"{number:02}": noise(20_000, number) for number in range(40)}
    kept = {**{name: files[name] for name in ("03", "17", "35")}, "large": noise(500_000, 99)}
    old = log(workspace, tmp_path, "data", {**files, "large": kept["large"]})
    log(workspace, tmp_path, "data", kept)
    delete(workspace, old)
    return workspace, kept


def identity(workspace: Workspace) -> Any:
    state = workspace.project().state().collections["data"].versions[1]
    return state, [entry.transaction.encode() for entry in workspace.project().log.read_after(Position())][:3]


def test_compaction_changes_an_identity_or_loses_a_byte(
    sparse: tuple[Workspace, dict[str, bytes]], tmp_path: Path
) -> None:
    workspace, kept = sparse
    warm = another(workspace, tmp_path, "warm")
    assert content(warm, "data:v1") == kept
    reader = warm.version("data:v1").open("17")
    before, named = identity(workspace), packs_of(workspace, "data:v1")
    size_before = sum(workspace.store.pack_sizes().values())
    outcomes = collect(workspace)
    (outcome,) = outcomes
    assert {pack.reason for pack in outcome.packs} == {"dead", "sparse"}
    assert outcome.copied_bytes > 0
    assert named - packs(workspace), "packs that the version names are gone"
    assert identity(workspace) == before
    assert sum(workspace.store.pack_sizes().values()) < size_before - 400_000
    with reader:
        assert reader.read() == kept["17"]
    for machine in (workspace, warm, another(workspace, tmp_path, "cold")):
        assert content(machine, "data:v1") == kept
        assert list(machine.version("data:v1").verify_stored()) == []
        folder = tmp_path / f"out-{machine.store.cache.name}"
        machine.version("data:v1").download(folder)
        assert builders.files_below(folder) == kept
    assert collect(workspace) == []


def test_link_and_increment_of_a_compacted_version_need_what_is_gone(
    sparse: tuple[Workspace, dict[str, bytes]], tmp_path: Path
) -> None:
    workspace, kept = sparse
    warm = another(workspace, tmp_path, "warm")
    assert content(warm, "data:v1") == kept
    collect(workspace)
    for machine in (warm, another(workspace, tmp_path, "cold")):
        link = link_version(machine, machine.parse("data:v1"), f"registry/{machine.store.cache.name}")
        assert packs_of(workspace, str(link.name)) <= packs(workspace)
        more = Artifact("data", "data", incremental=True)
        source = tmp_path / machine.store.cache.name
        source.mkdir(exist_ok=True)
        (source / "f").write_bytes(str(machine.store.cache).encode())
        more.add_dir(source)
        log_draft(machine, more)
    collect(workspace)
    cold = another(workspace, tmp_path, "colder")
    for name in ("data:v1", "data:v2", "data:v3", "registry/warm:v0", "registry/cold:v0"):
        assert kept.items() <= content(cold, name).items()


def test_compacted_version_is_compacted_again(
    sparse: tuple[Workspace, dict[str, bytes]], tmp_path: Path
) -> None:
    workspace, kept = sparse
    collect(workspace)
    small = log(workspace, tmp_path, "data", {"03": kept["03"]})
    delete(workspace, "data:v1")
    collect(workspace)
    assert content(another(workspace, tmp_path, "cold"), small) == {"03": kept["03"]}
    assert sum(workspace.store.pack_sizes().values()) < 100_000


def test_damaged_manifest_keeps_the_collector_from_compacting_its_packs(
    sparse: tuple[Workspace, dict[str, bytes]], tmp_path: Path
) -> None:
    workspace, _ = sparse
    (meta,) = workspace.version("data:v1").state.meta_packs[-1:]
    path = tmp_path / "store" / "packs" / meta[:2] / f"{meta}.pack"
    builders.flip(path, 20)
    named = packs_of(workspace, "data:v1")
    for outcome in collect(another(workspace, tmp_path, "cold")):
        assert all(pack.reason == "dead" for pack in outcome.packs)
    assert named <= packs(workspace)


# In a bucket, with an index of packs in the version and blocks of them on the machine


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Workspace]:
    with s3server.moto() as server:
        url = s3server.new_bucket(server) + "/store"
        limits = PackLimits(target_bytes=60 * KIB, max_bytes=120 * KIB, max_objects=100)
        backend = open_backend(url, server.storage_options)
        workspace = Workspace(builders.new_store(backend, tmp_path / "cache", limits=limits), HOME)
        workspace.storage_options = server.storage_options  # type: ignore[attr-defined]  # for the other machines
        yield workspace
        workspace.close()


def machine_at(bucket: Workspace, tmp_path: Path, name: str) -> Workspace:
    options: Any = bucket.storage_options  # type: ignore[attr-defined]
    return Workspace(Store.open(bucket.url, cache=tmp_path / name, storage_options=options), HOME)


def test_index_of_packs_leads_to_packs_that_are_gone(bucket: Workspace, tmp_path: Path) -> None:
    files = {f"{number:02}": noise(20_000, number) for number in range(60)}
    kept = {name: content for name, content in files.items() if int(name) % 12 == 0}
    log(bucket, tmp_path, "data", files)
    log(bucket, tmp_path, "data", kept)
    assert bucket.version("data:v1").state.index is not None, "it needs more than two packs"
    warm = machine_at(bucket, tmp_path, "warm")
    assert content(warm, "data:v1") == kept
    half = machine_at(bucket, tmp_path, "half")
    with half.version("data:v1").open("12") as stream:
        assert stream.read() == kept["12"]
    delete(bucket, "data:v0")
    outcomes = collect(machine_at(bucket, tmp_path, "collector"))
    assert sum(pack.reason == "sparse" for outcome in outcomes for pack in outcome.packs) >= 3
    assert not packs_of(bucket, "data:v1") & packs(bucket) or len(packs(bucket)) < 6
    for machine in (bucket, warm, half, machine_at(bucket, tmp_path, "cold")):
        assert content(machine, "data:v1") == kept
        folder = tmp_path / f"out-{machine.store.cache.name}"
        machine.version("data:v1").download(folder)
        assert builders.files_below(folder) == kept
        link = link_version(machine, machine.parse("data:v1"), f"registry/{machine.store.cache.name}")
        assert packs_of(machine, str(link.name)) <= packs(bucket)
    assert collect(bucket) == []


def test_second_successor_that_was_collected_is_missed_by_nobody(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Two collectors that compact a pack at once make two successors; what is needed is in the other one, too."""
    kept = {"kept": builders.noise(2_000, 1)}
    log(workspace, tmp_path, "data", {**kept, "large": builders.noise(90_000, 2)})
    log(workspace, tmp_path, "data", kept)
    spare = log(workspace, tmp_path, "spare", {"x": builders.noise(50_000, 3)})
    old, extra = packs_of(workspace, "data:v1"), packs_of(workspace, spare)
    delete(workspace, "data:v0")
    collect(workspace, share=0.9)
    gone = sorted(old - packs(workspace))
    assert gone
    workspace.store.facts.replace({gone[0]: sorted(extra)}, workspace.store.objects.condemned)
    delete(workspace, spare)
    collect(workspace, share=0.9)
    assert not extra <= packs(workspace)
    check = verify_store(workspace.store, Scope(everything=True), Depth.BYTES)
    assert check.findings.problems == []
    assert content(another(workspace, tmp_path, "cold"), "data:v1") == kept
