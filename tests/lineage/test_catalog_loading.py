"""The catalog is the same, however it was loaded: from the log, from a checkpoint, from both, or by and by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import builders
import scenario
from lineart.lineage import Catalog, catalog
from lineart.lineage.schema import PUBLIC
from lineart.storage.backend import Backend, Buffer
from lineart.storage.errors import StoreError
from lineart.storage.log import BackendLog
from lineart.storage.store import Store
from lineart.storage.wrapper import BackendWrapper


def pictures(found: Catalog) -> dict[str, list[str]]:
    """Every row of every public table, in an order of its own."""
    return {table: sorted(map(repr, found.rows(f"SELECT * FROM {table}"))) for table in PUBLIC}


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Parquet is read from the file itself where there is one, and from a copy where there is none."""
    return (builders.memory_store if request.param == "memory" else builders.local_store)(tmp_path)


def busy(store: Store, *, runs: int) -> scenario.History:
    """About four transactions a run."""
    history = scenario.History(store)
    for number in range(runs):
        run = f"r{number}"
        history.run(run, config={"n": number}, tags=["x"] if number % 2 else [])
        if number:
            history.use(run, f"data:v{(number - 1) // 2}", role="in")
        history.log("data", run=run, aliases=["best"] if number % 3 == 0 else [], metadata={"n": number})
        history.finish(run, acc=number / 10)
    history.delete("data:v1")
    return history


def checkpoints(history: scenario.History) -> list[str]:
    backend, prefix = history.project.store.backend, history.project.prefix
    return [
        name
        for name in backend.folders(f"{prefix}checkpoints/")
        if any(found.key.endswith("catalog.json") for found in backend.list(f"{prefix}checkpoints/{name}/"))
    ]


def test_tail_checkpoint_and_log_say_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    history = busy(store, runs=6)
    scratch = pictures(scenario.catalog(history))
    assert not checkpoints(history)
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 10)
    assert pictures(scenario.catalog(history)) == scratch  # the one that writes it
    assert checkpoints(history) == [f"{history.project.position.seq:012}"]
    assert pictures(scenario.catalog(history)) == scratch  # the one that reads it
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 10**9)
    history.run("late")
    history.log("data", run="late")
    tail = pictures(scenario.catalog(history))
    for name in checkpoints(history):
        store.backend.delete([f"{history.project.prefix}checkpoints/{name}/catalog.json"])
    assert pictures(scenario.catalog(history)) == tail != scratch


def test_two_thousand_transactions_leave_a_checkpoint_by_themselves(tmp_path: Path) -> None:
    history = busy(builders.memory_store(tmp_path), runs=510)
    assert history.project.position.seq >= catalog.CHECKPOINT_TAIL
    first = pictures(scenario.catalog(history))
    assert len(checkpoints(history)) == 1
    reads = CountsReads(history.project.store.backend)
    counted = Store(reads, history.project.store.settings, tmp_path / "cache")
    assert pictures(Catalog(counted, [history.name])) == first
    next_key = BackendLog(reads, history.project.prefix).key(history.project.position.seq + 1)
    assert [key for key in reads.keys if "/log/" in key] == [next_key]


class CountsReads(BackendWrapper):
    """Notes the keys that were read."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.keys: list[str] = []

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.keys.append(key)
        return super().read(key, start, length)


def spoil(history: scenario.History, change: Callable[[bytes], bytes], *, key: str) -> None:
    backend = history.project.store.backend
    for found in list(backend.list(f"{history.project.prefix}checkpoints/")):
        if found.key.endswith(key):
            backend.write(found.key, change(bytes(backend.read(found.key))))


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "marker empty": ("catalog.json", lambda data: b""),
    "marker no object": ("catalog.json", lambda data: b"[]"),
    "marker null": ("catalog.json", lambda data: b"null"),
    "marker without tables": ("catalog.json", lambda data: b'{"schema":1,"tables":null,"seq":1,"head":"x"}'),
    "marker of another schema": ("catalog.json", lambda data: data.replace(b'"schema":1', b'"schema":2')),
    "table empty": ("run_events.parquet", lambda data: b""),
    "table cut": ("run_events.parquet", lambda data: data[: len(data) // 2]),
    "table no Parquet": ("productions.parquet", lambda data: b"x" * 100),
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_damaged_checkpoint_is_ignored(store: Store, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    history = busy(store, runs=4)
    scratch = pictures(scenario.catalog(history))
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 1)
    scenario.catalog(history)
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 10**9)
    key, change = DAMAGE[fault]
    spoil(history, change, key=key)
    assert pictures(scenario.catalog(history)) == scratch


def test_checkpoint_without_a_table_is_ignored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    history = busy(store, runs=4)
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 1)
    scratch = pictures(scenario.catalog(history))
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 10**9)
    for name in checkpoints(history):
        store.backend.delete([f"{history.project.prefix}checkpoints/{name}/catalog/alias_moves.parquet"])
    assert pictures(scenario.catalog(history)) == scratch


def test_checkpoint_of_one_project_has_nothing_of_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = busy(store, runs=3), scenario.History(store, scenario.OTHER)
    other.run("far")
    other.log("data", run="far")
    together = pictures(scenario.catalog(home, other))
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 1)
    scenario.catalog(home, other)
    assert pictures(scenario.catalog(home, other)) == together
    assert scenario.catalog(other).rows("SELECT version_id FROM versions") == [("team/letters/data:v0",)]


class NoRoom(BackendWrapper):
    """A store that can be read only."""

    def __init__(self, inner: Backend, error: Exception) -> None:
        super().__init__(inner)
        self.error = error

    def staging(self) -> Path:
        raise self.error

    def write(self, key: str, data: Buffer) -> None:
        raise self.error


@pytest.mark.parametrize("error", [StoreError("read-only"), OSError(30, "read-only")])
def test_store_that_takes_no_checkpoint_is_answered_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    history = busy(builders.memory_store(tmp_path), runs=2)
    scratch = pictures(scenario.catalog(history))
    monkeypatch.setattr(catalog, "CHECKPOINT_TAIL", 1)
    full = Store(NoRoom(history.project.store.backend, error), history.project.store.settings, tmp_path)
    assert pictures(Catalog(full, [history.name])) == scratch


def test_clock_set_back_changes_no_order(tmp_path: Path) -> None:
    times = iter([f"20{30 - number}-01-01T00:00:00.000000Z" for number in range(20)])
    history = scenario.History(builders.memory_store(tmp_path))
    history.project._now = lambda: next(times)
    history.run("r", config={"lr": 1})
    history.log("data", run="r", aliases=["best"])
    history.commit({"op": "run.update", "run": "r", "config": {"lr": 2}})
    history.log("data", run="r", aliases=["best"])
    history.finish("r", "failed")
    found = scenario.catalog(history)
    assert found.rows("SELECT state, config ->> 'lr' FROM runs") == [("failed", "2")]
    assert found.rows("SELECT version FROM aliases WHERE alias = 'best'") == [(1,)]


def test_op_of_a_newer_client_is_left_out(tmp_path: Path) -> None:
    history = scenario.History(builders.memory_store(tmp_path))
    history.commit({"op": "from.the.future", "x": 1}, {"op": "run.start", "run": "r"})
    assert scenario.catalog(history).rows("SELECT run_id FROM runs") == [("team/digits/r",)]


# Refreshing


def test_refresh_takes_in_what_was_committed_since(store: Store) -> None:
    history = busy(store, runs=2)
    found = scenario.catalog(history)
    history.run("late")
    history.log("data", run="late", aliases=["best"])
    found.refresh()
    assert pictures(found) == pictures(scenario.catalog(history))
    found.refresh()  # nothing new is nothing twice
    assert pictures(found) == pictures(scenario.catalog(history))


def test_refresh_takes_in_a_new_project(store: Store) -> None:
    history, other = busy(store, runs=2), scenario.History(store, scenario.OTHER)
    found = scenario.catalog(history)
    other.run("far")
    found.refresh([history.name, other.name])
    assert pictures(found) == pictures(scenario.catalog(history, other))
    assert found.projects == [history.name, other.name]


def test_answer_stays_when_the_catalog_goes_on(store: Store) -> None:
    history = busy(store, runs=2)
    found = scenario.catalog(history)
    answer = found.sql("SELECT count(*) FROM runs")
    history.run("late")
    found.refresh()
    assert answer.fetchall() == [(2,)]
