"""The catalog of a real scenario, however it was loaded."""

from __future__ import annotations

import datetime
import json
import re
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

import builders
import lineart
import scenario
from lineart.lineage import Catalog
from lineart.lineage.schema import PUBLIC
from lineart.storage.errors import Error, UsageError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "catalog.md"
TIMES = {"created_at", "finished_at", "moved_at", "time"}


def pictures(found: Catalog) -> dict[str, list[str]]:
    """Every row of every public table, in an order of its own."""
    return {table: sorted(map(repr, found.rows(f"SELECT * FROM {table}"))) for table in PUBLIC}


# What a real scenario looks like


@pytest.fixture
def real() -> Catalog:
    """A dataset, two models, a revert, labels, a deletion, a use across projects, a failed run."""
    with lineart.init(
        project="team/digits", id="prep", name="prepare", job_type="prep", tags=["a", "b"]
    ) as run:
        data = scenario.draft("data", {"f": "1"}, metadata={"rows": 1}, description="first")
        data.add_reference("s3://b/k", "far", checksum=False)
        run.log_artifact(data, tags=["raw"])
    with lineart.init(
        project="team/digits", id="train", config={"lr": 0.1, "opt": {"name": "sgd"}, 'q"': "x"}
    ) as run:
        run.use_artifact("data:latest", role="train")
        run.log({"acc": 0.9, "loss": float("nan")})
        run.log_artifact(
            scenario.draft("model", {"w": "1"}, "model"), aliases=["best"], derived_from=["data:v0"]
        )
        run.log_artifact(scenario.draft("model", {"w": "2"}, "model"))
        run.log_artifact(scenario.draft("model", {"w": "1"}, "model"))  # back to v0
    labels = lineart.Api().artifact("team/digits/model:v0")
    labels.description, labels.tags, labels.metadata = "good", ["ok", "small"], {"k": [1]}
    labels.save()
    lineart.Api().artifact("team/digits/model:v1").delete()
    with lineart.init(project="team/letters", id="eval", group="g", notes="n") as run:
        run.use_artifact("team/digits/model:best")
    with pytest.raises(KeyError), lineart.init(project="team/letters", id="bad"):
        raise KeyError("gone")
    return scenario.workspace().catalog()


def rows(found: Catalog, table: str, *columns: str, order: str = "ALL") -> list[tuple[Any, ...]]:
    return found.rows(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")


DIGITS = "team/digits"


def test_collections_are_listed_with_their_type(real: Catalog) -> None:
    assert rows(real, "collections", "project", "collection", "type", "description") == [
        (DIGITS, "data", "dataset", ""),
        (DIGITS, "model", "model", ""),
    ]


def test_versions_say_what_is_true_now_and_deleted_ones_stay(real: Catalog) -> None:
    found = {row["version_id"]: row for row in real.records("SELECT * FROM versions")}
    assert set(found) == {f"{DIGITS}/data:v0", f"{DIGITS}/model:v0", f"{DIGITS}/model:v1"}
    data, model, gone = (found[f"{DIGITS}/{name}"] for name in ("data:v0", "model:v0", "model:v1"))
    assert (data["size_bytes"], data["file_count"], data["reference_count"]) == (1, 1, 1)
    assert (json.loads(data["metadata"]), data["description"], data["tags"]) == (
        {"rows": 1},
        "first",
        ["raw"],
    )
    assert (data["run_id"], data["type"], data["version"]) == (f"{DIGITS}/prep", "dataset", 0)
    assert (json.loads(model["metadata"]), model["description"]) == ({"k": [1]}, "good")
    assert (model["tags"], model["aliases"]) == (["ok", "small"], ["latest", "best"])
    assert (gone["deleted"], gone["aliases"], model["deleted"]) == (True, [], False)
    assert len(gone["digest"]) == 64  # a tombstone says what it was


def test_aliases_and_their_history(real: Catalog) -> None:
    assert rows(real, "aliases", "collection", "alias", "version", "version_id") == [
        ("data", "latest", 0, f"{DIGITS}/data:v0"),
        ("model", "best", 0, f"{DIGITS}/model:v0"),
        ("model", "latest", 0, f"{DIGITS}/model:v0"),
    ]
    moves = real.rows(
        "SELECT from_version, to_version FROM alias_history"
        " WHERE collection = 'model' AND alias = 'latest' ORDER BY position"
    )
    assert moves == [(None, 0), (0, 1), (1, 0)]


def test_tags_are_those_of_live_versions(real: Catalog) -> None:
    assert rows(real, "tags", "version_id", "collection", "version", "tag") == [
        (f"{DIGITS}/data:v0", "data", 0, "raw"),
        (f"{DIGITS}/model:v0", "model", 0, "ok"),
        (f"{DIGITS}/model:v0", "model", 0, "small"),
    ]


def test_runs_say_how_they_began_and_ended(real: Catalog) -> None:
    found = {row["run"]: row for row in real.records("SELECT * FROM runs")}
    assert set(found) == {"prep", "train", "eval", "bad"}
    prep, train, judge, bad = (found[run] for run in ("prep", "train", "eval", "bad"))
    assert (prep["run_id"], prep["name"], prep["job_type"]) == (f"{DIGITS}/prep", "prepare", "prep")
    assert (prep["tags"], prep["state"], prep["exit_code"]) == (["a", "b"], "finished", 0)
    assert (judge["project"], judge["group_name"], judge["notes"]) == ("team/letters", "g", "n")
    assert (bad["state"], bad["exit_code"]) == ("failed", 1)
    assert "KeyError: 'gone'" in bad["error"]
    assert json.loads(train["config"])["opt"] == {"name": "sgd"}
    assert "command" in json.loads(train["capture"])
    assert prep["created_at"] <= prep["finished_at"]
    assert prep["error"] is None


def test_config_has_every_key_whatever_it_is_called(real: Catalog) -> None:
    assert rows(real, "config", "run_id", "key", "value", "number") == [
        (f"{DIGITS}/train", "lr", "0.1", 0.1),
        (f"{DIGITS}/train", "opt", '{"name":"sgd"}', None),
        (f"{DIGITS}/train", 'q"', "x", None),
    ]


def test_summary_has_numbers_and_not_a_number(real: Catalog) -> None:
    (acc, loss) = rows(real, "summary", "run_id", "key", "value", "number")
    assert acc == (f"{DIGITS}/train", "acc", "0.9", 0.9)
    assert loss[1:3] == ("loss", "nan")
    assert loss[3] != loss[3]


def test_edges_say_used_and_produced_once(real: Catalog) -> None:
    assert rows(
        real,
        "edges",
        "run_id",
        "kind",
        "version_id",
        "role",
        "is_new",
        "exact",
        order="starts_with(run_id, 'team/l'), position",
    ) == [
        (f"{DIGITS}/prep", "produced", f"{DIGITS}/data:v0", None, True, False),
        (f"{DIGITS}/train", "used", f"{DIGITS}/data:v0", "train", None, None),
        (f"{DIGITS}/train", "produced", f"{DIGITS}/model:v0", None, True, True),
        (f"{DIGITS}/train", "produced", f"{DIGITS}/model:v1", None, True, False),
        (f"{DIGITS}/train", "produced", f"{DIGITS}/model:v0", None, False, False),
        ("team/letters/eval", "used", f"{DIGITS}/model:v0", None, None, None),
    ]


def test_derivations_and_references_are_listed(real: Catalog) -> None:
    assert rows(real, "derivations", "run_id", "output_id", "input_id") == [
        (f"{DIGITS}/train", f"{DIGITS}/model:v0", f"{DIGITS}/data:v0")
    ]
    assert rows(real, "version_references", "version_id", "path", "uri") == [
        (f"{DIGITS}/data:v0", "far", "s3://b/k")
    ]


def test_every_documented_column_is_there(real: Catalog) -> None:
    documented: dict[str, set[str]] = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        names, _, columns = line.strip("| ").partition("|")
        columns = re.sub(r"\([^)]*\)", "", columns.rpartition("|")[2])
        for table in re.findall(r"`(\w+)`", names):
            if table in PUBLIC:
                documented[table] = set(re.findall(r"\w+", columns))
    assert set(documented) == set(PUBLIC)
    for table, columns in documented.items():
        actual = {row[0] for row in real.rows(f"DESCRIBE {table}")}
        assert columns <= actual, f"{table}: documented and missing: {columns - actual}"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_times_are_of_utc_wherever_this_machine_is(
    real: Catalog, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        found = Catalog(real.store, real.projects)
        recent = "created_at BETWEEN now() - INTERVAL 5 MINUTE AND now() + INTERVAL 5 MINUTE"
        assert found.rows(f"SELECT count(*) FROM runs WHERE {recent}") == [(4,)]
    time.tzset()
    moment = found.rows("SELECT max(created_at) FROM runs")[0][0]
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs(moment - now) < datetime.timedelta(minutes=5)


def test_no_column_needs_a_time_zone_package_to_be_read(real: Catalog) -> None:
    for table in PUBLIC:
        for name, kind, *_ in real.rows(f"DESCRIBE {table}"):
            if name in TIMES:
                assert kind == "TIMESTAMP", f"{table}.{name}"
        assert isinstance(real.sql(f"SELECT * FROM {table}").fetchall(), list)


# Asking


@pytest.mark.parametrize(
    "query",
    [
        "selec 1",
        "select * from no_such_table",
        "select no_such_column from runs",
        "select 1; select (",
        "select cast(name as int) from runs",
        "select error('while it runs\nin two lines') from runs",
    ],
)
def test_sql_that_fails_is_a_usage_error_in_one_line(real: Catalog, query: str) -> None:
    with pytest.raises(UsageError, match=r"^sql: ") as caught:
        real.sql(query)
    assert "\n" not in str(caught.value)


def test_sql_takes_parameters(real: Catalog) -> None:
    assert real.sql("SELECT run FROM runs WHERE run = ?", ["prep"]).fetchall() == [("prep",)]
    assert real.sql("SELECT run FROM runs WHERE run = $r", {"r": "prep"}).fetchall() == [("prep",)]


@pytest.mark.parametrize("query", ["", ";", "CREATE TABLE mine (i INT)", "SET threads = 1"])
def test_statement_without_a_result_is_no_error(real: Catalog, query: str) -> None:
    assert isinstance(real.sql(query).fetchall(), list)


def test_answer_is_a_data_frame_too(real: Catalog) -> None:
    frame = real.sql("SELECT key, number FROM summary WHERE key = 'acc'").df()
    assert frame.to_dict("records") == [{"key": "acc", "number": 0.9}]


# Exporting


def test_export_to_a_database_answers_alike(real: Catalog, tmp_path: Path) -> None:
    real.export(tmp_path / "copy.duckdb")
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as copy:
        for table, expected in pictures(real).items():
            assert sorted(map(repr, copy.execute(f"SELECT * FROM {table}").fetchall())) == expected


def test_export_to_parquet_can_be_read_by_any_tool(real: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "it's a copy"
    real.export(folder)
    expected = pictures(real)
    assert {path.name for path in folder.iterdir()} == {f"{table}.parquet" for table in expected}
    with duckdb.connect() as plain:
        for table, rows in expected.items():
            path = str(folder / f"{table}.parquet").replace("'", "''")
            assert sorted(map(repr, plain.execute(f"SELECT * FROM '{path}'").fetchall())) == rows


def test_export_that_breaks_off_leaves_nothing(real: Catalog, tmp_path: Path) -> None:
    real.sql("CREATE OR REPLACE VIEW alerts AS SELECT error('broken off') AS text")
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("copy.duckdb", "copy"):
        with pytest.raises(UsageError, match="broken off"):
            real.export(folder / name)
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["there.duckdb", "there"])
def test_export_over_something_is_refused(real: Catalog, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="exists; choose a new"):
        real.export(tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["no/such/copy.duckdb", "no/such/folder"])
def test_export_to_nowhere_is_an_error_of_ours(real: Catalog, tmp_path: Path, name: str) -> None:
    with pytest.raises(Error, match=r"choose another place") as caught:
        real.export(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_catalog_of_no_project_has_all_tables_and_no_rows(tmp_path: Path) -> None:
    found = Catalog(builders.memory_store(tmp_path), [])
    assert pictures(found) == {table: [] for table in PUBLIC}
