"""Filters and orders of runs: their rules, their errors, and that Python and SQL mean the same."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scenario
from lineart.storage.errors import UsageError
from lineart.tracking.run_filters import parse_filters
from lineart.tracking.run_keys import Key, parse_key
from lineart.tracking.run_matching import holds
from lineart.tracking.run_order import ordered, parse_order, rank
from lineart.tracking.run_query import RunReader
from lineart.tracking.run_records import RunFold, RunLog, document
from lineart.tracking.run_sql import RunSql

DOCUMENT = {
    "config": {
        "lr": 0.1,
        "depth": 3,
        "flag": True,
        "name": "resnet-50",
        "none": None,
        "model": {"depth": 4, "act.fn": "relu", "sizes": [8, 16, 32]},
        "a.b": 1,
        "a": {"b": 2, "c": 3},
        "layers": [{"kind": "conv", "size": 3}, {"kind": "dense", "size": 10}],
        "nan": {"_float": "nan"},
        "inf": {"_float": "inf"},
        "big": {"_int": "18446744073709551616"},
        "day": {"_date": "2026-01-02"},
        "empty": [],
    },
    "summary": {"loss": 0.5, "val/acc": 0.9, "train.loss": 0.25},
    "tags": ["baseline", "v2"],
    "state": "finished",
    "name": "r1",
    "display_name": "sunny-river",
    "group": None,
    "job_type": "train",
    "created_at": "2026-01-02T03:04:05.000000Z",
    "heartbeat_at": "2026-01-02T04:04:05.000000Z",
    "duration": 3600.0,
    "user": "ada",
    "host": "box",
    "sweep": None,
    "notes": "two\nlines",
}

HOLD: list[dict[str, Any]] = [
    {},
    {"config.lr": 0.1},
    {"config.depth": 3.0},
    {"config.depth.value": 3},
    {"config.model.depth.value": 4},
    {"config.model.depth": {"$gt": 3, "$lt": 5}},
    {"config": {"model": {"depth": 4}, "lr": {"$lte": 0.1}}},
    {"config.model.act.fn": "relu"},
    {"config.a.b": 1},
    {"config.a.c": 3},
    {"config.model.sizes": 16},
    {"config.model.sizes": [8, 16, 32]},
    {"config.model.sizes": {"$gt": 31}},
    {"config.model.sizes.1": 16},
    {"config.layers.0.kind": "conv"},
    {"config.layers": {"$elemMatch": {"kind": "dense", "size": {"$gte": 10}}}},
    {"config.model.sizes": {"$elemMatch": {"$gt": 8, "$lt": 32}}},
    {"config.nan": float("nan")},
    {"config.nan": {"$not": {"$gt": 0}}},
    {"config.inf": {"$gt": 1e308}},
    {"config.big": {"$gt": 2**63}},
    {"config.big": 2**64},
    {"config.day": {"$lt": "2026-02"}},
    {"config.day": datetime.date(2026, 1, 2)},
    {"config.none": None},
    {"config.nothing": None},
    {"config.none": {"$exists": True}},
    {"config.nothing": {"$exists": False}},
    {"config.nothing": {"$ne": 1}},
    {"config.empty": {"$eq": []}},
    {"config.model": {"$eq": {"depth": 4, "sizes": [8, 16, 32], "act.fn": "relu"}}},
    {"summary_metrics.val/acc": {"$gte": 0.9}},
    {"summary.train.loss": 0.25},
    {"summaryMetrics.loss": {"$in": [0.5, "x"]}},
    {"tags": "baseline"},
    {"tags": {"$in": ["a", "v2"]}},
    {"tags": {"$all": ["v2", "baseline"]}},
    {"tags": {"$nin": ["a"]}},
    {"tags": ["baseline", "v2"]},
    {"display_name": {"$regex": "^sunny"}},
    {"displayName": {"$regex": "RIVER$", "$options": "i"}},
    {"displayName": re.compile("RIVER", re.IGNORECASE)},
    {"notes": {"$regex": "two.lines", "$options": "s"}},
    {"notes": {"$not": {"$regex": "two.lines"}}},
    {"state": {"$in": ["finished", "failed"]}},
    {"state": {"$in": [re.compile("^fin")]}},
    {"group": None},
    {"group": {"$exists": False}},
    {"jobType": "train", "username": "ada", "name": "r1", "host": "box"},
    {"createdAt": {"$gt": "2026-01-01"}},
    {
        "created_at": {
            "$gte": "2026-01-02T04:04:05+01:00",
            "$lt": datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC),
        }
    },
    {"created_at": {"$gt": datetime.date(2026, 1, 2)}},
    {"heartbeatAt": {"$gt": 1767323045}},
    {"duration": {"$gt": 3599}},
    {"$or": [{"state": "running"}, {"config.lr": {"$lt": 1}}]},
    {"$nor": [{"state": "running"}, {"config.lr": 1}]},
    {"$and": [{"state": "finished"}, {"$not": {"tags": "x"}}]},
    {"sweep": None},
]
FAIL: list[dict[str, Any]] = [
    {"config.lr": "0.1"},
    {"config.flag": 1},
    {"config.depth": True},
    {"config.flag": {"$gt": 0}},
    {"config.nan": {"$gt": -1}},
    {"config.nan": {"$lte": 1}},
    {"config.lr": {"$gt": math.nan}},
    {"config.nothing": {"$lt": 5}},
    {"config.nothing": {"$exists": True}},
    {"config.none": {"$ne": None}},
    {"config.model": {"$eq": {"depth": 4}}},
    {"config.model.sizes": {"$eq": [8, 16]}},
    {"config.model.sizes": {"$ne": 8}},
    {"config.lr": {"$elemMatch": {"$gt": 0}}},
    {"config.layers": {"$elemMatch": {"kind": "conv", "size": 10}}},
    {"config.empty": {"$all": []}},
    {"tags": {"$all": ["v2", "x"]}},
    {"tags": {"$in": []}},
    {"tags": {"$regex": "^x"}},
    {"display_name": {"$regex": "RIVER"}},
    {"notes": {"$regex": "two.lines"}},
    {"created_at": {"$lt": "2026-01-02"}},
    {"$nor": [{"state": "finished"}]},
    {"state": "finished", "config.lr": 7},
    {"sweep": "abc"},
]


@pytest.fixture(scope="module")
def duck() -> Iterator[Any]:
    """DuckDB with a table that `runs` stands for."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE one (config JSON, summary JSON, tags VARCHAR[], state VARCHAR, run VARCHAR, name VARCHAR,"
        " group_name VARCHAR, job_type VARCHAR, created_at TIMESTAMP, finished_at TIMESTAMP, user_name VARCHAR,"
        " host VARCHAR, notes VARCHAR)"
    )
    yield connection
    connection.close()


def by_sql(duck: Any, values: dict[str, Any], filters: dict[str, Any]) -> bool:
    """What SQL says of one run."""
    v = values
    cells = [json.dumps(v["config"]), json.dumps(v["summary"]), v["tags"], v["state"], v["name"]]
    cells += [v["display_name"], v["group"], v["job_type"], v["created_at"], v["heartbeat_at"]]
    cells += [v["user"], v["host"], v["notes"]]
    duck.execute("DELETE FROM one")
    duck.execute(f"INSERT INTO one VALUES ({', '.join('?' * 8)}, ?::TIMESTAMP, ?::TIMESTAMP, ?, ?, ?)", cells)
    sql = RunSql()
    where = sql.where(parse_filters(filters))
    return bool(duck.execute(f"SELECT count(*) FROM one WHERE {where}", sql.parameters).fetchone()[0])


@pytest.mark.parametrize(
    "filters, wanted", [*((f, True) for f in HOLD), *((f, False) for f in FAIL)], ids=str
)
def test_rules(duck: Any, filters: dict[str, Any], wanted: bool) -> None:
    assert holds(parse_filters(filters), DOCUMENT) is wanted
    assert by_sql(duck, DOCUMENT, filters) is wanted


@pytest.mark.parametrize(
    "filters, message",
    [
        ({"lr": 1}, r"unknown key 'lr'.*settings are config\.lr, results summary_metrics\.lr"),
        ({"stat": 1}, "unknown key 'stat'; did you mean 'state'"),
        ({"config.lr": {"$gtt": 1}}, r"config\.lr: unknown operator '\$gtt'; did you mean '\$gt'"),
        ({"$xor": []}, r"unknown operator '\$xor'; did you mean '\$or'"),
        ({"$gt": 1}, r"operator '\$gt' stands behind a key"),
        ({"config.lr": {"$gt": 1, "x": 2}}, "mixes operators and keys"),
        ({"config.lr": {"$gt": [1]}}, r"\$gt \[1\], expected a number, text or bool"),
        ({"config.lr": {"$gt": None}}, "expected a number, text or bool"),
        ({"tags": {"$in": "baseline"}}, r"\$in 'baseline', expected a list"),
        ({"$or": {"a": 1}}, r"\$or .* expected a list"),
        ({"$or": []}, "empty list"),
        ({"state": {"$exists": "yes"}}, "expected true or false"),
        ({"name": {"$regex": "("}}, r"\$regex '\('"),
        ({"name": {"$regex": 1}}, "expected text"),
        ({"name": {"$options": "i"}}, r"stands beside \$regex"),
        ({"name.x": 1}, "'name' has nothing inside"),
        ({"created_at": "soon"}, "expected a time such as"),
        ({"config.x": {1, object}}, "is not a number, text, list or dictionary"),
        ({1: 2}, "key 1 is int"),
        ([("a", 1)], "is list, expected a dictionary"),
    ],
    ids=str,
)
def test_what_is_not_understood_is_named(filters: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_filters(filters)
    assert "\n" not in str(caught.value)


def test_filter_without_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["$not"] = endless
    with pytest.raises(UsageError, match="nested without end"):
        parse_filters(endless)


def test_names_with_dots_are_found_longest_first() -> None:
    assert list(Key("config", ("a", "b", "c")).paths()) == [
        ("a.b.c",),
        ("a", "b.c"),
        ("a.b", "c"),
        ("a", "b", "c"),
    ]
    long = parse_key("config." + ".".join("abcdefgh"), "test")
    assert list(long.paths()) == [("a.b.c.d.e.f.g.h",), tuple("abcdefgh")]


def test_nothing_of_a_filter_is_pasted_into_sql(duck: Any) -> None:
    for text in ("x'; DROP TABLE one; --", '"]', "a/b~c", "\x00", "x$1", "%s"):
        values = {**DOCUMENT, "config": {text: text}}
        sql = RunSql()
        where = sql.where(parse_filters({"config": {text: text}}))
        assert text not in where
        if "\x00" not in text:
            assert by_sql(duck, values, {"config": {text: text}})


# Python and SQL


SCALARS: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.sampled_from([0, 1, -1, 0.5, 1.0, -0.0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [{"_float": "nan"}, {"_float": "inf"}, {"_int": "18446744073709551616"}, {"_date": "2026-01-02"}]
    ),
    st.text(alphabet="ab.~/'\"é", max_size=3),
)
NAMES = st.sampled_from(["a", "b", "a.b", "0", "value", "x/y", "~"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.one_of(
    st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "config." + ".".join(names)),
    st.sampled_from(["tags", "group", "state", "duration"]),
)
ORDERED = st.sampled_from([0, 1, 0.5, "a", "b", True, math.nan, math.inf, -3.5])
TESTS = st.one_of(
    VALUES.filter(lambda value: not isinstance(value, dict) or not value or set(value) <= {"_float", "_int"}),
    st.builds(lambda o, v: {o: v}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED),
    st.builds(lambda o, v: {o: v}, st.sampled_from(["$eq", "$ne"]), VALUES),
    st.builds(lambda o, v: {o: v}, st.sampled_from(["$in", "$nin", "$all"]), st.lists(VALUES, max_size=3)),
    st.builds(lambda v: {"$exists": v}, st.booleans()),
    st.builds(lambda v: {"$regex": v}, st.sampled_from(["a", "^b", "a.b", "b$", "[~/]"])),
    st.builds(lambda o, v: {"$elemMatch": {o: v}}, st.sampled_from(["$gt", "$eq", "$ne"]), ORDERED),
    st.builds(lambda k, v: {"$elemMatch": {k: v}}, NAMES, SCALARS.filter(lambda v: not isinstance(v, dict))),
)
FIELDS = st.dictionaries(
    KEYS, TESTS | st.builds(lambda t: {"$not": {"$eq": t}}, VALUES), min_size=1, max_size=2
)
FILTERS = st.recursive(
    FIELDS,
    lambda inner: (
        st.builds(
            lambda o, parts: {o: parts},
            st.sampled_from(["$and", "$or", "$nor"]),
            st.lists(inner, min_size=1, max_size=2),
        )
        | st.builds(lambda part: {"$not": part}, inner)
    ),
    max_leaves=3,
)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(
    config=st.dictionaries(NAMES, VALUES, max_size=4),
    tags=st.lists(st.sampled_from("ab"), max_size=2),
    filters=FILTERS,
)
def test_python_and_sql_say_the_same(
    duck: Any, config: dict[str, Any], tags: list[str], filters: dict[str, Any]
) -> None:
    values = {**DOCUMENT, "config": config, "tags": tags, "group": tags[0] if tags else None}
    assert by_sql(duck, values, filters) is holds(parse_filters(filters), values)


# Orders


def in_order(values: list[Any], order: str) -> list[Any]:
    keys = parse_order(order)
    items = list(enumerate(values))
    found = ordered(items, keys, lambda item: (rank(item[1]),), lambda item: ("", f"{item[0]:03}"))
    return [value for _, value in found]


def test_missing_values_come_last_either_way() -> None:
    nan = {"_float": "nan"}
    values = [None, 2, "b", nan, True, 1.5, "a", [1], {"_float": "-inf"}]
    assert in_order(values, "config.x") == [{"_float": "-inf"}, 1.5, 2, "a", "b", True, [1], nan, None]
    assert in_order(values, "-config.x") == [2, 1.5, {"_float": "-inf"}, "b", "a", True, [1], nan, None]


@pytest.mark.parametrize(
    "order, message",
    [
        ("-lr", "order: unknown key 'lr'"),
        ("-", "a key is empty"),
        ("state,,name", "a key is empty"),
        (3, "expected text"),
        ("-tags.x", "'tags' has nothing inside"),
    ],
)
def test_order_that_is_not_understood_is_named(order: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_order(order)


# The log, folded in Python and by the catalog


EVENTS = st.lists(
    st.one_of(
        st.builds(
            lambda w, c, n: {
                "op": "run.start",
                "writer": w,
                "name": n,
                "config": c,
                "tags": ["t"],
                "capture": {"a": 1},
            },
            st.sampled_from(["w1", "w2", None]),
            st.dictionaries(st.sampled_from("abc"), st.integers(0, 5), max_size=3),
            st.sampled_from(["n", None]),
        ),
        st.builds(lambda w: {"op": "run.join", "writer": w}, st.sampled_from(["w1", "w2", "w3"])),
        st.builds(
            lambda c, t: {"op": "run.update", "config": c, "tags": t, "notes": "x"},
            st.dictionaries(st.sampled_from("abc"), st.integers(0, 5), max_size=3),
            st.lists(st.sampled_from("xy"), max_size=2),
        ),
        st.builds(
            lambda w, s, m: {
                "op": "run.finish",
                "writer": w,
                "state": s,
                "exit_code": 3,
                "summary": m,
                "error": "e",
            },
            st.sampled_from(["w1", "w2", "w3", None]),
            st.sampled_from(["finished", "failed", "crashed"]),
            st.dictionaries(st.sampled_from("abc"), st.floats(0, 1), max_size=2),
        ),
        st.just({"op": "run.files", "files": {"digest": "d", "packs": ["p"]}}),
        st.sampled_from([{"op": "run.delete"}, *[{"op": "run.update", "group": "g"}] * 6]),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(runs=st.lists(EVENTS, min_size=1, max_size=5))
def test_fold_in_python_says_what_the_catalog_says(runs: list[list[dict[str, Any]]]) -> None:
    from lineart.lineage.catalog import Catalog
    from lineart.lineage.facts import TABLES, Facts
    from lineart.tracking.run_records import COLUMNS, WITH_FILES, record_of_row

    transactions = []
    longest = max(map(len, runs))
    for step in range(longest):  # interleaved
        ops = [{**events[step], "run": f"r{i}"} for i, events in enumerate(runs) if step < len(events)]
        transactions.append(scenario.transaction(step, *ops))
    fold = RunFold(scenario.HOME)
    fold.add(transactions)
    catalog = Catalog.__new__(Catalog)
    facts = Facts()
    facts.add(str(scenario.HOME), transactions)
    import duckdb

    from lineart.lineage.schema import VIEWS, base_tables

    connection = duckdb.connect()
    catalog._connection = connection
    connection.execute(base_tables())
    cells = list(facts.columns["run_events"].values())
    places = ", ".join(f"unnest(?::{kind}[])" for kind in TABLES["run_events"].values())
    connection.execute(f"INSERT INTO run_events SELECT {places}", cells)
    connection.execute(VIEWS)
    rows = {row[1]: record_of_row(row) for row in catalog.rows(f"SELECT {COLUMNS} FROM {WITH_FILES}")}
    connection.close()
    folded = {record.id: record for record in fold.records()}
    for record in [*rows.values(), *folded.values()]:
        record.heartbeat_at = None  # of a running run the catalog does not know it
    assert folded == rows


def test_short_and_long_logs_give_the_same_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    space = scenario.workspace()
    history = scenario.History(space.store)
    for number in range(30):
        run = f"r{number:02}"
        history.run(
            run, config={"lr": number % 7 / 10, "deep": {"x": [number]}}, tags=["even"] * (1 - number % 2)
        )
        if number % 5:
            score = {"acc": number % 11 / 10} if number % 3 else {"acc": {"_float": "nan"}}
            history.finish(run, "finished" if number % 4 else "failed", **score)
    reader = RunReader(space)
    monkeypatch.setattr("lineart.tracking.run_query._LEAST_PAGE", 1)
    for filters, order in (
        ({}, "-created_at"),
        ({"config.lr": {"$gte": 0.3}}, "-summary_metrics.acc,config.lr"),
        ({"tags": "even", "state": {"$ne": "failed"}}, "+summary.acc"),
        ({"config.deep.x": {"$gt": 20}}, "state,-config.lr"),
        ({"duration": {"$gte": 0}}, "name"),
    ):
        node, keys = parse_filters(filters), parse_order(order)
        short = reader.find_in_log(scenario.HOME, node, keys)
        long = reader.find_in_catalog(scenario.HOME, node, keys, 4)
        found = [short.record(at) for at in range(len(short))]
        assert len(found) > 3
        assert [long.record(at).id for at in range(len(long))] == [record.id for record in found]
        assert [long.record(at) for at in range(len(long))] == found


def test_log_is_read_on_from_where_it_was() -> None:
    space = scenario.workspace()
    history = scenario.History(space.store)
    log = RunLog(space.store, scenario.HOME)
    history.run("a")
    assert [document(record)["state"] for record in log.refresh().records()] == ["running"]
    history.finish("a")
    history.run("b")
    assert [record.state for record in log.refresh().records()] == ["finished", "running"]
