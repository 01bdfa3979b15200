"""What waited in the outbox while the store was collected: the longest sleep that a writer can have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import s3server
from lineart.artifacts.collecting import Collector
from lineart.artifacts.project import Project
from lineart.storage.errors import StoreError
from lineart.tracking import Workspace, find_settings
from lineart.tracking.links import delete_version
from lineart.tracking.syncing import outbox_of, sync

ART = str(Path(sys.executable).with_name("art"))
CONTENT = builders.noise(30_000, 1)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3server.moto() as server:
        url = s3server.use(server, monkeypatch)
        monkeypatch.chdir(tmp_path)
        subprocess.run([ART, "init", url, "--no-config"], check=True, capture_output=True)
        yield url


def workspace(cache: Path | None = None) -> Workspace:
    """The store as this machine knows it, or one with another cache."""
    settings = find_settings(project="p", entity="team")
    if cache is None:
        return Workspace.open(settings)
    return Workspace.open(replace(settings, cache=cache, data=cache))


def log(run_id: str, mode: Any, note: str) -> None:
    """A run that logs the content that everybody has, with a note of its own."""
    with lineart.init(project="team/p", id=run_id, mode=mode, settings={"system": False}) as run:
        made = lineart.Artifact("data", "dataset")
        with made.new_file("content", "wb") as file:
            file.write(CONTENT)
        with made.new_file("note") as file:
            file.write(note)
        run.log_artifact(made)


def read(machine: Workspace, name: str) -> tuple[bytes, bytes]:
    version = machine.version(name)
    with version.open("content") as content, version.open("note") as note:
        return content.read(), note.read()


def log_offline_on_top_of_a_version_that_is_deleted() -> None:
    log("first", None, "first")
    lineart.Api().artifact("team/p/data:v0")
    log("second", "offline", "second")
    machine = workspace()
    delete_version(machine, machine.parse("data:v0"))


def test_version_from_the_outbox_names_packs_that_are_condemned(bucket: str, tmp_path: Path) -> None:
    log_offline_on_top_of_a_version_that_is_deleted()
    collector = Collector(workspace(tmp_path / "elsewhere").store)
    (plan,) = collector.make_plans(grace_s=0)
    collector.publish(plan)
    sent = sync(workspace())
    assert sent.versions == ["team/p/data:v1"]
    outcome = collector.finish(plan)
    assert len(outcome.packs) == len(plan.packs), "nothing relies on what was planned"
    assert read(workspace(tmp_path / "cold"), "data:v1") == (CONTENT, b"second")
    assert outbox_of(workspace()).is_empty()
    assert sync(workspace()).transactions == 0


def test_version_whose_bytes_are_collected_is_sent_without_them(bucket: str, tmp_path: Path) -> None:
    """They lay in the store alone: the outbox keeps the rest and says what to do."""
    log_offline_on_top_of_a_version_that_is_deleted()
    Collector(workspace(tmp_path / "elsewhere").store).collect(grace_s=0)
    with pytest.raises(StoreError) as caught:
        sync(workspace())
    builders.one_line(caught.value, "team/p/data", "collected", "log its files again")
    state = workspace(tmp_path / "cold").project().state()
    assert [version.deleted for version in state.collections["data"].versions.values()] == [True]
    assert not outbox_of(workspace()).is_empty()


def test_bytes_of_the_outbox_that_are_collected_as_soon_as_they_are_there(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the upload and the commit a collector without grace takes the packs for garbage."""
    log("alone", "offline", "alone")
    commit_stored, collected = Project.commit_stored, []

    def slowly(self, store_bytes, decide):  # type: ignore[no-untyped-def]
        if not collected:
            collected.extend(Collector(workspace(tmp_path / "elsewhere").store).collect(grace_s=0))
        return commit_stored(self, store_bytes, decide)

    monkeypatch.setattr(Project, "commit_stored", slowly)
    sync(workspace())
    assert [outcome.state for outcome in collected] == ["deleted"]
    assert read(workspace(tmp_path / "cold"), "data:v0") == (CONTENT, b"alone")
    assert Collector(workspace(tmp_path / "elsewhere").store).collect(grace_s=0) == []
