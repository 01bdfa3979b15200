"""Committing: each number once, each acknowledged commit once, whatever fails on the way."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

import builders
from builders import HANG_S, SPAWN
from lineart.storage.backend import Backend
from lineart.storage.commit import Committer
from lineart.storage.errors import CommError, ConflictError, Error, IntegrityError, UsageError
from lineart.storage.faults import Fault, FaultyBackend, RandomFaults, ScriptedFaults
from lineart.storage.local import LocalBackend
from lineart.storage.log import BackendLog, Log, Position
from lineart.storage.memory import MemoryBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.transaction import Op, Transaction
from log_places import LogPlace, place_at

PREFIX = "projects/team/digits/"


class Numbers:
    """A fold that gives numbers: its state is the next one, and an op that takes another contradicts it."""

    def apply(self, state: int, transaction: Transaction) -> int:
        for op in transaction.ops:
            if op["number"] != state:
                raise IntegrityError(f"number {op['number']} is given after {state - 1}")
            state += 1
        return state


def log_of(place: Backend | LogPlace) -> Log:
    return BackendLog(place, PREFIX) if isinstance(place, Backend) else place.log()


def committer(place: Backend | LogPlace, **options: Any) -> Committer[int]:
    now = options.pop("now", lambda: "2026-01-02T03:04:05.000006Z")
    on_sealed = options.pop("on_sealed", lambda state, position: None)
    log = options.pop("log", None) or log_of(place)
    return Committer(log, Numbers(), 0, Position(), actor={"user": "u"}, now=now, on_sealed=on_sealed)


def take(name: str) -> Callable[[int], Sequence[Op]]:
    """The wish for the next number."""
    return lambda state: [{"op": "take", "number": state, "who": name}]


def given(place: Backend | LogPlace) -> list[tuple[int, str]]:
    """What the log says, read anew: (number, who), in order."""
    entries = list(log_of(place).read_after(Position()))
    found = [(op["number"], op["who"]) for entry in entries for op in entry.transaction.ops]
    assert [number for number, _ in found] == list(range(len(found)))
    return found


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work(0)` … `work(count - 1)` at once; what one raises is raised here."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # raised below, in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.fixture(params=["local", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return LocalBackend(tmp_path / "store") if request.param == "local" else MemoryBackend()


# One after the other


def test_writers_lose_each_others_commits(place: LogPlace) -> None:
    writers = [committer(place) for _ in range(3)]
    for number in range(12):
        (op,) = writers[number % 3].commit(take(f"{number}"))
        assert op == {"op": "take", "number": number, "who": f"{number}"}
    assert given(place) == [(number, f"{number}") for number in range(12)]
    assert [writer.refresh() for writer in writers] == [12, 12, 12]
    assert len({writer.position for writer in writers}) == 1


def test_no_ops_make_a_transaction(place: LogPlace) -> None:
    writer = committer(place)
    assert list(writer.commit(lambda state: [])) == []
    assert writer.position == Position()
    assert list(place.log().read_after(Position())) == []


def test_decision_on_an_old_state_is_committed(place: LogPlace) -> None:
    """Another writer comes between the decision and its commit: it is made again."""
    other, seen = committer(place), []

    def decide(state: int) -> Sequence[Op]:
        seen.append(state)
        if len(seen) < 4:
            other.commit(take("other"))
        return [{"op": "take", "number": state, "who": "slow"}]

    untimely = place.log()  # a log whose turns are not waited for
    untimely.turn = threading.Lock  # type: ignore[method-assign,assignment]
    committer(place, log=untimely).commit(decide)
    assert seen == [0, 1, 2, 3]
    assert given(place) == [(0, "other"), (1, "other"), (2, "other"), (3, "slow")]


def test_refusal_commits_anything(place: LogPlace) -> None:
    writer = committer(place)
    writer.commit(take("a"))

    def refuse(state: int) -> Sequence[Op]:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        writer.commit(refuse)
    writer.commit(take("b"))
    assert given(place) == [(0, "a"), (1, "b")]


def test_contradiction_is_committed(place: LogPlace) -> None:
    writer = committer(place)
    with pytest.raises(IntegrityError):
        writer.commit(lambda state: [{"op": "take", "number": 7, "who": "x"}])
    assert given(place) == []


@pytest.mark.parametrize("value", [object(), float("nan"), "\udcff", {1: 2, "a": 3}, b"bytes"])
def test_op_that_is_not_json_poisons_the_others(place: LogPlace, value: object) -> None:
    writer = committer(place)
    started, release = threading.Event(), threading.Event()

    def slow(state: int) -> Sequence[Op]:
        started.set()
        release.wait(HANG_S)
        return take("slow")(state)

    def work(number: int) -> None:
        if number == 0:
            writer.commit(slow)
            return
        started.wait(HANG_S)
        if number == 1:
            with pytest.raises(UsageError) as caught:
                writer.commit(lambda state: [{"op": "take", "number": state, "who": value}])
            builders.one_line(caught.value, "JSON")
        elif number == 2:
            writer.commit(take("other"))
        else:
            time.sleep(0.2)  # until both wait for their turn
            release.set()

    in_threads(4, work)
    assert sorted(who for _, who in given(place)) == ["other", "slow"]


@pytest.mark.parametrize(
    "times", [["2026-01-02", "2025-01-02", "2024-01-02"], ["9999-12-31", "1970-01-01", "0001-01-01"]]
)
def test_clock_set_back_changes_the_order(place: LogPlace, times: list[str]) -> None:
    clock = iter(times)
    writers = [committer(place, now=lambda: next(clock)) for _ in range(3)]
    for number, writer in enumerate(writers):
        writer.commit(take(f"{number}"))
    assert given(place) == [(0, "0"), (1, "1"), (2, "2")]
    entries = place.log().read_after(Position())
    assert [entry.transaction.time for entry in entries] == times


# Lost answers


@pytest.mark.parametrize("fault", [Fault.AFTER, Fault.BEFORE, Fault.TORN])
def test_lost_answer_commits_twice_or_never(backend: Backend, fault: Fault) -> None:
    faulty = FaultyBackend(backend, ScriptedFaults({"create": [None, fault, fault, None]}))
    writer = committer(RetryingBackend(faulty, sleep=lambda seconds: None))
    for number in range(4):
        writer.commit(take(f"{number}"))
    assert given(backend) == [(number, f"{number}") for number in range(4)]


@pytest.mark.parametrize("fault", [Fault.AFTER, Fault.BEFORE])
def test_failed_commit_leaves_the_committer_unusable(backend: Backend, fault: Fault) -> None:
    writer = committer(FaultyBackend(backend, ScriptedFaults({"create": [None, fault]})))
    writer.commit(take("a"))
    with pytest.raises(CommError) as caught:
        writer.commit(take("b"))
    builders.one_line(caught.value)
    writer.commit(take("c"))
    names = [who for _, who in given(backend)]
    assert names == (["a", "b", "c"] if fault is Fault.AFTER else ["a", "c"])


def test_lost_answer_hides_the_winner(backend: Backend) -> None:
    """Our answer is lost, and the number was somebody else's: that is a conflict, not a success."""
    other = committer(backend)

    wins = iter(["x", "y"])

    def on_step(method: str, key: str) -> None:
        if method == "create" and "/log/" in key and (name := next(wins, None)):
            other.commit(take(name))

    faulty = FaultyBackend(backend, ScriptedFaults({"create": [Fault.BEFORE, Fault.AFTER]}), on_step=on_step)
    log = BackendLog(RetryingBackend(faulty, sleep=lambda seconds: None), PREFIX)
    log.turn = threading.Lock  # type: ignore[method-assign,assignment,return-value]
    committer(backend, log=log).commit(take("ours"))
    names = [who for _, who in given(backend)]
    assert sorted(names) == ["ours", "x", "y"]


# Threads


def test_threads_pay_a_transaction_each() -> None:
    memory = MemoryBackend()
    slow = FaultyBackend(
        memory, lambda method, key: Fault.DELAY if method == "create" else None, delay_s=0.02
    )
    writer = committer(slow)
    mine: dict[int, list[int]] = {}

    def work(number: int) -> None:
        mine[number] = [
            writer.commit(take(f"{number}"))[0]["number"]
            for _ in range(10)  # its own ops come back
        ]

    in_threads(16, work)
    found = given(memory)
    assert len(found) == 160
    transactions = len(list(memory.list(f"{PREFIX}log/")))
    assert transactions < 60
    for number, numbers in mine.items():
        assert numbers == [given_number for given_number, who in found if who == f"{number}"]


def test_wishes_that_are_alike_are_taken_for_one() -> None:
    """More callers than one transaction takes, all with the same function."""
    memory = MemoryBackend()
    slow = FaultyBackend(memory, lambda method, key: Fault.DELAY if method == "create" else None, delay_s=0.3)
    writer, same = committer(slow), take("same")
    got: list[int] = []
    in_threads(600, lambda number: got.append(writer.commit(same)[0]["number"]))
    assert sorted(got) == list(range(600))
    assert len(given(memory)) == 600


def test_interrupt_of_one_thread_reaches_the_others() -> None:
    memory = MemoryBackend()
    writer = committer(memory)
    started, release = threading.Event(), threading.Event()

    def interrupted(state: int) -> Sequence[Op]:
        started.set()
        release.wait(HANG_S)
        raise KeyboardInterrupt

    def work(number: int) -> None:
        if number == 0:
            with pytest.raises(KeyboardInterrupt):
                writer.commit(interrupted)
        elif number == 1:
            started.wait(HANG_S)
            time.sleep(0.2)  # until the others wait for their turn
            release.set()
        else:
            started.wait(HANG_S)
            writer.commit(take(f"{number}"))

    in_threads(6, work)
    assert sorted(who for _, who in given(memory)) == ["2", "3", "4", "5"]


def test_error_of_the_store_reaches_only_one_of_a_group() -> None:
    memory = MemoryBackend()
    plan = ScriptedFaults({"create": [Fault.DELAY, Fault.BEFORE]})
    writer = committer(FaultyBackend(memory, plan, delay_s=0.3))
    outcomes: list[str] = []

    def work(number: int) -> None:
        if number:
            time.sleep(0.1)  # while the first creates, the others gather
        try:
            writer.commit(take(f"{number}"))
        except CommError:
            outcomes.append("failed")
        else:
            outcomes.append("done")

    in_threads(5, work)
    assert sorted(outcomes) == ["done"] + ["failed"] * 4
    assert given(memory) == [(0, "0")]


@pytest.mark.parametrize("seed", range(6))
def test_faults_lose_an_acknowledged_commit(tmp_path: Path, seed: int) -> None:
    """Several committers with several threads each, over one store that fails at random."""
    memory: Backend = LocalBackend(tmp_path) if seed % 2 else MemoryBackend()
    rates = {Fault.BEFORE: 0.08, Fault.AFTER: 0.12, Fault.TORN: 0.05, Fault.DELAY: 0.05}
    faulty = FaultyBackend(memory, RandomFaults(seed, rates), sleep=lambda seconds: None)
    retrying = RetryingBackend(faulty, sleep=lambda seconds: None) if seed < 4 else faulty
    writers = [committer(retrying) for _ in range(3)]
    acknowledged: dict[str, int] = {}
    names = itertools.count()

    def work(number: int) -> None:
        for _ in range(15):
            name = f"{number}.{next(names)}"
            try:
                (op,) = writers[number % 3].commit(take(name))
            except CommError as error:
                builders.one_line(error)
                continue
            acknowledged[name] = op["number"]

    in_threads(6, work)
    found = given(memory)
    who = [name for _, name in found]
    assert len(acknowledged) > 10
    for name, number in acknowledged.items():
        assert who.count(name) == 1
        assert found[number] == (number, name)
    if seed < 4:
        assert len(found) >= len(acknowledged)
    assert all(who.count(name) == 1 for name in who)


# Processes: numbers, interrupts, forks


@pytest.fixture
def shared_place(place: LogPlace) -> LogPlace:
    """A place that other processes reach."""
    if place.address.startswith("memory:"):
        pytest.skip("memory is of one process")
    return place


def commit_often(
    address: str, worker: int, count: int, start: Barrier, answers: Queue[tuple[str, int]]
) -> None:
    """Commit, and say what was acknowledged as which number."""
    writer = committer(place_at(address))
    start.wait(HANG_S)
    for turn in range(count):
        (op,) = writer.commit(take(f"{worker}.{turn}"))
        answers.put((f"{worker}.{turn}", op["number"]))


def test_sixteen_processes_are_given_a_number_twice_or_lose_one(shared_place: LogPlace) -> None:
    start, answers = SPAWN.Barrier(16), SPAWN.Queue()
    arguments = [(shared_place.address, worker, 20, start, answers) for worker in range(16)]
    workers = [SPAWN.Process(target=commit_often, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    acknowledged = dict(answers.get(timeout=HANG_S) for _ in range(16 * 20))
    for worker in workers:
        worker.join(HANG_S)
        assert worker.exitcode == 0
    assert given(shared_place) == sorted((number, who) for who, number in acknowledged.items())
    assert sorted(acknowledged.values()) == list(range(16 * 20))


ENOUGH = 20  # interrupts


def commit_under_interrupts(address: str) -> tuple[int, int]:
    """Commit while an alarm interrupts every few milliseconds, at any instruction."""
    place = place_at(address)
    writer, acknowledged, interrupts = committer(place), 0, 0
    end_s, give_up_s = time.monotonic() + 2, time.monotonic() + 60
    pauses = itertools.cycle([0.0004, 0.0011, 0.0023, 0.0007, 0.0031])
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    # A slow machine needs longer for as many interrupts.
    while time.monotonic() < end_s or (interrupts <= ENOUGH and time.monotonic() < give_up_s):
        try:
            signal.setitimer(signal.ITIMER_REAL, next(pauses))
            writer.commit(take("x"))
            acknowledged += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    numbers = given(place)
    assert writer.refresh() == len(numbers)
    return acknowledged, interrupts


def test_interrupt_leaves_state_and_position_apart(tmp_path: Path) -> None:
    acknowledged, interrupts = builders.in_child(commit_under_interrupts, str(tmp_path))
    assert interrupts > ENOUGH
    assert len(given(LocalBackend(tmp_path))) >= acknowledged


def fork_while_committing(address: str) -> int:
    """Children of a process whose threads commit all the time commit, too; the sum of their exit codes."""
    writer, stop, failures = committer(place_at(address)), threading.Event(), 0

    def work() -> None:
        while not stop.is_set():
            writer.commit(take("parent"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(12):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(60)  # a lock that was held at the fork would be held for ever
                for _ in range(3):
                    writer.commit(take(f"child{number}"))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        failures += status
    stop.set()
    for thread in threads:
        thread.join(HANG_S)
    return failures


def test_fork_hangs_the_child_or_doubles_a_number(shared_place: LogPlace) -> None:
    assert builders.in_child(fork_while_committing, shared_place.address) == 0
    names = [who for _, who in given(shared_place)]
    for number in range(12):
        assert names.count(f"child{number}") == 3


# Sealing


def test_folder_is_sealed_late_or_twice(tmp_path: Path) -> None:
    memory, sealed = MemoryBackend(), []
    writer = committer(memory, on_sealed=lambda state, position: sealed.append((state, position.seq)))
    other = committer(memory)
    for number in range(1005):
        (other if number % 7 == 0 else writer).commit(take("x"))
    assert [found.key for found in memory.list(f"{PREFIX}log/") if found.key.endswith("zst")] == [
        f"{PREFIX}log/000000.jsonl.zst"
    ]
    assert sealed == [(1000, 999)]
    assert len(given(memory)) == 1005


@pytest.mark.parametrize("kind", [CommError, ConflictError, Error])
def test_failure_to_seal_fails_the_commit(kind: type[Error]) -> None:
    memory = MemoryBackend()

    def fail(state: int, position: Position) -> None:
        raise kind("advisory")

    writer = committer(memory, on_sealed=fail)
    for _ in range(1001):
        writer.commit(take("x"))
    assert len(given(memory)) == 1001
