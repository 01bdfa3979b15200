"""What changed in a table."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest

from lineart.lineage import data_summary
from lineart.lineage.data_summary import TableChange, compare_tables, reader_of


def test_rows_columns_and_values_are_compared(tmp_path: Path) -> None:
    before, after = tmp_path / "a.csv", tmp_path / "b.csv"
    before.write_text("id,price,name,old\n1,1.5,a,x\n2,2.5,b,x\n3,,c,x\n")
    after.write_text(
        "id,price,name,new\n1,1.5,a,2026-01-01\n2,9.5,b,2026-01-02\n4,4.5,d,2026-01-03\n5,1,e,2026-01-04\n"
    )
    found = compare_tables("t.csv", before, after)
    assert found.rows == (3, 4)
    assert (found.columns_added, found.columns_removed) == ({"new": "DATE"}, {"old": "VARCHAR"})
    assert (found.rows_added, found.rows_removed) == (3, 2)
    old, new = found.columns["price"]
    assert (old.nulls, old.min, old.max, old.mean) == (1, "1.5", "2.5", 2.0)
    assert (new.nulls, new.min, new.max, new.mean) == (0, "1.0", "9.5", 4.125)
    assert (old.distinct, new.distinct) == (2, 4)


def test_column_that_changed_its_type_is_told(tmp_path: Path) -> None:
    for name, rows in (("a", [{"x": 1}, {"x": 2}]), ("b", [{"x": 1}, {"x": "two"}])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compare_tables("t.jsonl", tmp_path / "a", tmp_path / "b")
    assert list(found.columns_retyped) == ["x"]
    assert (found.rows_added, found.rows_removed) == (1, 1)


def parquet(folder: Path, before: str, after: str) -> TableChange:
    """What is compared of the answers of two queries."""
    with duckdb.connect() as connection:
        for name, query in (("a", before), ("b", after)):
            connection.execute(f"COPY ({query}) TO '{folder}/{name}.parquet'")
    return compare_tables("t.parquet", folder / "a.parquet", folder / "b.parquet")


def test_table_with_embeddings_is_compared(tmp_path: Path) -> None:
    rows = "SELECT range AS id, [range, 2.5]::FLOAT[] AS l, [range, 1]::DOUBLE[2] AS a, [now()] AS t FROM range({})"
    found = parquet(tmp_path, rows.format(3), rows.format(4).replace("now()", "now() + INTERVAL 1 DAY"))
    assert (found.rows, found.columns["l"][1].type, found.columns["id"][1].max) == ((3, 4), "FLOAT[]", "3")
    assert (found.columns["l"][1].distinct, found.columns["l"][1].mean) == (4, None)


def test_values_of_which_there_is_no_mean_cost_nothing(tmp_path: Path) -> None:
    values = "(1, 'inf'::DOUBLE, 'nan'::FLOAT), (2, '-inf', 1), (3, 1e308, 1), (4, 1e308, NULL)"
    rows = f"SELECT * FROM (VALUES {values}) t(x, y, z)"
    found = parquet(tmp_path, rows, f"{rows} WHERE x <> 4")
    assert sorted(found.columns) == ["x", "z"]
    assert [facts.mean for facts in found.columns["z"]] == [None, None]
    assert found.columns["z"][0].max == "nan"
    assert parquet(tmp_path, rows, rows).columns == {}  # what is no number is the same as itself


def test_trouble_with_a_column_costs_its_values_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = data_summary._asked

    def fails(connection, table, types, names, **more):  # type: ignore[no-untyped-def]
        if "s" in names and not more:
            raise duckdb.OutOfRangeException("too far")
        return plain(connection, table, types, names, **more)

    monkeypatch.setattr(data_summary, "_asked", fails)
    found = parquet(tmp_path, "SELECT 1 AS n, 'a' AS s", "SELECT 2 AS n, 'b' AS s UNION ALL SELECT 3, NULL")
    assert (found.columns["n"][1].max, found.columns["s"][1].max, found.columns["s"][1].nulls) == (
        "3",
        None,
        1,
    )
    assert found.left_out == ("minimum, maximum and mean of column s (too far)",)


@pytest.mark.parametrize(
    "before, after, changed",
    [
        ("INTEGER", "DOUBLE", 0),
        ("BIGINT", "DECIMAL(9, 2)", 0),
        ("DOUBLE", "FLOAT", 0),
        ("TINYINT", "UBIGINT", 0),
    ],
)
def test_rows_are_the_same_where_only_the_type_of_number_changed(
    tmp_path: Path, before: str, after: str, changed: int
) -> None:
    query = "SELECT (range % 100)::{} AS n FROM range(1000)"
    found = parquet(tmp_path, query.format(before), query.format(after))
    assert list(found.columns_retyped) == ["n"]
    assert (found.rows_added, found.rows_removed) == (changed, changed)
    other = parquet(tmp_path, query.format(before), query.replace("% 100", "% 10").format(after))
    assert other.rows_added == 900


def test_wide_text_is_compared_as_narrow_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side, name in (("a", "it's a"), ("b", "b")):
        (tmp_path / name).write_text(f"x,y,z\n1,2,{side}\n3,4,z\n")
    narrow = compare_tables("t.csv", tmp_path / "it's a", tmp_path / "b")
    monkeypatch.setattr(data_summary, "_AT_ONCE", 1)
    assert compare_tables("t.csv", tmp_path / "it's a", tmp_path / "b") == narrow
    assert (list(narrow.columns), narrow.rows_added) == (["z"], 1)


def test_columns_beyond_the_limit_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_summary, "_AT_ONCE", 2)
    monkeypatch.setattr(data_summary, "COMPARED_COLUMNS", 5)
    for side in "ab":
        head = ",".join(f"c{number}" for number in range(7))
        (tmp_path / side).write_text(f"{head}\n" + ",".join([str(ord(side))] * 7) + "\n")
    found = compare_tables("t.csv", tmp_path / "a", tmp_path / "b")
    assert sorted(found.columns) == [f"c{number}" for number in range(5)]
    assert found.left_out == ("the values of 2 of 7 columns, all but the first 5",)
    assert [facts.min for facts in found.columns["c4"]] == ["97", "98"]


def test_type_that_only_the_first_rows_have_is_not_taken(tmp_path: Path) -> None:
    for side in "ab":
        (tmp_path / side).write_text("n\n" + "1\n" * 30_000 + f"{side}\n")
    found = compare_tables("t.csv", tmp_path / "a", tmp_path / "b")
    assert (found.columns["n"][1].type, found.rows_added) == ("VARCHAR", 1)


def test_parquet_and_packed_text_are_read(tmp_path: Path) -> None:
    found = parquet(tmp_path, "SELECT range AS n FROM range(10)", "SELECT range AS n FROM range(12)")
    assert (found.rows, found.rows_added, found.rows_removed) == ((10, 12), 2, 0)
    for name in ("a", "b"):
        with gzip.open(tmp_path / f"{name}.tsv.gz", "wt") as file:
            file.write(f"x\ty\n1\t{name}\n")
    found = compare_tables("t.tsv.gz", tmp_path / "a.tsv.gz", tmp_path / "b.tsv.gz")
    assert sorted(found.columns) == ["y"]


def test_name_of_a_column_is_no_sql(tmp_path: Path) -> None:
    name = 'a"); DROP TABLE x; --'
    for file in ("a", "b"):
        (tmp_path / file).write_text(json.dumps({name: file}) + "\n")
    assert list(compare_tables("t.jsonl", tmp_path / "a", tmp_path / "b").columns) == [name]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0" * 100)
    with pytest.raises(duckdb.Error):
        compare_tables("t.parquet", tmp_path / "a", tmp_path / "a")
    assert reader_of("weights.bin") is None
