"""What changed in a table."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest

from lineart.lineage.data_summary import compare_tables, reader_of


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


def test_parquet_and_packed_text_are_read(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        for name, rows in (("a", 10), ("b", 12)):
            connection.execute(f"COPY (SELECT range AS n FROM range({rows})) TO '{tmp_path}/{name}.parquet'")
    found = compare_tables("t.parquet", tmp_path / "a.parquet", tmp_path / "b.parquet")
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
