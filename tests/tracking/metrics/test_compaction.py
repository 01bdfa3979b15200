"""Long histories: compacted to Parquet at the end, read by metric and bucket, whoever has written them."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lineart
from lineart.storage.counting import CountingBackend
from lineart.storage.errors import IntegrityError, UsageError
from lineart.storage.store import Store
from lineart.tracking.metrics import RunHistory, compaction
from lineart.tracking.metrics.cells import cells_of, of_cell
from lineart.tracking.metrics.compaction import compact
from lineart.tracking.metrics.journal import Journal
from lineart.tracking.metrics.lines import line, row_line
from lineart.tracking.metrics.loading import COLUMNS, _parse
from lineart.tracking.metrics.pieces import Tail, collect
from lineart.tracking.metrics.query import cursor
from lineart.tracking.run_folder import RunFolder
from run_reading import history, parts, values

ROWS = 20_000


@pytest.fixture
def long_run() -> lineart.Run:
    """A finished run with a long history of four metrics."""
    random.seed(3)
    with lineart.init(project="team/long", id="r", settings={"system": False}) as run:
        for number in range(ROWS):
            run.log(
                {"loss": math.sin(number / 100), "epoch": number // 100, "lr": 0.1, "name": f"n{number % 3}"}
            )
    return run


def files(run: lineart.Run) -> list[str]:
    """What the run has in the store beside the log."""
    workspace, project, name = parts(run.path)
    prefix = f"projects/{project}/runs/{name}/"
    return [found.key[len(prefix) :] for found in workspace.store.backend.list(prefix)]


def test_long_history_is_one_parquet_with_a_rollup(long_run: lineart.Run) -> None:
    found = files(long_run)
    assert [name.rpartition(".")[2] for name in found if name.startswith("history/")] == [
        "parquet",
        "parquet",
        "json",
    ]
    assert not any(name.startswith("segments/") for name in found)
    assert values(long_run, "loss") == [math.sin(number / 100) for number in range(ROWS)]
    assert values(long_run, "epoch")[:101] == [0] * 100 + [1]
    assert values(long_run, "name")[:4] == ["n0", "n1", "n2", "n0"]
    assert history(long_run).keys() == ["epoch", "loss", "lr", "name"]
    assert history(long_run).last_step() == ROWS - 1


def test_short_history_is_a_segment() -> None:
    with lineart.init(project="team/long") as run:
        run.log({"a": 1})
    assert [name.partition("/")[0] for name in files(run)] == ["run.json", "segments"]


@pytest.mark.parametrize("rollup_from", [1, 10**9])
@pytest.mark.parametrize("samples", [1, 7, 100, 1000, 5000, 10**6])
def test_buckets_say_what_a_plain_computation_says(
    long_run: lineart.Run, samples: int, rollup_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineart.tracking.metrics.history.ROLLUP_FROM", rollup_from)
    found = history(long_run).buckets("loss", samples)
    assert len(found.step) == min(samples, ROWS)
    assert sum(found.count) == ROWS
    plain = [math.sin(number / 100) for number in range(ROWS)]
    assert found.step[0] == 0
    assert found.last_step[-1] == ROWS - 1
    for first, last, low, high, mean, count, end in zip(
        found.step, found.last_step, found.min, found.max, found.mean, found.count, found.last, strict=True
    ):
        part = plain[first : last + 1]
        assert (count, low, high, end) == (len(part), min(part), max(part), part[-1])
        assert mean == pytest.approx(math.fsum(part) / len(part), abs=1e-9)


def test_buckets_of_a_live_run_are_those_of_the_finished_one() -> None:
    with lineart.init(project="team/long") as run:
        for number in range(9000):
            run.log({"x": number})
        before = history(run).buckets("x", 100)
    after = history(run).buckets("x", 100)
    assert (before.step, before.min, before.mean) == (after.step, after.min, after.mean)


def test_numbers_that_are_none_are_counted_and_left_out_of_the_mean() -> None:
    with lineart.init(project="team/long") as run:
        for value in (1.0, math.nan, 3.0, math.inf):
            run.log({"x": value})
    found = history(run).buckets("x", 1)
    assert (found.count, found.min, found.max, found.mean) == ([4], [1.0], [math.inf], [math.inf])


def test_columns_are_bucketed_only_when_there_are_more_rows(long_run: lineart.Run) -> None:
    whole = history(long_run).columns(["loss", "epoch"])
    assert len(whole["_step"]) == ROWS
    few = history(long_run).columns(["loss", "epoch", "name"], samples=500)
    assert len(few["_step"]) == 500
    assert few["_step"][-1] == ROWS - 1
    assert few["name"][-1] == f"n{(ROWS - 1) % 3}"
    assert all(a <= b for a, b in zip(few["epoch"], few["epoch"][1:], strict=False))


def test_rows_between_steps(long_run: lineart.Run) -> None:
    rows = list(history(long_run).rows(["loss"], min_step=100, max_step=110))
    assert [row["_step"] for row in rows] == list(range(100, 110))
    assert all(set(row) == {"_step", "_timestamp", "_runtime", "loss"} for row in rows)


def test_samples_below_one_are_refused(long_run: lineart.Run) -> None:
    with pytest.raises(UsageError, match="samples 0"):
        history(long_run).buckets("loss", 0)
    with pytest.raises(UsageError, match=r"\['loss'\]"):
        list(history(long_run).rows("loss"))


def test_resumed_long_run_has_two_parts_and_one_history(long_run: lineart.Run) -> None:
    with lineart.init(project="team/long", id="r", resume="must") as run:
        assert run.step == ROWS
        for number in range(ROWS, ROWS + 10_000):
            run.log({"loss": math.sin(number / 100), "epoch": number // 100, "lr": 0.1, "name": "more" * 8})
        assert len(values(run, "loss")) == ROWS + 10_000
    assert sum(name.endswith(".json") and name.startswith("history/") for name in files(run)) == 2
    assert values(run, "loss") == [math.sin(number / 100) for number in range(ROWS + 10_000)]
    assert sum(history(run).buckets("loss", 50).count) == ROWS + 10_000


def test_one_metric_of_many_costs_a_part_of_the_file(tmp_path: Path) -> None:
    with lineart.init(project="team/long", settings={"system": False}) as run:
        for number in range(5000):
            run.log({f"m{metric:02}": random.random() for metric in range(20)} | {"n": number})
    workspace, project, name = parts(run.path)
    size = next(
        found.size_bytes
        for found in workspace.store.backend.list(f"projects/{project}/runs/{name}/history/")
        if found.key.endswith(".parquet") and "rollup" not in found.key
    )

    class Remote(CountingBackend):
        """As if it were far away: every byte read is counted."""

        read_bytes = 0

        def local_path(self, key: str) -> Path | None:
            return None

        def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            data = super().read(key, start, length)
            Remote.read_bytes += len(data)
            return data

    store = Store.on(Remote(workspace.store.backend), cache=tmp_path / "cache")
    far = RunHistory(store, project, name)
    assert len(list(far.rows(["m07"]))) == 5000
    assert Remote.read_bytes < size / 2
    assert [row["n"] for row in far.rows(["n"])] == list(range(5000))


@pytest.mark.on_disk
def test_damaged_part_is_told(long_run: lineart.Run) -> None:
    marker = next(
        path for path in Path(os.environ["LINEART_STORE"]).rglob("*.json") if path.parent.name == "history"
    )
    marker.write_bytes(marker.read_bytes()[:-5])
    with pytest.raises(IntegrityError, match="history part 0"):
        history(long_run).keys()


def test_torn_line_in_the_middle_loses_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append(row_line(0, 1.0, {"a": 1}, False))
    journal.append(b'{"step":1,"time":2.0,"lo')
    journal.close()
    again = Journal(tmp_path / "j.jsonl")
    again.append(row_line(2, 3.0, {"a": 3}, False))
    data = again.content()
    again.close()
    cells = cells_of([Tail("w", 0, len(data), data, 0)])
    assert [of_cell(*cell) for cell in zip(cells.value, cells.text, strict=True)] == [1, 3]


VALUES = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=6),
    st.sampled_from(
        [{"_float": "nan"}, {"_float": "inf"}, {"_int": str(1 << 70)}, {"_decimal": "0.10"}, [1, "a"]]
    ),
    st.dictionaries(st.text("ab", max_size=2), st.integers(-(1 << 63), (1 << 63) - 1), max_size=2),
)
NAMES = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=3)
LINES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.booleans(),
        st.dictionaries(NAMES, VALUES, max_size=3),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINES)
def test_both_ways_of_reading_lines_agree(rows: list[tuple[int, bool, dict[str, object]]]) -> None:
    data, before = line("writer", "w"), None
    for number, (step, more, values_) in enumerate(rows):
        data += row_line(step, 100.0 + number, values_, more and before == step)
        before = step
    data += line("system", {"cpu": 1.5}, 200.0)
    tail = Tail("w", 0, len(data), data, 0)
    slow = cells_of([tail])
    expected = sorted(
        zip(slow.stream, slow.key, slow.step, slow.time_us, slow.value, slow.text, strict=True), key=repr
    )
    with cursor() as connection:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE fast ({COLUMNS})")
        assert _parse(connection, "fast", [tail], None, None)
        found = connection.execute("SELECT stream, key, step, time_us, value, text FROM fast").fetchall()

    def comparable(cells: list[Any]) -> list[str]:
        return sorted(repr((*cell[:4], of_cell(*cell[4:]))) for cell in cells)

    assert comparable(found) == comparable(expected)


def test_processes_that_compact_at_the_same_time_make_one_part() -> None:
    with lineart.init(project="team/race", id="r") as run:
        pass
    opened, project, name = parts(run.path)
    folder = RunFolder.of(opened.store, project, name, opened.data)
    journal = Journal(folder.new("w") / "journal.jsonl")
    journal.append(line("writer", "w"))
    for number in range(10_000):
        journal.append(row_line(number, float(number), {"x": number, "text": "y" * 20}, False))
    journal.close()
    code = """
import sys
from run_reading import parts
from lineart.tracking.run_folder import RunFolder
from lineart.tracking.metrics.compaction import compact
opened, project, name = parts("team/race/r")
print("ready", flush=True); sys.stdin.readline()
compact(opened.store, project, name, RunFolder.of(opened.store, project, name, opened.data))
"""
    tests = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": tests}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    assert [racer.wait(60) for racer in racers] == [0] * 4
    for racer in racers:
        racer.communicate()
    pieces = collect(opened.store, project, name, folder)
    assert len(pieces.parts) == 1
    assert pieces.tail_bytes == 0
    assert values(run, "x") == list(range(10_000))


def test_small_limit_is_where_the_forms_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SMALL_BYTES", 100)
    with lineart.init(project="team/long") as run:
        run.log({"a": 1, "b": "x"})
        run.log({"a": 2}, commit=False)
        run.log({"c": 3})
    assert any(name.endswith(".parquet") for name in files(run))
    rows = [{k: v for k, v in row.items() if k[0] != "_"} for row in history(run).rows()]
    assert rows == [{"a": 1, "b": "x"}, {"a": 2, "c": 3}]


def test_tail_that_goes_on_with_a_compacted_row_has_a_row_of_its_own() -> None:
    data = row_line(4000, 100.0, {"b": 2}, True) + row_line(4001, 101.0, {"b": 3}, False)
    tail = Tail("w", 0, len(data), data, 0)
    with cursor() as connection:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE fast ({COLUMNS})")
        assert _parse(connection, "fast", [tail], None, None)
        found = connection.execute("SELECT step, time_us, value FROM fast ORDER BY step").fetchall()
    assert found == [(4000, 100_000_000, 2.0), (4001, 101_000_000, 3.0)]


def test_reader_sees_all_while_others_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    with lineart.init(project="p", id="r") as run:
        for number in range(100):
            run.log({"x": number})
    workspace, project, name = parts(run.path)
    backend = type(workspace.store.backend)
    real, times = backend.read, []

    def late(self: Any, key: str, *args: Any, **more: Any) -> bytes:
        if "/segments/" in key and not times:
            times.append(key)
            monkeypatch.setattr("lineart.tracking.metrics.compaction.SMALL_BYTES", 0)
            compact(
                workspace.store, project, name, RunFolder.of(workspace.store, project, name, workspace.data)
            )
        return bytes(real(self, key, *args, **more))

    monkeypatch.setattr(backend, "read", late)
    assert values(run, "x") == list(range(100))
    assert times


def test_far_steps_are_cut_into_ranges() -> None:
    with lineart.init(project="p") as run:
        for step in [*range(50), 1_800_000_000_000_000_000]:
            run.log({"x": step}, step=step)
    found = history(run).columns(["x"], samples=20)
    assert found["_step"] == [49, 1_800_000_000_000_000_000]


def test_measurements_of_several_processes_are_in_the_order_of_time() -> None:
    rows = [line("system", {"cpu": float(time)}, 100.0 + time) for time in range(6)]
    lineart.init(project="p", id="r").finish()
    workspace, project, name = parts("default/p/r")
    folder = RunFolder.of(workspace.store, project, name, workspace.data)
    for writer, own in (("a", rows[::2]), ("b", rows[1::2])):
        journal = Journal(folder.new(writer) / "journal.jsonl")
        journal.append(line("writer", writer) + b"".join(own))
        journal.close()
    for _ in range(2):
        found = list(history("default/p/r").rows(["cpu"], min_step=1, stream="system"))
        assert [(row["_step"], row["cpu"]) for row in found] == [(n, float(n)) for n in range(1, 6)]
        buckets = history("default/p/r").buckets("cpu", 3, stream="system")
        assert (buckets.step, buckets.mean) == ([0, 2, 4], [0.5, 2.5, 4.5])
        compact(workspace.store, project, name, folder)
