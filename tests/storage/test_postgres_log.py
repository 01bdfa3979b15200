"""What only a log in PostgreSQL can get wrong: queries, lost answers, a server that stops."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

import builders
from builders import HANG_S, SPAWN
from lineart.storage.commit import Committer
from lineart.storage.errors import (
    CommError,
    StoreError,
)
from lineart.storage.log import FOLDER_ENTRIES, Log, Position
from lineart.storage.retry import Retries
from lineart.storage.transaction import Transaction
from log_places import NOW, PostgresPlace, counted, place_at, transaction, write, write_many
from postgres_proxy import Loss, Proxy, is_commit, proxy
from postgres_server import PostgresServer, postgres_or_skip


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


@pytest.mark.slow
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


def append_under_interrupts(address: str) -> tuple[int, int]:
    """Append while an alarm interrupts every few milliseconds, at any instruction; what is read must fit together."""
    log = place_at(address).log()
    position, interrupts, appended = Position(), 0, 0
    give_up_s = time.monotonic() + 60
    pauses = itertools.cycle([0.0004, 0.011, 0.0023, 0.05, 0.0071])
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    while min(appended, interrupts) < 200 and time.monotonic() < give_up_s:
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
    appended, interrupts = builders.in_child(append_under_interrupts, place.address)
    assert min(appended, interrupts) > 20


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
