"""Every step of everything that writes, killed or failed before and after, on disk and on S3.

Afterwards nothing that was acknowledged is missing, nothing half-made is visible, and who does it again makes it whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import builders
import s3server
from collected_store import HOME, content, delete, log
from lineart.artifacts.collecting import Collector
from lineart.artifacts.decisions import decide_alias
from lineart.artifacts.names import ArtifactName
from lineart.storage import log as storage_log
from lineart.storage.errors import CommError
from lineart.storage.faults import Fault, FaultyBackend
from lineart.storage.log import Position
from lineart.storage.store import Machine, Store, open_backend, project_prefix
from lineart.tracking import Workspace
from lineart.tracking.syncing import outbox_of, sync
from lineart.tracking.transfer import Choice, copy

CREATED = "2026-01-02T03:04:05.000006Z"
FILES = {"a": builders.noise(3_000, 1), "b/c": builders.noise(20_000, 2)}
KEPT = {"a": FILES["a"]}
MORE = {"a": FILES["a"], "d": builders.noise(5_000, 3)}
FAULTS = ("killed before", "killed after", "fails", "answer lost", "torn")
_MET = {"fails": Fault.BEFORE, "answer lost": Fault.AFTER, "torn": Fault.TORN}


class Killed(BaseException):
    """The end of a process, as far as a test in one process can have it."""


@dataclass(slots=True)
class Trouble:
    """One fault at one call; of a process that is dead, none does anything any more."""

    kind: str
    at: int
    calls: int = 0
    met: str = ""
    is_dead: bool = False

    def plan(self, method: str, key: str) -> Fault | None:
        self.calls += 1
        if self.calls - 1 != self.at or self.kind not in _MET:
            return None
        self.met = f"{method} {key}"
        return _MET[self.kind]

    def step(self, method: str, key: str) -> None:
        number, is_done = self.calls - 1, method.endswith(".done")
        is_here = number == self.at and not is_done
        if (
            self.kind == "killed after"
        ):  # at the next call, where this one is not done because nothing is there
            is_here = number > self.at or (number == self.at and is_done)
        if self.kind.startswith("killed") and is_here and not self.met:
            self.met, self.is_dead = f"{method} {key}", True
        if self.is_dead:
            raise Killed(self.met)


@dataclass(slots=True)
class Scene:
    """Where one case plays: the store, what its machine has, and a store beside it."""

    url: str
    folder: Path
    trouble: Trouble | None = None
    acknowledged: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def workspace(self, machine: str, *, offline: bool = False) -> Workspace:
        """The store on a machine; on the one called "here" with the trouble."""
        backend = open_backend(self.url)
        if self.trouble is not None and machine == "here":
            backend = FaultyBackend(backend, self.trouble.plan, on_step=self.trouble.step)
        cache = self.folder / machine
        options = Machine(cache, data=cache, offline=offline)
        return Workspace(Store.on(backend, cache=cache, machine=options), HOME, cache)

    def laptop(self) -> Workspace:
        return Workspace(Store.open(str(self.folder / "laptop"), cache=self.folder / "laptop-cache"), HOME)


Act = Callable[[Scene, Workspace], None]


def _nothing(scene: Scene) -> None:
    """What an action needs beside the store."""


def _log(scene: Scene, here: Workspace) -> None:
    name = log(here, scene.folder, "data", MORE, aliases=["best"])
    scene.acknowledged[name] = MORE


def _promote(scene: Scene, here: Workspace) -> None:
    wanted = ArtifactName(HOME, "data", "v1")
    here.project().commit(lambda state: decide_alias(state, wanted, "production"))
    scene.acknowledged["data:production"] = KEPT


def _go_offline(scene: Scene) -> None:
    before = scene.workspace("here")
    before.project().state()
    before.close()
    away = scene.workspace("here", offline=True)
    for number in range(2):
        log(away, scene.folder, "away", {"x": builders.noise(2_000, number)}, aliases=["best"])
    overlay = away.store.overlay
    assert overlay is not None
    overlay.outbox.release()
    away.close()


def _sync(scene: Scene, here: Workspace) -> None:
    sync(here)
    assert outbox_of(here).is_empty()
    for number in range(2):
        scene.acknowledged[f"away:v{number}"] = {"x": builders.noise(2_000, number)}


def _make_laptop(scene: Scene) -> None:
    store = Store.create(
        str(scene.folder / "laptop"), cache=scene.folder / "laptop-cache", entity="team", created=CREATED
    )
    laptop = Workspace(store, HOME)
    for number in range(2):
        log(laptop, scene.folder, "pushed", {"x": builders.noise(2_000, number)})
    laptop.close()


def _push(scene: Scene, here: Workspace) -> None:
    laptop = scene.laptop()
    copy(laptop, here, Choice(everything=True))
    laptop.close()
    for number in range(2):
        scene.acknowledged[f"pushed:v{number}"] = {"x": builders.noise(2_000, number)}


def _collect(scene: Scene, here: Workspace) -> None:
    Collector(here.store).collect(grace_s=0, share=0)


def _compact(scene: Scene, here: Workspace) -> None:
    Collector(here.store).collect(grace_s=0, share=0.9)


def _seal(scene: Scene, here: Workspace) -> None:
    """Enough commits for a segment and a checkpoint."""
    wanted = ArtifactName(HOME, "data", "v1")
    for number in range(storage_log.FOLDER_ENTRIES + 1):
        alias = f"alias-{number}"
        here.project().commit(lambda state, alias=alias: decide_alias(state, wanted, alias))  # type: ignore[misc]
        scene.acknowledged[f"data:{alias}"] = KEPT


ACTIONS: dict[str, tuple[Callable[[Scene], None], Act, int]] = {  # how many calls there are at least
    "log": (_nothing, _log, 6),
    "promote": (_nothing, _promote, 3),
    "sync": (_go_offline, _sync, 10),
    "push": (_make_laptop, _push, 10),
    "collect": (_nothing, _collect, 12),
    "compact": (_nothing, _compact, 15),
    "checkpoint": (_nothing, _seal, 10),
}


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as running:
        yield running


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_log, "FOLDER_ENTRIES", 8)


def _made(folder: Path) -> dict[str, bytes]:
    """A store with two versions, the first deleted, as keys and values."""
    store = Store.create(str(folder / "made"), cache=folder / "made-cache", entity="team", created=CREATED)
    maker = Workspace(store, HOME)
    log(maker, folder, "data", FILES)
    log(maker, folder, "data", KEPT)
    delete(maker, "data:v0")
    maker.close()
    root = folder / "made"
    files = [path for path in root.rglob("*") if path.is_file() and ".staging" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _check(scene: Scene, machine: str) -> None:
    """All that was acknowledged is there, and all that is visible is whole."""
    found = scene.workspace(machine)
    what = scene.trouble.met if scene.trouble is not None else "the end"
    for name, files in scene.acknowledged.items():
        assert content(found, name) == files, (what, name)
    for name in found.project().state().collections:
        for version in found.versions(name):
            assert list(version.verify_stored()) == [], (what, str(version.name))
    entries = list(found.store.log(project_prefix(HOME.entity, HOME.project)).read_after(Position()))
    assert [entry.position.seq for entry in entries] == list(range(len(entries))), what
    catalog = found.catalog()
    assert len(catalog.rows("SELECT * FROM versions")) >= len(found.versions("data"))
    catalog.close()
    found.close()


def _play(made: dict[str, bytes], url: str, folder: Path, action: str, kind: str, at: int) -> Trouble:
    """One case: the trouble, whether it came to it."""
    backend = open_backend(url)
    for key, value in made.items():
        backend.write(key, value)
    backend.close()
    prepare, act, _ = ACTIONS[action]
    scene = Scene(url, folder, acknowledged={"data:v1": KEPT})
    prepare(scene)
    scene.trouble = trouble = Trouble(kind, at)
    here = None
    try:
        here = scene.workspace("here")
        act(scene, here)
    except (Killed, CommError):
        assert trouble.met, "nothing was wrong"
    if here is not None:
        here.store.stat_cache.close()
    if trouble.met:
        _check(scene, "elsewhere")
    scene.trouble = None
    again = scene.workspace("here")
    act(scene, again)
    again.close()
    _check(scene, "cold")
    _check_exact(scene)
    return trouble


def _check_exact(scene: Scene) -> None:
    """Done again, it is there once."""
    found = scene.workspace("cold")
    state = found.project().state()
    for name, collection in state.collections.items():
        digests = [version.digest for version in collection.live()]
        assert len(digests) == len(set(digests))
        assert sorted(collection.versions) == list(range(collection.next_version)), name
        assert collection.next_version <= 3
    found.close()


def _matrix(tmp_path: Path, action: str, kind: str, stride: int, url: Callable[[int], str]) -> None:
    made = _made(tmp_path)
    at = FAULTS.index(kind) % stride  # so that each step meets one of the faults, whatever the stride
    while True:
        folder = tmp_path / f"case-{at}"
        folder.mkdir()
        trouble = _play(made, url(at), folder, action, kind, at)
        shutil.rmtree(folder)
        if not trouble.met:
            break
        at += stride
    assert at > ACTIONS[action][2], "the action has more steps"


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "sync"])
def test_steps_on_disk(action: str, kind: str, tmp_path: Path, short_segments: None) -> None:
    _matrix(tmp_path, action, kind, 5, lambda at: str(tmp_path / f"case-{at}" / "store"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "sync"])
def test_every_step_on_disk(action: str, kind: str, tmp_path: Path, short_segments: None) -> None:
    _matrix(tmp_path, action, kind, 1, lambda at: str(tmp_path / f"case-{at}" / "store"))


def _on_s3(
    tmp_path: Path, action: str, kind: str, stride: int, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = s3server.new_bucket(server)
    _matrix(tmp_path, action, kind, stride, lambda at: f"{bucket}/case-{at}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["killed before", "answer lost"])
@pytest.mark.parametrize("action", ["log", "sync"])
def test_steps_on_s3(
    action: str, kind: str, tmp_path: Path, server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_s3(tmp_path, action, kind, 9, server, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("action", list(ACTIONS))
def test_every_step_on_s3(
    action: str,
    kind: str,
    tmp_path: Path,
    server: s3server.S3Server,
    monkeypatch: pytest.MonkeyPatch,
    short_segments: None,
) -> None:
    _on_s3(tmp_path, action, kind, 3, server, monkeypatch)
