"""Stores whose logs lie in PostgreSQL: made once, never taken for empty, restored from copies of different age."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import builders
from builders import HANG_S, SPAWN
from lineart.artifacts import LogRequest, Project, ProjectName
from lineart.artifacts.decisions import Content, decide_log
from lineart.lineage import Catalog
from lineart.storage.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    StoreError,
    UsageError,
)
from lineart.storage.log import FOLDER_ENTRIES, Position
from lineart.storage.postgres_log import PostgresLogs
from lineart.storage.store import SETTINGS_KEY, Store, StoreSettings
from log_places import NOW, PREFIX, PostgresPlace, counted, transaction, write, write_many
from postgres_server import PostgresServer

NAME = ProjectName("team", "digits")


@pytest.fixture
def place(database: str) -> Iterator[PostgresPlace]:
    """An empty log in the database."""
    there = PostgresPlace(database)
    yield there
    there.logs.close()


# Stores


def new_store(place: Path, log: str | None) -> Store:
    return Store.create(str(place / "store"), cache=place / "cache", entity="team", created=NOW, log=log)


def test_store_is_made_although_its_logs_cannot(tmp_path: Path, postgres: PostgresServer) -> None:
    with pytest.raises(StoreError) as caught:
        new_store(tmp_path, postgres.database_url("nowhere"))
    builders.one_line(caught.value, "nowhere")
    assert not (tmp_path / "store" / SETTINGS_KEY).exists()


def make(folder: str, url: str, start: Any) -> str:
    start.wait(HANG_S)
    return new_store(Path(folder), url).settings.store


def _make(folder: str, url: str, start: Any, answers: Any) -> None:
    answers.put(make(folder, url, start))


def test_processes_that_make_one_store_make_several(tmp_path: Path, postgres: PostgresServer) -> None:
    """And the table, which is not there yet."""
    url, start, answers = postgres.new_database(), SPAWN.Barrier(8), SPAWN.Queue()
    workers = [SPAWN.Process(target=_make, args=(str(tmp_path), url, start, answers)) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert len({answers.get(timeout=HANG_S) for _ in workers}) == 1
    for worker in workers:
        worker.join(HANG_S)
        assert worker.exitcode == 0


def test_store_moves_its_logs(tmp_path: Path, database: str, postgres: PostgresServer) -> None:
    store = new_store(tmp_path, database)
    assert new_store(tmp_path, database).settings == new_store(tmp_path, None).settings == store.settings
    with pytest.raises(UsageError) as caught:
        new_store(tmp_path, postgres.url)
    builders.one_line(caught.value, "stay where they are")
    (tmp_path / "plain").mkdir()
    new_store(tmp_path / "plain", None)
    with pytest.raises(UsageError):
        new_store(tmp_path / "plain", database)


def test_client_from_before_reads_an_empty_store(tmp_path: Path, database: str) -> None:
    """It knows format 1 alone, and refuses any other number before it looks further."""
    settings = json.loads(
        (Path(new_store(tmp_path, database).url.removeprefix("file://")) / SETTINGS_KEY).read_bytes()
    )
    assert (settings["format"], settings["log"]) == (2, {"format": 1, "url": database})
    (tmp_path / "plain").mkdir()
    new_store(tmp_path / "plain", None)
    plain = json.loads((tmp_path / "plain/store" / SETTINGS_KEY).read_bytes())
    assert plain["format"] == 1
    assert "log" not in plain


@pytest.mark.parametrize(
    "change, words",
    [
        ({"format": 3}, "format 3"),
        ({"format": 2, "log": {"format": 2, "url": "postgresql://db/x"}}, "log of format 2"),
        ({"format": 2, "log": {"url": "postgresql://db/x"}}, SETTINGS_KEY),
        ({"format": 2, "log": 7}, SETTINGS_KEY),
        ({"format": 2}, SETTINGS_KEY),
        ({"log": {"format": 1, "url": "postgresql://db/x"}}, SETTINGS_KEY),
    ],
)
def test_newer_or_damaged_settings_are_guessed(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    settings = json.loads(new_store(tmp_path, None).settings.encode())
    with pytest.raises(FormatError) as caught:
        StoreSettings.decode(json.dumps(settings | change).encode(), "here")
    builders.one_line(caught.value, words)


def test_password_in_settings_is_used_or_shown(tmp_path: Path) -> None:
    settings = json.loads(new_store(tmp_path, None).settings.encode())
    settings |= {"format": 2, "log": {"format": 1, "url": "postgresql://ada:secret@db/x"}}
    with pytest.raises(UsageError) as caught:
        StoreSettings.decode(json.dumps(settings).encode(), "here")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("damage", ["DROP TABLE lineart_log", "DELETE FROM lineart_log"])
def test_empty_database_is_an_empty_store(tmp_path: Path, postgres: PostgresServer, damage: str) -> None:
    url = postgres.new_database()
    store = new_store(tmp_path, url)
    assert (store.projects(), Project(store, NAME).state().collections.get("data")) == ([], None)
    Project(store, NAME).commit(lambda state: [{"op": "run.update", "run": "r"}])
    postgres.execute(damage, url=url)
    asked: list[Callable[[], object]] = [
        store.projects,
        Project(store, NAME).state,
        lambda: Project(store, NAME).commit(lambda state: [{"op": "run.update", "run": "r"}]),
        lambda: store.log(PREFIX).append(transaction(Position())),
        lambda: Catalog(store, [NAME]),
    ]
    for ask in asked:
        with pytest.raises(StoreError) as caught:
            ask()
        builders.one_line(caught.value, url, "restore")


# A database that is older than the store


def fill(project: Project, count: int) -> None:
    """Log so many versions, each with other content."""
    for _ in range(count):
        digest = f"{project.position.seq + 1:064x}"
        content = Content(digest, 1, 1, 0, [digest], [digest], None)
        project.commit(lambda state, c=content: decide_log(state, LogRequest("data", "dataset", c)))


@dataclass(frozen=True, slots=True)
class Filled:
    """A store with 20 versions in 2,010 transactions, and checkpoints of state and catalog."""

    store: Store
    place: PostgresPlace


@pytest.fixture
def filled(tmp_path: Path, postgres: PostgresServer) -> Filled:
    url = postgres.new_database()
    store = new_store(tmp_path, url)
    place = PostgresPlace(url, store.settings.store)
    position = Position()
    for end in (990, 1990):
        gap = end - position.seq - 1
        position = write_many(place, gap, position)[-1]
        project = Project(store, NAME)
        project.state()
        fill(project, 20)
        position = project.position
    Catalog(store, [NAME]).close()
    return Filled(store, place)


def checkpoints(store: Store) -> list[str]:
    return [found.key.partition("checkpoints/")[2] for found in store.backend.list(f"{PREFIX}checkpoints/")]


def test_checkpoints_are_no_longer_written(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    names = checkpoints(filled.store)
    assert [name for name in names if "parquet" not in name] == [
        "000000000999/state.json.zst",
        "000000001999/state.json.zst",
        "000000002009/catalog.json",
    ]
    logs = filled.store.logs
    assert isinstance(logs, PostgresLogs)
    sent = counted(logs, monkeypatch)
    assert Project(filled.store, NAME).state().collections["data"].next_version == 40
    assert (
        len(sent) == 3
    )  # whether the checkpoint's transaction is there, what came after it, and that there is no hole
    Catalog(filled.store, [NAME]).close()
    assert len(sent) == 6


def test_checkpoint_of_a_lost_log_is_believed(filled: Filled) -> None:
    """The database is restored from an older copy: the store goes on from there, without a hole."""
    ahead = Project(filled.store, NAME)
    ahead.state()
    for seq in range(1005, 2010):
        filled.place.delete(seq)
    for ask in (ahead.state, lambda: fill(ahead, 1)):
        with pytest.raises(IntegrityError) as caught:
            ask()
        builders.one_line(caught.value, "transaction 2009 ", "older")
    fresh = Project(filled.store, NAME)
    assert fresh.state().collections["data"].next_version == 15
    assert fresh.position.seq == 1004
    catalog = Catalog(filled.store, [NAME])
    assert catalog.rows("SELECT count(*) FROM versions") == [(15,)]
    catalog.close()
    fill(fresh, 1)
    position = write_many(filled.place, 990, fresh.position)[-1]
    assert position.seq == 1995
    fill(fresh, 10)  # over the number of a checkpoint that was made before
    assert [entry.transaction.seq for entry in filled.place.log().read_after(Position())] == list(range(2006))
    again = Project(filled.store, NAME)
    assert again.state() == fresh.state()
    assert again.state().collections["data"].next_version == 26


def test_writer_that_remembers_more_leaves_a_hole(place: PostgresPlace) -> None:
    log = place.log()
    positions = write(log, 5)
    place.delete(4)
    place.delete(3)
    with pytest.raises(IntegrityError) as caught:
        log.append(transaction(positions[4]))
    builders.one_line(caught.value, "transaction 4 ", "older")
    other = log.append(transaction(positions[2], {"op": "y"}))
    with pytest.raises(IntegrityError):
        log.append(transaction(positions[3]))  # its transaction 3 was another one
    with pytest.raises(ConflictError):
        log.append(transaction(positions[2]))
    assert log.holds(other)
    assert not log.holds(positions[3])
    with pytest.raises(IntegrityError):
        list(log.read_after(positions[3]))


def test_noted_position_of_another_log_is_gone_on_from(place: PostgresPlace) -> None:
    log = place.log()
    positions = write(log, 4)
    first = log.read_first_folder()
    assert first is not None
    assert [entry.position for entry in first.entries] == positions
    more = write(log, 3, positions[-1])
    tail = log.continue_from(positions[-1], first.modified_s)
    assert tail is not None
    assert [entry.position for entry in tail.entries] == more
    place.delete(6)
    place.delete(5)
    other = log.append(transaction(more[0], {"op": "y"}))
    assert log.continue_from(more[1], 0.0) is None
    assert log.continue_from(more[2], 0.0) is None
    assert log.continue_from(other, 0.0) is not None
    write_many(place, FOLDER_ENTRIES - 6, other)
    assert log.read_first_folder() is None


# Without psycopg


WITHOUT = """
import sys
from pathlib import Path
sys.modules["psycopg"] = None
from lineart.storage import Store, StoreError
store = Store.create(sys.argv[1] + "/plain", cache=Path(sys.argv[1]), entity="e", created="now")
store.projects()
try:
    Store.open(sys.argv[1] + "/store", cache=Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""
UNTOUCHED = """
import sys
from pathlib import Path
import lineart
from lineart.storage import Store
Store.create(sys.argv[1] + "/plain", cache=Path(sys.argv[1]), entity="e", created="now").projects()
print([name for name in sys.modules if name.startswith("psycopg")])
"""


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_missing_package_is_a_riddle(tmp_path: Path, database: str) -> None:
    new_store(tmp_path, database)
    answer = run(WITHOUT, tmp_path)
    assert 'pip install "lineart[postgres]"' in answer
    assert "\n" not in answer


def test_other_stores_load_psycopg(tmp_path: Path) -> None:
    assert run(UNTOUCHED, tmp_path) == "[]"
