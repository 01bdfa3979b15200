"""Copying between stores of which one collects garbage, before, after and while it is copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import builders
import s3server
from collected_store import HOME, collect, content, delete, log, packs, packs_of
from lineart.artifacts.collecting import Collector
from lineart.artifacts.project import Project
from lineart.storage.counting import CountingBackend
from lineart.storage.store import Store, open_backend
from lineart.tracking import Workspace
from lineart.tracking.links import restore_version
from lineart.tracking.transfer import Choice, Report, copy

ALL = Choice(everything=True)
KEPT = builders.noise(2_000, 1)
LARGE = builders.noise(300_000, 2)


def made(tmp_path: Path, name: str) -> Workspace:
    store = Store.create(
        str(tmp_path / name), cache=tmp_path / f"{name}-cache", entity="team", created="2026-01-02T03:04:05Z"
    )
    return Workspace(store, HOME)


@pytest.fixture
def laptop(tmp_path: Path) -> Workspace:
    return made(tmp_path, "laptop")


@pytest.fixture
def team(tmp_path: Path) -> Workspace:
    return made(tmp_path, "team")


def copied(source: Workspace, target: Workspace) -> Report:
    report = copy(source, target, ALL)
    assert copy(source, target, ALL).transactions == 0, "a second copy says nothing"
    return report


def again(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The same store on a machine that has nothing of it."""
    return Workspace(Store.open(workspace.url, cache=tmp_path / "cold"), HOME)


def test_version_whose_packs_were_compacted_comes_with_their_successors(
    laptop: Workspace, team: Workspace, tmp_path: Path
) -> None:
    log(laptop, tmp_path, "data", {"kept": KEPT, "large": LARGE})
    log(laptop, tmp_path, "data", {"kept": KEPT})
    before = packs_of(laptop, "data:v1")
    delete(laptop, "data:v0")
    (outcome,) = collect(laptop, share=0.9)
    assert outcome.copied_bytes > 0
    assert not before <= packs(laptop)
    copied(laptop, team)
    cold = again(team, tmp_path)
    assert content(cold, "data:v1") == {"kept": KEPT}
    assert packs_of(cold, "data:v1") <= packs(cold)
    assert [*cold.version(cold.parse("data:v1")).verify_stored()] == []


@pytest.mark.parametrize("is_final", [False, True])
def test_pack_that_the_target_is_collecting_is_stored_there_under_another_name(
    laptop: Workspace, team: Workspace, tmp_path: Path, is_final: bool
) -> None:
    log(laptop, tmp_path, "data", {"kept": KEPT})
    copied(laptop, team)
    delete(team, "data:v0")
    collector = Collector(team.store)
    (plan,) = collector.make_plans(grace_s=0)
    collector.publish(plan)
    if is_final:
        collector.finish(plan)
    log(laptop, tmp_path, "more", {"kept": KEPT})
    assert packs_of(laptop, "more:v0") & packs_of(laptop, "data:v0")
    copied(laptop, team)
    collector.finish(plan)
    cold = again(team, tmp_path)
    assert content(cold, "more:v0") == {"kept": KEPT}
    assert not packs_of(cold, "more:v0") & {pack.pack for pack in plan.packs}
    assert cold.version(cold.parse("data:v0"), deleted_too=True).state.deleted


def test_packs_that_are_condemned_between_copy_and_commit(
    laptop: Workspace, team: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(laptop, tmp_path, "data", {"kept": KEPT})
    log(team, tmp_path, "other", {"x": b"x"})
    commit, outcomes = Project.commit, []

    def late(self: Project, decide: Any) -> Any:
        if self.store is team.store and not outcomes:
            other = Store.open(team.url, cache=tmp_path / "collector")
            outcomes.extend(Collector(other).collect(grace_s=0))
        return commit(self, decide)

    monkeypatch.setattr(Project, "commit", late)
    copied(laptop, team)
    assert [outcome.state for outcome in outcomes] == ["deleted"]
    assert content(again(team, tmp_path), "data:v0") == {"kept": KEPT}


@pytest.mark.parametrize("is_collected", [False, True])
def test_version_that_was_restored_is_restored_in_the_copy_too(
    laptop: Workspace, team: Workspace, tmp_path: Path, is_collected: bool
) -> None:
    log(laptop, tmp_path, "data", {"kept": KEPT})
    log(laptop, tmp_path, "data", {"other": LARGE})
    copied(laptop, team)
    delete(laptop, "data:v0")
    copied(laptop, team)
    assert team.version(team.parse("data:v0"), deleted_too=True).state.deleted
    if is_collected:
        assert collect(team)[0].packs
    assert restore_version(laptop, laptop.parse("data:v0"))
    assert copied(laptop, team).versions == 1
    collect(team)
    assert content(again(team, tmp_path), "data:v0") == {"kept": KEPT}


def test_source_that_is_compacted_while_it_is_copied(
    laptop: Workspace, team: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(laptop, tmp_path, "data", {"kept": KEPT, "large": LARGE})
    log(laptop, tmp_path, "data", {"kept": KEPT})
    delete(laptop, "data:v0")
    check, outcomes = Project.check_plans, []

    def late(self: Project) -> None:  # what is to be copied is known then, and nothing of it is copied
        if self.store is team.store and not outcomes:
            other = Store.open(laptop.url, cache=tmp_path / "collector")
            outcomes.extend(Collector(other).collect(grace_s=0, share=0.9))
        check(self)

    monkeypatch.setattr(Project, "check_plans", late)
    copied(laptop, team)
    assert outcomes[0].copied_bytes > 0
    assert content(again(team, tmp_path), "data:v1") == {"kept": KEPT}


def test_version_of_many_packs_gets_an_index_in_a_bucket(
    laptop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a laptop does without: a reader there needs one request for the places of all files."""
    with s3server.moto() as server:
        url = s3server.new_bucket(server) + "/team"
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        bucket = Workspace(
            Store.create(
                url, cache=tmp_path / "bucket", entity="team", created="2026-01-02T03:04:05.000006Z"
            ),
            HOME,
        )
        files = {f"{number}": builders.noise(3_000, number) for number in range(8)}
        for number in range(1, 9):
            log(laptop, tmp_path, "data", dict(list(files.items())[:number]))
        copied(laptop, bucket)
        backend = CountingBackend(open_backend(url))
        cold = Workspace(Store.on(backend, cache=tmp_path / "counted"), HOME)
        version = cold.version("data:v7")
        assert len(version.packs.data) == 8
        assert version.packs.index is not None
        before = sum(backend.calls.values())
        with version.open("3") as stream:
            assert stream.read() == files["3"]
        assert sum(backend.calls.values()) - before <= 7
        back = made(tmp_path, "back")
        copied(bucket, back)
        assert content(back, "data:v7") == files
        cold.store.close()
        bucket.store.close()
