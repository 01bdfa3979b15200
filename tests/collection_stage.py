"""A stage for processes that collect, log, delete and restore at once: real code, one backend call at a time.

Each actor runs in a thread of its own and stops before every call to the store. Who goes on next is decided from
outside, so any interleaving of calls can be played, with actors that sleep for as long as one likes, or die.
"""

from __future__ import annotations

import itertools
import random
import sys
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from lineart.artifacts import collecting
from lineart.artifacts.collecting import Collector
from lineart.artifacts.decisions import Content, LogRequest, decide_log
from lineart.artifacts.manifest import Entry, Manifest
from lineart.artifacts.marking import ProjectMarks
from lineart.artifacts.names import ArtifactName, ProjectName
from lineart.artifacts.project import Project
from lineart.storage import commit, gc, log, objects, snapshot
from lineart.storage.backend import Backend
from lineart.storage.chunker import METADATA_CHUNKER, ChunkerParameters
from lineart.storage.codec import Codec
from lineart.storage.digest import digest_of
from lineart.storage.errors import ConflictError, Error, NotFoundError, UsageError
from lineart.storage.gc import closure
from lineart.storage.locations import Location
from lineart.storage.log import Position
from lineart.storage.memory import MemoryBackend
from lineart.storage.objects import Objects
from lineart.storage.pack import HEADER, PackedObject, PackLimits, encode_trailer, pack_key
from lineart.storage.store import SETTINGS_KEY, Store, StoreSettings, project_prefix
from lineart.storage.wrapper import BackendWrapper
from lineart.tracking.links import delete_version, link_version, restore_version
from lineart.tracking.workspace import Workspace

_R = TypeVar("_R")

PROJECTS = [ProjectName("team", name) for name in "abcdef"]  # those further back come into being later
COLLECTIONS = ("x", "y")
CONTENTS = [random.Random(number).randbytes(150 + 40 * (number % 5)) for number in range(24)]
_BURSTS = (1, 1, 2, 5, 20, 60, 200)  # calls that an actor makes before it is another's turn
_salts = itertools.count()


class Inline:
    """In place of thread pools: what they do is done by the actor itself, call by call."""

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def shutdown(self, **how: bool) -> None:
        pass

    def submit(self, work: Callable[..., _R], *arguments: Any) -> Future[_R]:
        done: Future[_R] = Future()
        done.set_result(work(*arguments))
        return done

    def map(self, work: Callable[[Any], _R], items: Iterable[Any]) -> list[_R]:
        return [work(item) for item in items]


class NoClock:
    """In place of the module `time` where a lost race is waited out: on the stage waiting is another's turn."""

    @staticmethod
    def sleep(seconds: float) -> None:
        pass


def prepare(patch: pytest.MonkeyPatch) -> None:
    """Make what the actors do a matter of one thread each, and of the stage's dice alone."""
    patch.setattr(sys.modules[__name__], "_salts", itertools.count())  # the same names each time
    for module in (log, objects, gc, snapshot, collecting):
        patch.setattr(module, "ThreadPoolExecutor", Inline)
    patch.setattr(commit, "time", NoClock)
    patch.setattr(snapshot, "new_salt", lambda: next(_salts).to_bytes(16))
    patch.setattr(collecting, "_new_id", lambda now_s: f"plan-{next(_salts):09}")


class Killed(BaseException):
    """Ends an actor in the middle of whatever it does."""


class MemoryLocations:
    """What a machine knows of packs, as `Locations` keeps it; it outlives the processes on it."""

    def __init__(self) -> None:
        self._packs: dict[bytes, dict[bytes, Location]] = {}
        self._plans: set[str] = set()
        self._collected: set[bytes] = set()

    def find(self, digests: Iterable[bytes], without: Container[bytes] = ()) -> dict[bytes, Location]:
        found: dict[bytes, Location] = {}
        for digest in digests:
            for pack, held in self._packs.items():
                if digest in held and pack not in without:
                    found[digest] = held[digest]
                    break
        return found

    def places(self, digests: Sequence[bytes], packs: Container[bytes]) -> list[tuple[bytes, Location]]:
        return [
            (digest, held[digest])
            for pack, held in self._packs.items()
            for digest in digests
            if pack in packs and digest in held
        ]

    def known_packs(self, packs: Iterable[bytes]) -> set[bytes]:
        return set(packs) & self._packs.keys()

    def add(self, pack: bytes, size_bytes: int, objects: Sequence[PackedObject]) -> None:
        self._packs[pack] = {
            o.digest: Location(pack, o.offset, o.stored_bytes, o.raw_bytes, o.codec) for o in objects
        }

    def forget(self, packs: Collection[bytes]) -> None:
        for pack in packs:
            self._packs.pop(pack, None)

    def collected(self) -> tuple[set[str], set[bytes]]:
        return set(self._plans), set(self._collected)

    def note_collected(self, plans: Iterable[str], packs: Iterable[bytes]) -> None:
        self._collected |= set(packs)
        self._plans |= set(plans)

    def close(self) -> None:
        pass


class Stage:
    """The store, and who acts on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backend = MemoryBackend()
        settings = StoreSettings(
            store="5" * 32,
            entity="team",
            created="2026-01-02T03:04:05.000006Z",
            chunker=ChunkerParameters(),
            metadata_chunker=METADATA_CHUNKER,
            pack=PackLimits(),
            capabilities={"conditional_create": True},
        )
        self.settings = settings
        self.backend.create(SETTINGS_KEY, settings.encode())
        self.actors: list[Actor] = []
        self.handed_back = threading.Lock()
        self.handed_back.acquire()

    def store(self, backend: Backend | None = None, machine: MemoryLocations | None = None) -> Store:
        """The store as a process sees it that has just opened it."""
        store = Store(backend or self.backend, self.settings, self.folder)
        locations = machine or MemoryLocations()
        store.objects = Objects(store.backend, locations, store.facts)  # type: ignore[arg-type]
        return store

    def close(self) -> None:
        """Kill everybody."""
        for actor in self.actors:
            actor.kill()

    # What must hold after every step

    def lost(self) -> list[str]:
        """What a machine that knows nothing cannot read of all that the logs say is there."""
        store, found = self.store(), []
        for entity, project in store.projects():
            marks = ProjectMarks(f"{entity}/{project}")
            log = store.log(project_prefix(entity, project))
            marks.add(entry.transaction for entry in log.read_after(Position()))
            for holder in marks.live():
                packs = [bytes.fromhex(pack) for pack in (*holder.meta_packs, *holder.packs)]
                try:
                    manifest = Manifest.decode(store.objects.read(bytes.fromhex(holder.digest), packs))
                    for entry in manifest.values():
                        store.objects.read(bytes.fromhex(entry.digest or ""), packs)
                except Error as error:
                    found.append(f"{holder.name}: {error}")
        return found

    def garbage(self) -> set[str]:
        """The packs that nothing needs."""
        store = self.store()
        live: set[str] = set()
        for entity, project in store.projects():
            marks = ProjectMarks(f"{entity}/{project}")
            log = store.log(project_prefix(entity, project))
            marks.add(entry.transaction for entry in log.read_after(Position()))
            live |= {pack for holder in marks.live() for pack in (*holder.packs, *holder.meta_packs)}
        return store.pack_sizes().keys() - closure(live, store.facts.state().replaced)


class _Paused(BackendWrapper):
    """Waits for the actor's turn before each call that comes from its own thread."""

    def __init__(self, inner: Backend, actor: Actor) -> None:
        super().__init__(inner)
        self._actor = actor

    def _around(self, method: str, key: str, call: Callable[[], _R]) -> _R:
        self._actor.pause(f"{method} {key}")
        return call()


class Actor:
    """A process on a machine. Give it something to do, then let it go on, call by call."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.random = random.Random(seed)
        self.machine = MemoryLocations()
        self.at = ""  # the call that comes next
        self.commits = 0
        self.refused = 0
        self.deaths = 0
        self._thread: threading.Thread | None = None
        self._go = threading.Lock()
        self._go.acquire()
        self._killed = False
        self._failure: BaseException | None = None
        self.born()
        stage.actors.append(self)

    def born(self) -> None:
        """Open the store, as a new process on the same machine."""
        backend = _Paused(self.stage.backend, self)
        self.workspace = Workspace(self.stage.store(backend, self.machine), PROJECTS[0])

    @property
    def store(self) -> Store:
        return self.workspace.store

    @property
    def is_busy(self) -> bool:
        """Whether it has something to do."""
        return self._thread is not None

    def start(self, task: Callable[[], object]) -> None:
        """Begin `task`, up to its first call."""
        self._thread = threading.Thread(target=self._run, args=(task,), daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> None:
        """Let it make one call, and go on to the next."""
        self._go.release()
        self._wait()

    def kill(self) -> None:
        """End it before its next call; another process on the same machine takes its place."""
        if self.is_busy:
            self._killed = True
            self.step()
            assert not self.is_busy, f"survived at {self.at}"
            self._killed = False
            self.deaths += 1
        self.born()

    def finish(self) -> None:
        """Let it go on to the end of what it does."""
        while self.is_busy:
            self.step()

    def _wait(self) -> None:
        self.stage.handed_back.acquire()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _run(self, task: Callable[[], object]) -> None:
        try:
            task()
        except Killed:
            self._thread = None
        except BaseException as error:  # raised in the thread of the test
            self._failure = error
        self._thread = None
        self.stage.handed_back.release()

    def pause(self, at: str) -> None:
        """Hand over to the stage, if it is this actor that calls and not one of its helpers."""
        if threading.current_thread() is not self._thread:
            return
        self.at = at
        self.stage.handed_back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    # What it can do

    def put(self, contents: Sequence[bytes]) -> Content:
        """Store contents as one pack with their manifest in another, what the store has left out."""
        entries = [
            Entry(f"{number:03}", "file", digest_of(content).hex(), len(content))
            for number, content in enumerate(contents)
        ]
        manifest = Manifest.of(entries).encode()
        packs, meta_packs = self._put(contents), self._put([manifest])
        return Content(
            digest_of(manifest).hex(), sum(map(len, contents)), len(contents), 0, packs, meta_packs, None
        )

    def _put(self, contents: Sequence[bytes]) -> list[str]:
        objects = self.store.objects
        by_digest = {digest_of(content): content for content in contents}
        available = objects.available(list(by_digest))
        needed = set(available.packs)
        if available.missing:
            new = [by_digest[digest] for digest in by_digest if digest in available.missing]
            if objects.condemned:
                new.insert(0, next(_salts).to_bytes(16))
            offset, rows = len(HEADER), []
            for content in new:
                rows.append(PackedObject(digest_of(content), len(content), offset, len(content), Codec.RAW))
                offset += len(content)
            data = HEADER + b"".join(new) + encode_trailer(rows)
            pack = digest_of(data)
            self.store.backend.write(pack_key(pack), data)
            objects.added(pack, len(data), rows)
            needed.add(pack)
        return sorted(pack.hex() for pack in needed)

    def log(self, project: ProjectName, collection: str, contents: Sequence[bytes]) -> None:
        """Log a version."""

        def decide(state: object, content: Content) -> Sequence[object]:
            return decide_log(state, LogRequest(collection, "data", content))  # type: ignore[arg-type]

        self._counted(
            lambda: self._home(project).commit_stored(lambda: self.put(contents), decide)  # type: ignore[arg-type]
        )

    def end_run(self, project: ProjectName, run: str, contents: Sequence[bytes]) -> None:
        """End a run that has left files."""

        def decide(state: object, content: Content) -> list[dict[str, object]]:
            files = {
                "digest": content.digest,
                "packs": list(content.packs),
                "meta_packs": list(content.meta_packs),
            }
            return [{"op": "run.finish", "run": run, "writer": "w", "state": "finished", "files": files}]

        self._counted(lambda: self._home(project).commit_stored(lambda: self.put(contents), decide))

    def delete_run(self, project: ProjectName, run: str) -> None:
        """Delete a run."""
        self._counted(lambda: self._home(project).commit(lambda state: [{"op": "run.delete", "run": run}]))

    def delete(self, project: ProjectName, collection: str) -> None:
        """Delete some version."""
        versions = self._versions(project, collection, deleted=False)
        if versions:
            name = ArtifactName(project, collection, f"v{self.random.choice(versions)}")
            self._counted(lambda: delete_version(self.workspace, name))

    def restore(self, project: ProjectName, collection: str) -> None:
        """Bring some deleted version back, if that can be done."""
        versions = self._versions(project, collection, deleted=True)
        if versions:
            name = ArtifactName(project, collection, f"v{self.random.choice(versions[-5:])}")
            self._counted(lambda: restore_version(self.workspace, name))

    def link(self, project: ProjectName, collection: str, target: ProjectName) -> None:
        """Link some version into another project."""
        versions = self._versions(project, collection, deleted=False)
        if versions:
            name = ArtifactName(project, collection, f"v{self.random.choice(versions)}")
            self._counted(lambda: link_version(self.workspace, name, f"{target}/linked"))

    def collect(self, share: float = 0.5) -> None:
        """Collect what is dead, without grace."""
        Collector(self.store).collect(grace_s=0, share=share)

    def _home(self, project: ProjectName) -> Project:
        return self.workspace.project(project)

    def _versions(self, project: ProjectName, collection: str, *, deleted: bool) -> list[int]:
        found = self._home(project).state().collections.get(collection)
        return (
            [] if found is None else sorted(v.number for v in found.versions.values() if v.deleted is deleted)
        )

    def _counted(self, commit: Callable[[], object]) -> None:
        try:
            commit()
            self.commits += 1
        except (NotFoundError, UsageError, ConflictError):  # somebody was first, or it was collected
            self.refused += 1


def random_task(actor: Actor, source: random.Random, projects: int) -> Callable[[], object]:
    """Something that a writer may do in one of the first projects. What it logs is often what was there before."""
    known = PROJECTS[:projects]
    project, collection = source.choice(known), source.choice(COLLECTIONS)
    contents = source.sample(CONTENTS, source.randint(1, 5))
    run = f"r{source.randrange(1000)}"
    kind = source.random()
    if kind < 0.45:
        return lambda: actor.log(project, collection, contents)
    if kind < 0.75:
        return lambda: actor.delete(project, source.choice([*COLLECTIONS, "linked"]))
    if kind < 0.83:
        return lambda: actor.restore(project, collection)
    if kind < 0.90:
        target = source.choice([other for other in known if other != project])
        return lambda: actor.link(project, collection, target)
    if kind < 0.96:
        return lambda: actor.end_run(project, run, contents)
    return lambda: actor.delete_run(project, run)


def play(
    stage: Stage,
    source: random.Random,
    *,
    commits: int,
    writers: int = 4,
    collectors: int = 2,
    looks: int = 2,
) -> Iterator[list[str]]:
    """An act with random interleavings, sleeps and deaths; yields what is lost, `looks` times and at the end."""
    authors = [Actor(stage, source.getrandbits(32)) for _ in range(writers)]
    gatherers = [Actor(stage, source.getrandbits(32)) for _ in range(collectors)]
    everybody = [*authors, *gatherers]
    asleep: dict[int, int] = {}
    steps = done = 0
    look_at = sorted(source.randrange(commits) for _ in range(looks))
    while done < commits:
        steps += 1
        done = sum(author.commits for author in authors)
        number = source.randrange(len(everybody))
        actor = everybody[number]
        if asleep.get(number, 0) > steps:
            if all(asleep.get(other, 0) > steps for other in range(len(everybody))):
                asleep.clear()
            continue
        chance = source.random()
        if chance < 0.02:
            asleep[number] = steps + int(source.expovariate(1 / 60))
        elif chance < 0.03:
            actor.kill()
        else:
            # Now one call, now a whole commit or a whole collection: while one runs, the others are asleep.
            for _ in range(source.choice(_BURSTS)):
                if actor.is_busy:
                    actor.step()
                elif number < writers:
                    projects = 2 + len(PROJECTS) * done // commits
                    actor.start(random_task(actor, source, projects))
                    done = sum(author.commits for author in authors)
                else:
                    actor.start(actor.collect)
        if look_at and done >= look_at[0]:
            look_at.pop(0)
            yield stage.lost()
    for actor in source.sample(everybody, len(everybody)):
        actor.finish()
    yield stage.lost()
