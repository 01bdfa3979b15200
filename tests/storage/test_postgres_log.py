"""What only a log in PostgreSQL can get wrong: the server, the way to it, its rights, its copies."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import builders
from builders import HANG_S, SPAWN
from lineart.artifacts import LogRequest, Project, ProjectName
from lineart.artifacts.decisions import Content, decide_log
from lineart.lineage import Catalog
from lineart.storage.commit import Committer
from lineart.storage.errors import (
    CommError,
    ConflictError,
    FormatError,
    IntegrityError,
    StoreError,
    UsageError,
)
from lineart.storage.log import FOLDER_ENTRIES, Log, Position
from lineart.storage.postgres_log import PostgresLogs
from lineart.storage.retry import Retries
from lineart.storage.store import SETTINGS_KEY, Store, StoreSettings
from lineart.storage.transaction import Op, Transaction, chain_digest
from log_places import NOW, PREFIX, PostgresPlace, place_at
from postgres_proxy import Loss, Proxy, is_commit, proxy
from postgres_server import STRICT, PostgresServer, postgres_or_skip

NAME = ProjectName("team", "digits")


@pytest.fixture
def place(database: str) -> Iterator[PostgresPlace]:
    """An empty log in the database."""
    there = PostgresPlace(database)
    yield there
    there.logs.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    with postgres_or_skip() as server:
        yield server


class Numbers:
    """A fold whose state is the next number."""

    def apply(self, state: int, transaction: Transaction) -> int:
        for op in transaction.ops:
            assert op["number"] == state
            state += 1
        return state


def committer(log: Log) -> Committer[int]:
    return Committer(
        log,
        Numbers(),
        0,
        Position(),
        actor={"user": "u"},
        now=lambda: NOW,
        on_sealed=lambda state, position: None,
    )


def take(writer: Committer[int], who: str) -> int:
    """Commit, as `who`; the number that was given."""
    (op,) = writer.commit(lambda state: [{"op": "take", "number": state, "who": who}])
    number: int = op["number"]
    return number


def found_in(log: Log) -> list[str]:
    """Who has which number, read anew."""
    ops = [op for entry in log.read_after(Position()) for op in entry.transaction.ops]
    assert [op["number"] for op in ops] == list(range(len(ops)))
    return [op["who"] for op in ops]


def transaction(position: Position, *ops: Op) -> Transaction:
    seq = position.seq + 1
    return Transaction(
        seq, f"{seq:032x}", NOW, {"user": "u"}, position.digest, ops or [{"op": "x", "n": seq}]
    )


def write(log: Log, count: int, after: Position | None = None) -> list[Position]:
    position, positions = after or Position(), []
    for _ in range(count):
        position = log.append(transaction(position))
        positions.append(position)
    return positions


def write_many(place: PostgresPlace, count: int, after: Position | None = None) -> list[Position]:
    """The same in one statement."""
    position, positions, made = after or Position(), list[Position](), list[Transaction]()
    for _ in range(count):
        made.append(transaction(position, {"op": "run.update", "run": "r"}))
        position = Position(made[-1].seq, chain_digest(made[-1].encode()))
        positions.append(position)
    place.write_many(made)
    return positions


def counted(logs: PostgresLogs, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements sent from now on."""
    sent: list[str] = []
    query = logs.database.query

    def count(statement: str, parameters: Any = ()) -> Any:
        sent.append(statement)
        return query(statement, parameters)

    monkeypatch.setattr(logs.database, "query", count)
    return sent


# Queries


def test_up_to_date_reader_pays_more_than_one_query(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = place.log()
    position = write(log, 5)[-1]
    sent = counted(place.logs, monkeypatch)
    assert list(log.read_after(position)) == []
    assert len(sent) == 1


def test_commit_pays_more_than_one_read_and_one_insert(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = committer(place.log())
    take(writer, "a")
    sent = counted(place.logs, monkeypatch)
    take(writer, "b")
    assert [statement.split()[0] for statement in sent] == ["SELECT", "INSERT"]


@pytest.mark.parametrize("after", [-1, 0, 999, 1000, 2055, 2056])
def test_long_log_is_read_row_by_row(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    log = place.log()
    positions = write_many(place, 2 * FOLDER_ENTRIES + 57)
    sent = counted(place.logs, monkeypatch)
    start = positions[after] if after >= 0 else Position()
    assert [entry.position for entry in log.read_after(start)] == positions[after + 1 :]
    assert len(sent) == (len(positions) - after - 1) // FOLDER_ENTRIES + 1


def test_log_is_mixed_up_with_that_of_another_project_or_store(database: str) -> None:
    places = [PostgresPlace(database) for _ in range(2)]
    logs = [there.logs.log(f"projects/team/{name}/") for there in places for name in ("a", "b", "a.b")]
    for number, log in enumerate(logs):
        write(log, number + 1)
    assert [len(list(log.read_after(Position()))) for log in logs] == [1, 2, 3, 4, 5, 6]
    assert [there.logs.projects() for there in places] == [
        [("team", "a"), ("team", "a.b"), ("team", "b")]
    ] * 2
    for there in places:
        there.logs.close()


def test_threads_keep_a_connection_each(place: PostgresPlace, postgres: PostgresServer) -> None:
    log = place.log()
    write(log, 1)
    start = threading.Barrier(20)

    def work() -> None:
        start.wait(HANG_S)
        for _ in range(5):
            list(log.read_after(Position()))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)

    def open_connections() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lineart' AND datname = %s"
        count: int = postgres.execute(query, (place.url.rpartition("/")[2],))[0][0]
        return count

    give_up_s = time.monotonic() + 10
    while open_connections() > 8 + 1 and time.monotonic() < give_up_s:
        time.sleep(0.05)  # a closed connection is gone a moment later
    assert open_connections() <= 8 + 1  # and one of the fixture, of a test before


# Lost answers


@pytest.mark.parametrize("loss", [Loss.BEFORE, Loss.AFTER])
def test_lost_answer_commits_twice_or_never(
    place: PostgresPlace, postgres: PostgresServer, loss: Loss
) -> None:
    plan = itertools.chain([Loss.NONE, loss, loss, Loss.NONE], itertools.repeat(Loss.NONE))
    losses: list[Loss] = []

    def lose(request: bytes) -> Loss:
        if not is_commit(request):
            return Loss.NONE
        losses.append(next(plan))
        return losses[-1]

    with proxy(postgres.port, lose) as between:
        writer = committer(through(place, postgres, between).log())
        for number in range(4):
            assert take(writer, f"{number}") == number
    assert losses.count(loss) == 2
    assert found_in(place.log()) == ["0", "1", "2", "3"]


def through(place: PostgresPlace, server: PostgresServer, between: Proxy) -> PostgresPlace:
    """The same log, by way of a proxy."""
    url = server.database_url(place.url.rpartition("/")[2], port=between.port)
    return PostgresPlace(url, place.store)


def test_lost_answer_hides_the_winner(place: PostgresPlace, postgres: PostgresServer) -> None:
    """Our request is lost, and meanwhile the number becomes somebody else's: a conflict, not a success."""
    other, wins = committer(place.log()), iter(["x", "y"])

    def lose(request: bytes) -> Loss:
        if is_commit(request) and (name := next(wins, None)):
            take(other, name)
            return Loss.BEFORE if name == "x" else Loss.AFTER
        return Loss.NONE

    with proxy(postgres.port, lose) as between:
        take(committer(through(place, postgres, between).log()), "ours")
    assert found_in(place.log()) == ["x", "y", "ours"]


@pytest.mark.parametrize("seed", range(4))
def test_faults_lose_an_acknowledged_commit(
    place: PostgresPlace, postgres: PostgresServer, seed: int
) -> None:
    """Committers with several threads each, over connections that break at random."""
    source, acknowledged = random.Random(seed), dict[str, int]()

    def lose(request: bytes) -> Loss:
        return source.choices([Loss.NONE, Loss.BEFORE, Loss.AFTER], [0.8, 0.1, 0.1])[0]

    with proxy(postgres.port, lambda request: Loss.NONE) as between:
        writers = [committer(through(place, postgres, between).log()) for _ in range(3)]
        for number, writer in enumerate(writers):  # the first contact is not tried again
            acknowledged[f"first {number}"] = take(writer, f"first {number}")
        between.plan = lose

        def work(number: int) -> None:
            for turn in range(15):
                acknowledged[f"{number}.{turn}"] = take(writers[number % 3], f"{number}.{turn}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_S)
    found = found_in(place.log())
    assert len(found) == len(acknowledged) == 3 + 6 * 15
    assert {who: number for number, who in enumerate(found)} == acknowledged


def test_silent_server_is_waited_for_for_ever(place: PostgresPlace, postgres: PostgresServer) -> None:
    from lineart.storage.postgres import PostgresDatabase

    write(place.log(), 1)
    with proxy(postgres.port) as between:
        there = through(place, postgres, between)
        there.logs.database = PostgresDatabase(there.url, "db", retries=Retries(attempts=1), answer_s=0.3)
        log = there.log()
        assert log.reaches(0)
        between.plan = lambda request: Loss.SILENT
        start_s = time.monotonic()
        with pytest.raises(CommError) as caught:
            log.reaches(0)
        builders.one_line(caught.value, "silent", "db")
        assert time.monotonic() - start_s < 10
        between.plan = lambda request: Loss.NONE
        assert log.reaches(0)


# Interrupts


def append_under_interrupts(address: str, seconds: float) -> tuple[int, int]:
    """Append while an alarm interrupts every few milliseconds, at any instruction; what is read must fit together."""
    log = place_at(address).log()
    position, interrupts, appended = Position(), 0, 0
    give_up_s = time.monotonic() + seconds
    pauses = itertools.cycle([0.0004, 0.011, 0.0023, 0.017, 0.0071])
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    while time.monotonic() < give_up_s:
        try:
            signal.setitimer(signal.ITIMER_REAL, next(pauses))
            for entry in log.read_after(position):
                position = entry.position
            log.append(transaction(position))
            appended += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    found = [entry.transaction.seq for entry in log.read_after(Position())]
    assert found == list(range(len(found)))
    assert len(found) >= appended
    return appended, interrupts


def test_interrupt_leaves_the_answer_for_the_next_statement(place: PostgresPlace) -> None:
    appended, interrupts = builders.in_child(append_under_interrupts, place.address, 2.0)
    assert interrupts > 3
    assert appended > 3


# The server


def commit_until_told(address: str, worker: int, answers: Connection) -> None:
    """Commit until the pipe is closed, and say what was acknowledged."""
    url, store = address.split()
    writer = committer(PostgresPlace(url, store).log())
    for turn in itertools.count():
        try:
            answers.send((f"{worker}.{turn}", take(writer, f"{worker}.{turn}")))
        except BrokenPipeError:
            return


class Writers:
    """Processes that commit, and what they were told."""

    def __init__(self, address: str, count: int) -> None:
        self.acknowledged: dict[str, int] = {}
        self.processes, self._ends = [], []
        for worker in range(count):
            here, there = SPAWN.Pipe(duplex=False)
            process = SPAWN.Process(target=commit_until_told, args=(address, worker, there))
            process.start()
            there.close()
            self.processes.append(process)
            self._ends.append(here)

    def gather(self, more: int) -> None:
        """Wait for so many more acknowledgements."""
        wanted, give_up_s = len(self.acknowledged) + more, time.monotonic() + HANG_S
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < give_up_s, "nothing is acknowledged any more"
            for end in self._ends:
                self._take(end, 0.002)

    def finish(self) -> None:
        """Kill those that are left, and take what they had said."""
        for process in self.processes:
            process.kill()
            process.join(HANG_S)
        for end in self._ends:
            self._take(end, 0)
            end.close()

    def _take(self, end: Connection, timeout_s: float) -> None:
        while end.poll(timeout_s):
            try:
                who, number = end.recv()
            except EOFError:
                return
            self.acknowledged[who] = number


def lost_or_doubled(place: PostgresPlace, acknowledged: dict[str, int]) -> list[str]:
    """What was acknowledged and is not in the log as it was told; each name is there once."""
    found = found_in(place.log())
    assert len(set(found)) == len(found)
    return [who for who, number in acknowledged.items() if number >= len(found) or found[number] != who]


def test_killed_writers_lose_a_commit_or_hold_up_the_others(place: PostgresPlace) -> None:
    writers = Writers(place.address, 6)
    writers.gather(60)
    for process in writers.processes[:4]:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        writers.gather(20)
    writers.gather(100)
    writers.finish()
    assert lost_or_doubled(place, writers.acknowledged) == []
    assert take(committer(place.log()), "later") >= len(writers.acknowledged)


@pytest.mark.parametrize("how", ["INT", "QUIT"])
def test_server_started_again_loses_a_commit(own_server: PostgresServer, how: str) -> None:
    """INT is an orderly stop, QUIT a crash: what was acknowledged was flushed."""
    place = PostgresPlace(own_server.new_database())
    writers = Writers(place.address, 4)
    for _ in range(3):
        writers.gather(60)
        own_server.stop(how)
        time.sleep(0.3)
        own_server.start()
    writers.gather(60)
    writers.finish()
    assert lost_or_doubled(place, writers.acknowledged) == []


def test_server_that_is_gone_is_waited_for_at_first_contact(own_server: PostgresServer) -> None:
    place = PostgresPlace(own_server.new_database())
    own_server.stop()
    fresh, start_s = PostgresPlace(place.url, place.store), time.monotonic()
    with pytest.raises(CommError) as caught:
        fresh.log().append(transaction(Position()))
    assert time.monotonic() - start_s < 5
    builders.one_line(caught.value, "does not answer", place.url, "try again")
    own_server.start()
    fresh.log().append(transaction(Position()))


def test_server_with_too_many_clients_refuses_for_good(own_server: PostgresServer) -> None:
    place = PostgresPlace(own_server.new_database())
    place.logs.close()
    own_server.execute("ALTER SYSTEM SET max_connections = 5")
    own_server.execute("ALTER SYSTEM SET superuser_reserved_connections = 0")
    own_server.execute("ALTER SYSTEM SET max_wal_senders = 0")
    own_server.stop()
    own_server.start()
    writers = Writers(place.address, 12)
    writers.gather(60)
    writers.finish()
    time.sleep(0.5)
    assert lost_or_doubled(place, writers.acknowledged) == []


def test_server_that_does_not_flush_is_used(own_server: PostgresServer) -> None:
    place = PostgresPlace(own_server.new_database())
    place.logs.close()
    own_server.execute("ALTER SYSTEM SET fsync = off")
    own_server.stop()
    own_server.start()
    with pytest.raises(StoreError) as caught:
        place.log().reaches(0)
    builders.one_line(caught.value, "fsync", place.url)


# Rights and settings


def as_user(place: PostgresPlace, server: PostgresServer, user: str, *grants: str) -> PostgresPlace:
    """The same log as a user of its own with these rights."""
    server.execute(f"CREATE ROLE {user} LOGIN", url=place.url)
    for grant in grants:
        server.execute(f"GRANT {grant} TO {user}", url=place.url)
    return PostgresPlace(server.database_url(place.url.rpartition("/")[2], user=user), place.store)


def test_user_needs_more_than_select_and_insert(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    user = as_user(place, postgres, "writer", "SELECT, INSERT ON lineart_log")
    user.logs.demand_writable()
    positions = write(user.log(), 3)
    assert [entry.position for entry in place.log().read_after(Position())] == positions
    for statement in ("DELETE FROM lineart_log", "UPDATE lineart_log SET seq = 9"):
        with pytest.raises(StoreError):
            user.logs.database.query(statement)


def test_user_who_may_only_read_is_told_late(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    write(place.log(), 1)
    user = as_user(place, postgres, "reader", "SELECT ON lineart_log")
    assert len(list(user.log().read_after(Position()))) == 1
    for refused in (user.logs.demand_writable, lambda: user.log().append(transaction(Position()))):
        with pytest.raises(StoreError) as caught:
            refused()
        builders.one_line(caught.value, user.url)


def test_defaults_of_the_database_weaken_a_commit(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    name = place.url.rpartition("/")[2]
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'"):
        postgres.execute(f'ALTER DATABASE "{name}" SET {setting}')
    fresh = PostgresPlace(place.url, place.store)
    for name, value in {"synchronous_commit": "on", "transaction_isolation": "read committed"}.items():
        assert fresh.logs.database.query(f"SHOW {name}") == [(value,)]


def test_read_only_database_is_written_to(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    postgres.execute(
        f'ALTER DATABASE "{place.url.rpartition("/")[2]}" SET default_transaction_read_only = on'
    )
    fresh = PostgresPlace(place.url, place.store)
    for refused in (fresh.logs.demand_writable, lambda: fresh.log().append(transaction(Position()))):
        with pytest.raises(StoreError) as caught:
            refused()
        builders.one_line(caught.value, "read-only")


def test_password_is_found_nowhere_but_where_libpq_looks(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = PostgresPlace(postgres.new_database())
    postgres.execute(f"CREATE ROLE {STRICT} LOGIN SUPERUSER PASSWORD 'open sesame'")
    strict = PostgresPlace(postgres.database_url(place.url.rpartition("/")[2], user=STRICT), place.store)
    with pytest.raises(StoreError) as caught:
        strict.log().reaches(0)
    builders.one_line(caught.value, "PGPASSFILE", strict.url)
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{postgres.port}:*:{STRICT}:open sesame\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert not strict.log().reaches(0)
    monkeypatch.delenv("PGPASSFILE")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(StoreError) as caught:
        PostgresPlace(strict.url, place.store).log().reaches(0)
    builders.one_line(caught.value, "password")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:secret@db/lineart",
        "postgres://ada:@db/lineart",
        "postgresql://db/lineart?password=secret",
        "postgresql://db/lineart?user=ada&sslpassword=secret",
        "postgresql://db/lineart?pass%77ord=secret",
    ],
)
def test_password_is_written_into_a_store_or_a_message(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        Store.create(str(tmp_path / "store"), cache=tmp_path, entity="team", created=NOW, log=address)
    builders.one_line(caught.value, "PGPASSFILE")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "address", ["", "postgresql:db", "mysql://db/x", "/var/lib", "postgresql//db", "postgresql://a\0"]
)
def test_address_that_means_nothing_is_taken(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        Store.create(str(tmp_path / "store"), cache=tmp_path, entity="team", created=NOW, log=address)
    builders.one_line(caught.value, "postgresql://host/database")


def test_address_that_libpq_does_not_understand_ends_in_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    for address in ("postgresql://db/lineart?colour=red", "postgresql://%zz/x"):
        with pytest.raises(StoreError) as caught:
            Store.create(str(tmp_path / "store"), cache=tmp_path, entity="team", created=NOW, log=address)
        builders.one_line(caught.value, "check the address")


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
        ({"log": {"format": 2, "url": "postgresql://db/x"}}, "log of format 2"),
        ({"log": {"url": "postgresql://db/x"}}, SETTINGS_KEY),
        ({"log": 7}, SETTINGS_KEY),
    ],
)
def test_newer_or_damaged_settings_are_guessed(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    settings = json.loads(new_store(tmp_path, None).settings.encode())
    with pytest.raises(FormatError) as caught:
        StoreSettings.decode(json.dumps(settings | change).encode(), "here")
    builders.one_line(caught.value, words)


def test_password_in_settings_is_used_or_shown(tmp_path: Path) -> None:
    settings = json.loads(new_store(tmp_path, None).settings.encode())
    settings["log"] = {"format": 1, "url": "postgresql://ada:secret@db/x"}
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
    assert len(sent) == 2  # whether the checkpoint's transaction is there, and what came after it
    Catalog(filled.store, [NAME]).close()
    assert len(sent) == 4


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
