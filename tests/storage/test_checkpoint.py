"""Checkpoints of a folded project: a shorter way to the same state, and never to another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard

import builders
from lineart.artifacts.decisions import Content, LogRequest, decide_alias, decide_deletion, decide_log
from lineart.artifacts.names import ArtifactName, ProjectName
from lineart.artifacts.project import Project, decode_checkpoint
from lineart.artifacts.state import ProjectState, replay
from lineart.storage.backend import Backend
from lineart.storage.counting import CountingBackend
from lineart.storage.errors import FormatError, IntegrityError
from lineart.storage.log import BackendLog, Position
from lineart.storage.memory import MemoryBackend
from lineart.storage.store import SETTINGS_KEY, Store

NAME = ProjectName("team", "digits")
PREFIX = "projects/team/digits/"
CHECKPOINT = f"{PREFIX}checkpoints/000000000999/state.json.zst"
COUNT = 1050


def request(number: int) -> LogRequest:
    digest = f"{number:064x}"
    content = Content(digest, number, 1, 0, packs=[digest], meta_packs=[digest], packs_object=None)
    return LogRequest(f"c{number % 5}", "dataset", content, [f"a{number % 3}"], ["tag"], {"n": [number, "ü"]})


def fill(project: Project, count: int) -> None:
    """One transaction of some kind after the other."""
    for number in range(count):
        kept, doomed = (ArtifactName(NAME, f"c{number % 5}", f"v{n}") for n in (number % 7, 7 + number // 97))
        if number > 100 and number % 10 == 0:
            project.commit(lambda state, name=kept: decide_alias(state, name, "best"))
        elif number > 100 and number % 97 == 0:
            project.commit(lambda state, name=doomed: decide_deletion(state, name, delete_aliases=True))
        else:
            project.commit(lambda state, number=number: decide_log(state, request(number)))
        while project.position.seq < number:  # an alias that stood there already made no transaction
            project.commit(lambda state, number=number: [{"op": "run.update", "run": f"{number}"}])


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The values of a store whose project has a checkpoint and a tail."""
    store = builders.memory_store(tmp_path_factory.mktemp("filled"))
    fill(Project(store, NAME), COUNT)
    return {found.key: store.backend.read(found.key) for found in store.backend.list("")}


@pytest.fixture
def store(values: dict[str, bytes], tmp_path: Path) -> Store:
    """A copy of the filled store whose requests are counted."""
    memory = MemoryBackend()
    for key, value in values.items():
        memory.write(key, value)
    counting = CountingBackend(memory)
    opened = Store.on(memory, cache=tmp_path / "cache")
    return Store(counting, opened.settings, tmp_path / "cache")


def replayed(backend: Backend) -> ProjectState:
    """The state by the log alone."""
    entries = BackendLog(backend, PREFIX).read_after(Position())
    return replay(ProjectState(), (entry.transaction for entry in entries))


def sorted_plain(state: ProjectState) -> Sequence[object]:
    """A state in a form that can be compared."""
    return sorted(
        (
            repr((c.name, c.type, c.description, c.created_at, sorted(c.aliases.items()), c.next_version)),
            sorted(map(repr, c.versions.values())),
            sorted(c.by_digest.items()),
        )
        for c in state.collections.values()
    )


def test_checkpoint_is_not_written(values: dict[str, bytes]) -> None:
    assert CHECKPOINT in values
    assert f"{PREFIX}log/000000.jsonl.zst" in values


def test_checkpoint_gives_another_state(store: Store) -> None:
    project = Project(store, NAME)
    state = project.state()
    assert isinstance(store.backend, CountingBackend)
    assert store.backend.calls["read"] < 70  # the tail, and not the thousand entries
    assert project.position.seq == COUNT - 1
    assert sorted_plain(state) == sorted_plain(replayed(store.backend))


def test_commit_on_a_checkpoint_contradicts_the_log(store: Store) -> None:
    project = Project(store, NAME)
    (op,) = (
        op for op in project.commit(lambda s: decide_log(s, request(5000))) if op["op"] == "version.create"
    )
    state = replayed(store.backend)
    assert state.collections["c0"].versions[op["version"]].digest == f"{5000:064x}"


def cut(data: bytes) -> bytes:
    return data[:-100]


def no_bytes(data: bytes) -> bytes:
    return b""


def no_frame(data: bytes) -> bytes:
    return b"nothing"


def frame_of(text: str) -> Callable[[bytes], bytes]:
    return lambda data: zstandard.ZstdCompressor().compress(text.encode())


def promise(data: bytes) -> bytes:
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00"


def newer(data: bytes) -> bytes:
    text = zstandard.ZstdDecompressor().decompress(data).replace(b'"format":4', b'"format":5')
    return zstandard.ZstdCompressor().compress(text)


DAMAGES = {
    "cut": cut,
    "empty": no_bytes,
    "no frame": no_frame,
    "huge": promise,
    "newer": newer,
    "list": frame_of("[]"),
    "number": frame_of("7"),
    "no fields": frame_of('{"format":1}'),
    "levels": frame_of("[" * 200_000),
    "wrong fields": frame_of('{"format":4,"seq":1,"head":"","newer":null,"collections":[7]}'),
    "wrong maps": frame_of(
        '{"format":4,"seq":1,"head":"","newer":null,"collections":[{"name":"","type":"","description":"",'
        '"created_at":"","versions":[],"aliases":[],"next_version":0}]}'
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_checkpoint_is_used(store: Store, name: str) -> None:
    damaged = DAMAGES[name](store.backend.read(CHECKPOINT))
    with pytest.raises((IntegrityError, FormatError)) as caught:
        decode_checkpoint(damaged)
    builders.one_line(caught.value, "")
    store.backend.write(CHECKPOINT, damaged)
    project = Project(store, NAME)
    assert sorted_plain(project.state()) == sorted_plain(replayed(store.backend))


def test_flipped_bit_in_a_checkpoint_is_used(store: Store) -> None:
    whole = store.backend.read(CHECKPOINT)
    right, _ = decode_checkpoint(whole)
    refused = 0
    for position in range(0, len(whole), max(1, len(whole) // 150)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        try:
            state, _ = decode_checkpoint(bytes(damaged))
        except (IntegrityError, FormatError):
            refused += 1
        else:
            assert sorted_plain(state) == sorted_plain(right), position
    assert refused > 100


def test_log_without_any_advisory_value_is_unreadable(store: Store, tmp_path: Path) -> None:
    before = sorted_plain(Project(store, NAME).state())
    advisory = [found.key for found in store.backend.list("") if found.key.endswith(".zst")]
    assert len(advisory) == 2
    store.backend.delete(advisory)
    assert sorted_plain(Project(store, NAME).state()) == before
    assert store.backend.read(SETTINGS_KEY)


def test_checkpoint_of_an_unreadable_kind_hides_an_older_one(store: Store) -> None:
    store.backend.write(f"{PREFIX}checkpoints/000000001999/state.json.zst", b"from the future")
    store.backend.write(f"{PREFIX}checkpoints/000000001049/catalog.json", b"{}")
    assert isinstance(store.backend, CountingBackend)
    store.backend.reset()
    assert sorted_plain(Project(store, NAME).state()) == sorted_plain(replayed(store.backend))
