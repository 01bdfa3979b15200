"""Plans, final lists, the store's own log, and what a process knows of them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

import builders
from lineart.storage import gc
from lineart.storage.condemned import Condemned, PacksCondemned
from lineart.storage.errors import ConflictError, FormatError, IntegrityError, NotFoundError
from lineart.storage.locations import Locations
from lineart.storage.log import BackendLog
from lineart.storage.memory import MemoryBackend
from lineart.storage.pack import PackedObject
from lineart.storage.store_log import PREFIX, StoreLog

TIME = "2026-01-02T03:04:05.000006Z"
A, B, C = (letter * 64 for letter in "abc")


def plan(name: str, *packs: str) -> gc.Plan:
    return gc.Plan(name, TIME, [gc.PlannedPack(pack, 10, "dead") for pack in packs], [])


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


def publish(backend: MemoryBackend, made: gc.Plan) -> None:
    backend.create(gc.plan_key(made.id), made.encode())


def raw(*packs: str) -> list[bytes]:
    return [bytes.fromhex(pack) for pack in packs]


# Formats


def test_plan_loses_a_field_on_its_way(backend: MemoryBackend) -> None:
    made = gc.Plan(
        "p",
        TIME,
        (gc.PlannedPack(A, 10, "dead"), gc.PlannedPack(B, 20, "sparse", 5)),
        (gc.PlannedRun("t/p/r", 7),),
    )
    publish(backend, made)
    assert gc.read_plan(backend, "p") == made
    assert made.size_bytes == 10 + 15 + 7
    assert gc.list_plans(backend) == [gc.PlanStatus("p")]
    final = gc.Final("p", (A,), ("projects/t/p/runs/r/x",), "why")
    assert gc.create_final(backend, final) == final == gc.read_final(backend, "p")
    backend.create(gc.done_key("p"), b"{}")
    assert gc.list_plans(backend) == [gc.PlanStatus("p", True, True)]


def test_second_final_list_replaces_the_first(backend: MemoryBackend) -> None:
    found: list[gc.Final] = []

    def create(pack: str) -> None:
        found.append(gc.create_final(backend, gc.Final("p", (pack,))))

    threads = [threading.Thread(target=create, args=(pack,)) for pack in (A, B, C)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({final.packs for final in found}) == 1


@pytest.mark.parametrize(
    "data, error",
    [
        (b"", IntegrityError),
        (b"[]", IntegrityError),
        (b'{"format":1}', IntegrityError),
        (
            b'{"format":1,"id":"p","plan":"p","keys":[],"cancelled":null,"time":"","runs":[],"packs":["../x"]}',
            IntegrityError,
        ),
        (b'{"format":2}', FormatError),
    ],
)
def test_damaged_plan_or_list_is_believed(
    backend: MemoryBackend, data: bytes, error: type[Exception]
) -> None:
    backend.write(gc.plan_key("p"), data)
    backend.write(gc.final_key("p"), data)
    for read in (gc.read_plan, gc.read_final):
        with pytest.raises(error) as caught:
            read(backend, "p")
        builders.one_line(caught.value, "plan p")


def test_pack_that_is_needed_or_planned_is_planned(backend: MemoryBackend) -> None:
    sizes = {A: 1000, B: 1000, C: 1000}
    assert [pack.pack for pack in gc.dead_packs(sizes, {A}, {C})] == [B]
    sparse = gc.sparse_packs(sizes, {A: 299, B: 300, C: 0}, {C}, share=0.3)
    assert sparse == [gc.PlannedPack(A, 1000, "sparse", 299)]


def test_circle_of_successors_has_no_end() -> None:
    assert gc.closure([A], {A: [B], B: [A, C]}) == {A, B, C}


# What a process knows


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(tmp_path / "cache")


def test_condemned_pack_is_relied_upon(backend: MemoryBackend, locations: Locations) -> None:
    condemned = Condemned(backend, locations)
    assert not condemned
    publish(backend, plan("1", A, B))
    assert condemned.unchecked(["1"]) == ["1"]
    condemned.check(["1"])
    assert condemned.unchecked(["1"]) == []
    assert condemned
    with pytest.raises(PacksCondemned) as caught:
        condemned.demand_free(raw(C, A))
    assert isinstance(caught.value, ConflictError)
    builders.one_line(caught.value, A[:12])
    condemned.demand_free(raw(C))
    assert condemned.open_plans(raw(B, C)) == ["1"]
    assert not condemned.is_collected(*raw(A))


def test_spared_pack_stays_condemned_and_a_collected_one_does_not(
    backend: MemoryBackend, locations: Locations
) -> None:
    condemned = Condemned(backend, locations)
    publish(backend, plan("1", A, B))
    condemned.check(["1"])
    gc.create_final(backend, gc.Final("1", (A,)))
    condemned.demand_free(raw(C))
    condemned.refresh()
    condemned.demand_free(raw(B))
    assert condemned.is_collected(*raw(A))
    assert condemned.open_plans(raw(A, B)) == []
    with pytest.raises(PacksCondemned):
        condemned.demand_free(raw(A))


def test_next_process_on_this_machine_reads_final_lists_again(
    backend: MemoryBackend, locations: Locations, tmp_path: Path
) -> None:
    for number in range(3):
        publish(backend, plan(f"{number}", A, B))
    gc.create_final(backend, gc.Final("0", (A,)))
    gc.create_final(backend, gc.Final("1"))
    Condemned(backend, locations).check(["0", "1", "2"])
    backend.delete(gc.final_key(f"{number}") for number in range(2))
    again = Condemned(backend, Locations(tmp_path / "cache"))
    gc.create_final(backend, gc.Final("2", (C,)))
    again.check(["0", "1", "2"])
    assert [again.is_collected(pack) for pack in raw(A, B, C)] == [True, False, True]


def test_plan_whose_file_is_gone_condemns_nothing(backend: MemoryBackend, locations: Locations) -> None:
    with pytest.raises(NotFoundError):
        Condemned(backend, locations).check(["1"])


def test_object_in_a_collected_pack_is_not_found_in_the_other(locations: Locations) -> None:
    digest = bytes(32)
    for pack in raw(A, B):
        locations.add(pack, 100, [PackedObject(digest, 5, 8, 5, 0)])
    assert locations.find([digest])[digest].pack == raw(A)[0]
    assert locations.find([digest], without=set(raw(A)))[digest].pack == raw(B)[0]
    locations.forget(raw(A, C))
    assert locations.find([digest])[digest].pack == raw(B)[0]
    assert locations.known_packs(raw(A, B, C)) == set(raw(B))
    locations.forget(raw(B))
    assert locations.find([digest]) == {}


# The store's own log


def facts(backend: MemoryBackend) -> StoreLog:
    return StoreLog(BackendLog(backend, PREFIX), now=lambda: TIME)


def test_project_is_entered_twice_or_misses_a_plan(backend: MemoryBackend) -> None:
    first, second = facts(backend), facts(backend)
    assert first.condemn("1").plans == ("1",)
    state = second.register("t/a")
    assert (list(state.projects), state.plans) == (["t/a"], ("1",))
    assert first.condemn("2").plans == ("1", "2")
    assert first.condemn("1").plans == ("1", "2")
    assert second.register("t/a").plans == ("1", "2")
    ops = [json.loads(backend.read(key.key))["ops"] for key in list(backend.list("store/log/"))]
    assert [op["op"] for entry in ops for op in entry] == ["gc.condemn", "project.create", "gc.condemn"]


def test_successors_are_entered_that_are_condemned(backend: MemoryBackend, locations: Locations) -> None:
    condemned, log = Condemned(backend, locations), facts(backend)
    publish(backend, plan("1", B))
    log.condemn("1")
    with pytest.raises(PacksCondemned):
        log.replace({A: [B]}, condemned)
    assert log.successors(*raw(A)) == []
    log.replace({A: [C]}, condemned)
    log.replace({A: [C, A]}, condemned)
    assert log.successors(*raw(A)) == raw(C)
    assert len(list(backend.list("store/log/"))) == 2


def test_newer_fact_about_the_store_is_overlooked(backend: MemoryBackend) -> None:
    log = facts(backend)
    log.register("t/a")
    log._open().commit(lambda state: [{"op": "store.painted"}])
    for write in (lambda: log.register("t/b"), lambda: log.condemn("1")):
        with pytest.raises(FormatError) as caught:
            write()
        builders.one_line(caught.value, "store.painted", "upgrade")
    assert log.state().newer is not None
