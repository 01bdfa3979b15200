"""The collector on real stores: what goes, what stays, what comes back, whoever is killed or asleep."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
from builders import KIB, noise
from collected_store import DAY_S, HOME, Clock, another, collect, content, delete, log, packs, packs_of
from lineart.artifacts.collecting import Collector
from lineart.artifacts.names import ProjectName
from lineart.artifacts.project import Project
from lineart.storage import gc
from lineart.storage.condemned import PacksCondemned
from lineart.storage.errors import FormatError, NotFoundError, UsageError
from lineart.storage.faults import FaultyBackend
from lineart.storage.local import LocalBackend
from lineart.storage.pack import PackLimits
from lineart.storage.store import Store
from lineart.tracking import Workspace
from lineart.tracking.artifact import Artifact
from lineart.tracking.links import delete_version, link_version, restore_version
from lineart.tracking.publishing import log_draft

# What goes and what stays


def test_live_version_or_run_or_contribution_is_collected(workspace: Workspace, tmp_path: Path) -> None:
    with lineart.init(dir=str(tmp_path / "run"), project="p", entity="team") as run:
        pass  # in the default store: it must not matter
    kept = log(workspace, tmp_path, "data", {"a": noise(5000, 1)})
    assert collect(workspace) == []
    assert content(workspace, kept) == {"a": noise(5000, 1)}
    assert run.id


def test_deleted_version_keeps_its_packs_from_being_collected(workspace: Workspace, tmp_path: Path) -> None:
    shared = noise(40_000, 1)
    first = log(workspace, tmp_path, "data", {"a": shared, "b": noise(30_000, 2)})
    second = log(workspace, tmp_path, "data", {"a": shared, "c": noise(30_000, 3)})
    other = log(workspace, tmp_path, "other", {"x": noise(50_000, 4)})
    gone = packs_of(workspace, other)
    delete(workspace, other)
    delete(workspace, first)
    (outcome,) = collect(workspace, share=0)
    assert outcome.state == "deleted"
    assert gone <= {pack.pack for pack in outcome.packs}
    assert not gone & packs(workspace)
    assert packs_of(workspace, second) <= packs(workspace)
    assert content(workspace, second) == {"a": shared, "c": noise(30_000, 3)}
    assert content(another(workspace, tmp_path, "new"), second)["a"] == shared
    assert collect(workspace, share=0) == []


def test_dry_run_changes_something(workspace: Workspace, tmp_path: Path) -> None:
    delete(workspace, log(workspace, tmp_path, "data", {"a": noise(5000)}))
    before = builders.files_below(tmp_path / "store")
    (outcome,) = collect(workspace, dry_run=True)
    assert outcome.size_bytes > 5000
    assert builders.files_below(tmp_path / "store") == before


def test_long_list_of_packs_is_not_read(tmp_path: Path) -> None:
    """A version with more than 64 packs names them in an object of its own."""
    limits = PackLimits(target_bytes=KIB, max_bytes=2 * KIB, max_objects=2)
    workspace = Workspace(builders.local_store(tmp_path, limits=limits), HOME)
    files = {f"{number:03}": noise(2000, number) for number in range(80)}
    kept = log(workspace, tmp_path, "data", files)
    lost = log(
        workspace, tmp_path, "other", {f"{number:03}": noise(2000, 100 + number) for number in range(80)}
    )
    assert workspace.version(kept).state.packs_object is not None
    delete(workspace, lost)
    (outcome,) = collect(workspace)
    assert len(outcome.packs) > 80
    assert content(another(workspace, tmp_path, "new"), kept) == files


@pytest.mark.on_disk
def test_files_of_a_deleted_run_stay_and_its_claim_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = []
    for number in range(2):
        with lineart.init(project="p") as run:
            for step in range(12_000):
                run.log({"loss": step * 0.5 + number})
            Path("out.bin").write_bytes(noise(20_000, number))
            run.save("out.bin")
        runs.append(run)
    workspace = Workspace.open(lineart.tracking.find_settings(project="p"))
    folder = tmp_path / "store/projects/default/p/runs"
    assert collect(workspace, share=0) == []
    before = {run.id: set(builders.files_below(folder / run.id)) for run in runs}
    assert any("history" in name for name in before[runs[0].id])
    lineart.Api().run(f"p/{runs[0].id}").delete()
    (outcome,) = collect(workspace)
    assert [run.run for run in outcome.runs] == [f"default/p/{runs[0].id}"]
    left = builders.files_below(folder / runs[0].id)
    assert [name for name, data in left.items() if data is not None] == ["run.json"]
    assert set(builders.files_below(folder / runs[1].id)) == before[runs[1].id]
    kept = lineart.Api().run(f"p/{runs[1].id}")
    with kept.file("out.bin").open() as stream:
        assert stream.read() == noise(20_000, 1)
    with pytest.raises(UsageError, match="was deleted"):
        lineart.init(project="p", id=runs[0].id)
    assert collect(workspace) == []


def test_waiting_contribution_is_collected(tmp_path: Path) -> None:
    with lineart.init(project="p", group="g") as run:
        part = lineart.Artifact("whole", "data")
        with part.new_file("one", "wb") as file:
            file.write(noise(30_000, 1))
        run.upsert_artifact(part)
    workspace = Workspace.open(lineart.tracking.find_settings(project="p"))
    assert collect(workspace) == []
    with lineart.init(project="p", group="g") as run:
        made = run.finish_artifact(lineart.Artifact("whole", "data"))
    assert [outcome.state for outcome in collect(workspace)] in ([], ["deleted"])
    with lineart.Api().artifact(f"p/{made.name}").open("one") as stream:
        assert stream.read() == noise(30_000, 1)


def test_log_of_a_newer_client_is_collected_from(workspace: Workspace, tmp_path: Path) -> None:
    delete(workspace, log(workspace, tmp_path, "data", {"a": noise(5000)}))
    project = workspace.project()
    project.state()
    committer: Any = project._open()
    committer.commit(lambda state: [{"op": "art.painted", "packs": []}])
    before = packs(workspace)
    with pytest.raises(FormatError) as caught:
        collect(workspace)
    builders.one_line(caught.value, "team/p", "art.painted", "upgrade")
    assert packs(workspace) == before


# Grace, undelete


def test_pack_is_deleted_before_the_grace_is_over(workspace: Workspace, tmp_path: Path) -> None:
    clock = Clock()
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    delete(workspace, name)
    collector = Collector(workspace.store, now_s=clock)
    assert collector.collect(grace_s=7 * DAY_S) == [], "so young a pack may be of a commit under way"
    assert collector.young_bytes > 5000
    clock.ahead_s = 2 * DAY_S
    (planned,) = collector.collect(grace_s=7 * DAY_S)
    assert planned.state == "planned"
    clock.ahead_s = 8 * DAY_S
    (waiting,) = collector.collect(grace_s=7 * DAY_S)
    assert (waiting.state, waiting.plan) == ("waiting", planned.plan)
    assert packs_of(workspace, name) <= packs(workspace)
    clock.ahead_s = 9.1 * DAY_S
    (deleted,) = collector.collect(grace_s=7 * DAY_S)
    assert (deleted.state, deleted.plan) == ("deleted", planned.plan)
    assert packs(workspace) == set()
    assert collector.collect(grace_s=7 * DAY_S) == []


def test_version_does_not_come_back_while_its_plan_waits(workspace: Workspace, tmp_path: Path) -> None:
    clock = Clock()
    files = {"a": noise(5000, 1)}
    name = log(workspace, tmp_path, "data", files)
    other = log(workspace, tmp_path, "other", {"b": noise(7000, 2)})
    delete(workspace, name)
    delete(workspace, other)
    clock.ahead_s = 2 * DAY_S
    (planned,) = collect(workspace, grace_s=7 * DAY_S, now_s=clock)
    assert len(planned.packs) == 4
    there = another(workspace, tmp_path, "there")
    assert restore_version(there, there.parse(name))
    assert content(workspace, name) == files
    final = gc.read_final(workspace.store.backend, planned.plan)
    assert final is not None
    assert (final.packs, "data:v0" in str(final.cancelled)) == ((), True)
    clock.ahead_s = 9.1 * DAY_S
    outcomes = collect(workspace, grace_s=7 * DAY_S, now_s=clock)
    assert [outcome.state for outcome in outcomes] == ["cancelled", "planned"]
    assert outcomes[1].time == planned.time, "what was planned with it does not wait once more"
    (deleted,) = collect(workspace, grace_s=7 * DAY_S, now_s=clock)
    assert {pack.pack for pack in deleted.packs} == packs_of(another(workspace, tmp_path, "x"), other)
    assert content(another(workspace, tmp_path, "y"), name) == files
    assert restore_version(workspace, workspace.parse(name)) is False


def test_collected_version_comes_back_empty(workspace: Workspace, tmp_path: Path) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    delete(workspace, name)
    collect(workspace)
    for machine in (workspace, another(workspace, tmp_path, "cold")):
        with pytest.raises(NotFoundError) as caught:
            restore_version(machine, machine.parse(name))
        builders.one_line(caught.value, "data:v0", "was collected")
    assert workspace.project().state().collections["data"].versions[0].deleted


def test_version_comes_back_beside_its_twin(workspace: Workspace, tmp_path: Path) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    delete(workspace, name)
    assert log(workspace, tmp_path, "data", {"a": noise(5000)}) == "data:v1"
    with pytest.raises(UsageError) as caught:
        restore_version(workspace, workspace.parse(name))
    builders.one_line(caught.value, "data:v0", "v1")


def test_latest_stays_away_from_the_only_version_that_came_back(workspace: Workspace, tmp_path: Path) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    delete(workspace, name)
    restore_version(workspace, workspace.parse(name))
    assert workspace.version("data:latest").name.short == name


def test_link_that_came_back_is_unknown_to_its_source(workspace: Workspace, tmp_path: Path) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    link = link_version(workspace, workspace.parse(name), "registry/best")
    delete_version(workspace, link.name)
    assert workspace.version(name).state.links == ()
    restore_version(workspace, link.name)
    assert workspace.version(name).state.links == (str(link.name),)
    with pytest.raises(UsageError, match="is linked"):
        delete(workspace, name)


# Writers that were asleep


def asleep(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The first commit that names packs waits, between its bytes and its transaction: (it is there, go on)."""
    there, go_on = threading.Event(), threading.Event()
    commit = Project.commit

    def slowly(self: Project, decide: Any) -> Any:
        if self.store is workspace.store and not there.is_set():
            there.set()
            assert go_on.wait(builders.HANG_S)
        return commit(self, decide)

    monkeypatch.setattr(Project, "commit", slowly)
    return there, go_on


def sleep_through(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    task: Callable[[], object],
    meanwhile: Callable[[], object],
) -> None:
    """Run `task` up to its commit, then `meanwhile`, then the rest of `task`."""
    there, go_on = asleep(workspace, monkeypatch)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except BaseException as error:  # raised below, in the test's thread
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert there.wait(builders.HANG_S)
    meanwhile()
    go_on.set()
    thread.join(builders.HANG_S)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("project", ["p", "new"], ids=["old project", "project that is new"])
def test_writer_who_slept_through_a_collection_commits_what_is_gone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str
) -> None:
    files = {"a": noise(20_000, 1), "large": noise(3_000_000, 2)}
    old = log(workspace, tmp_path, "data", files)
    collector = another(workspace, tmp_path, "collector")
    delete(workspace, old)
    home = ProjectName("team", project)

    def again() -> None:  # the bytes are still in the store when the writer looks
        log(workspace, tmp_path, "data", files, project=home)

    def meanwhile() -> None:
        outcomes = collect(collector)
        assert [outcome.state for outcome in outcomes] == ["deleted"]
        assert packs(collector) == set()

    sleep_through(workspace, monkeypatch, again, meanwhile)
    made = f"{home}/data:v{1 if project == 'p' else 0}"
    assert content(another(workspace, tmp_path, "cold"), made) == files
    assert collect(collector) == []


def test_writer_whose_own_packs_were_taken_for_garbage_commits_them(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a": noise(20_000, 1)}
    names: list[set[str]] = []

    def meanwhile() -> None:
        names.append(packs(workspace))
        assert len(names[0]) == 2
        assert [outcome.state for outcome in collect(another(workspace, tmp_path, "c"))] == ["deleted"]

    sleep_through(workspace, monkeypatch, lambda: log(workspace, tmp_path, "data", files), meanwhile)
    assert content(another(workspace, tmp_path, "cold"), "data:v0") == files
    assert not packs(workspace) & names[0], "a collector that sleeps may delete those names again"


def test_link_to_what_is_collected_meanwhile(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    source = workspace.parse(name)

    def meanwhile() -> None:
        monkeypatch.undo()
        there = another(workspace, tmp_path, "there")
        delete(there, name)
        collect(there)

    with pytest.raises(NotFoundError, match=r"was deleted|missing|collected"):
        sleep_through(
            workspace, monkeypatch, lambda: link_version(workspace, source, "registry/best"), meanwhile
        )
    state = workspace.project(ProjectName("team", "registry")).state()
    assert all(version.deleted for found in state.collections.values() for version in found.versions.values())


def test_incremental_draft_on_a_version_whose_packs_are_planned(workspace: Workspace, tmp_path: Path) -> None:
    """What a draft takes over from a version is copied when its packs are condemned."""
    files = {"a": noise(20_000, 1), "large": noise(1_000_000, 2)}
    name = log(workspace, tmp_path, "data", files)
    condemned = packs_of(workspace, name)
    plan = gc.Plan(
        "by-hand", "2026-01-01T00:00:00.000000Z", [gc.PlannedPack(p, 1, "dead") for p in condemned], []
    )
    Collector(workspace.store).publish(plan)
    more = Artifact("data", "data", incremental=True)
    source = tmp_path / "more"
    source.write_bytes(noise(3000, 3))
    more.add_file(source, "more")
    log_draft(workspace, more)
    assert not packs_of(workspace, "data:v1") & condemned
    assert content(another(workspace, tmp_path, "cold"), "data:v1") == {**files, "more": noise(3000, 3)}
    outcome = Collector(workspace.store).finish(plan)
    assert set(outcome.spared) == condemned
    assert content(another(workspace, tmp_path, "colder"), name) == files


def test_commit_by_hand_that_names_condemned_packs(workspace: Workspace, tmp_path: Path) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    version = workspace.version(name)
    delete(workspace, name)
    collect(workspace)
    op = {"op": "run.finish", "run": "r", "writer": "w", "files": {"digest": version.state.digest}}
    op["files"] |= {"packs": list(version.state.packs), "meta_packs": list(version.state.meta_packs)}  # type: ignore[operator]
    for machine in (workspace, another(workspace, tmp_path, "cold")):
        with pytest.raises(PacksCondemned):
            machine.project().commit(lambda state: [op])


# Collectors that are killed, or meet


class Dies(BaseException):
    """The end of a process, as far as a test in one process can have it."""


def dying_at(store: Path, cache: Path, number: int) -> tuple[Store, list[str]]:
    """The store in a process that dies at its call number `number`, and the calls that were made."""
    calls: list[str] = []

    def step(method: str, key: str) -> None:
        calls.append(f"{method} {key}")
        if len(calls) == number:
            raise Dies(calls[-1])

    opened = Store.open(str(store), cache=cache)
    return Store(FaultyBackend(LocalBackend(store), on_step=step), opened.settings, cache), calls


def kill_at_calls(folder: Path, stride: int) -> None:
    """Kill a collector at its first call to the store, at one `stride` calls later, and so on; each time go on."""
    limits = PackLimits(target_bytes=20 * KIB, max_bytes=40 * KIB, max_objects=100)
    workspace = Workspace(builders.local_store(folder / "made", limits=limits), HOME)
    files = {f"{number}": noise(3000, number) for number in range(12)}
    kept = {"0": files["0"], "7": files["7"]}
    log(workspace, folder, "data", files)
    log(workspace, folder, "data", kept)
    other = log(workspace, folder, "other", {"x": noise(9000, 50)}, project=ProjectName("team", "q"))
    delete(workspace, "data:v0")
    delete(workspace, f"q/{other}")
    workspace.close()
    number = 1
    while True:
        place = folder / f"{number}"
        shutil.copytree(folder / "made" / "store", place / "store")
        store, calls = dying_at(place / "store", place / "cache", number)
        try:
            Collector(store).collect(grace_s=0)
        except Dies:
            pass  # as it was meant to; what it has left is looked at below
        else:
            break
        after = Workspace(Store.open(str(place / "store"), cache=place / "after"), HOME)
        assert content(after, "data:v1") == kept, calls[-1]
        collect(after)
        cold = Workspace(Store.open(str(place / "store"), cache=place / "cold"), HOME)
        assert content(cold, "data:v1") == kept, calls[-1]
        assert list(cold.version("data:v1").verify_stored()) == []
        assert collect(cold) == []
        assert sum(cold.store.pack_sizes().values()) < 12_000, "garbage is left"
        for found in (after, cold):
            found.close()
        store.close()
        shutil.rmtree(place)
        number += stride
    kinds = {call.split("/")[0] for call in calls}
    assert {"create gc", "create store", "create projects", "write_file packs", "delete packs"} <= kinds
    assert number > 60


def test_collector_killed_at_a_step_loses_something_or_stops_the_next_one(tmp_path: Path) -> None:
    kill_at_calls(tmp_path, 17)


@pytest.mark.slow
def test_collector_killed_at_each_step_loses_something_or_stops_the_next_one(tmp_path: Path) -> None:
    kill_at_calls(tmp_path, 1)


def test_two_collectors_on_one_plan_delete_different_lists(workspace: Workspace, tmp_path: Path) -> None:
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    delete(workspace, name)
    collectors = [Collector(another(workspace, tmp_path, f"{number}").store) for number in range(2)]
    (plan,) = collectors[0].make_plans(grace_s=0)
    collectors[0].publish(plan)
    for collector in collectors:
        collector.condemn(plan.id)
    decided = [collectors[0]._decide(plan)[0]]
    restore_version(workspace, workspace.parse(name))  # between the two
    decided.append(collectors[1]._decide(plan)[0])
    assert decided[0].packs != decided[1].packs
    lists = [gc.create_final(workspace.store.backend, final) for final in decided]
    assert lists[0] == lists[1]
    assert lists[0].cancelled is not None, "who restored it was first"
    for collector, final in zip(collectors, lists, strict=True):
        collector.delete(final)
    assert content(another(workspace, tmp_path, "cold"), name) == {"a": noise(5000)}


def test_plan_that_is_damaged_deletes_something(workspace: Workspace, tmp_path: Path) -> None:
    delete(workspace, log(workspace, tmp_path, "data", {"a": noise(5000)}))
    before = packs(workspace)
    workspace.store.backend.write(gc.plan_key("x"), b'{"format":1,"packs":[{"pack":"../../etc"}]}')
    with pytest.raises(lineart.Error) as caught:
        collect(workspace)
    builders.one_line(caught.value, "plan x", "damaged")
    assert packs(workspace) == before


def test_project_of_an_older_client_is_overlooked(workspace: Workspace, tmp_path: Path) -> None:
    """Stores made before have projects that the store's own log does not know."""
    name = log(workspace, tmp_path, "data", {"a": noise(5000)})
    folder = tmp_path / "store/projects/team/p/log/000000"
    entry = folder / "000000000000.json"
    fields = json.loads(entry.read_bytes())
    fields["ops"] = [op for op in fields["ops"] if op["op"] != "project.create"]
    del fields["verify"]  # which clients of then did not write
    entry.write_bytes(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for path in (tmp_path / "store/store/log/000000").iterdir():
        path.unlink()
    old = another(workspace, tmp_path, "old")
    second = log(old, tmp_path, "other", {"b": noise(6000)})
    assert "team/p" in old.store.facts.state().projects, "its first commit has entered it"
    delete(old, second)
    assert [outcome.state for outcome in collect(old)] == ["deleted"]
    assert content(another(workspace, tmp_path, "cold"), name) == {"a": noise(5000)}
