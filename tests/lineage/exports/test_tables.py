"""Columns of the tables among files, found in a few of their bytes."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import duckdb
import pytest

from lineart.artifacts.manifest import Entry
from lineart.lineage.exports import Table, read_tables


def describe(files: Mapping[str, bytes]) -> dict[str, Table]:
    entries = [Entry(path, "file", "0" * 64, len(data)) for path, data in files.items()]

    def opened(path: str) -> IO[bytes]:
        return io.BytesIO(files[path])

    return {table.path: table for table in read_tables(entries, opened)}


def columns(table: Table) -> list[tuple[str, str]]:
    return [(column.name, column.type) for column in table.columns]


def parquet(tmp_path: Path, rows: int = 1000) -> bytes:
    path = tmp_path / "made.parquet"
    query = (
        "SELECT i::INTEGER AS id, i / 3 AS ratio, 'n' || i AS name, DATE '2026-01-01' AS day, [i] AS list,"
        f" {{'x': i}} AS nested FROM range({rows}) t(i)"
    )
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def test_every_format_tells_its_columns(tmp_path: Path) -> None:
    found = describe(
        {
            "a.csv": b"id,when,text\n1,2026-01-02,x\n",
            "b.tsv": b"x\ty\n1.5\ttrue\n",
            "c.jsonl": b'{"k": 1, "v": {"w": "s"}}\n',
            "D.CSV.GZ": gzip.compress(b"p,q\n1,two\n"),
            "e.parquet": parquet(tmp_path),
            "f.txt": b"id,when\n1,2\n",
        }
    )
    assert columns(found["a.csv"]) == [("id", "BIGINT"), ("when", "DATE"), ("text", "VARCHAR")]
    assert columns(found["b.tsv"]) == [("x", "DOUBLE"), ("y", "BOOLEAN")]
    assert [name for name, _ in columns(found["c.jsonl"])] == ["k", "v"]
    assert columns(found["D.CSV.GZ"]) == [("p", "BIGINT"), ("q", "VARCHAR")]
    assert dict(columns(found["e.parquet"]))["list"] == "BIGINT[]"
    assert "f.txt" not in found


def test_header_is_told_from_a_row() -> None:
    found = describe({"with.csv": b"id,label\n0,zero\n1,one\n", "without.csv": b"0,zero\n1,one\n"})
    assert (found["with.csv"].has_names, found["without.csv"].has_names) == (True, False)


@pytest.mark.parametrize("data", [b"", b"not parquet", b"PAR1", b"\x00" * 100])
def test_file_that_is_not_what_its_ending_says_is_no_table(data: bytes, tmp_path: Path) -> None:
    assert set(describe({"bad.parquet": data, "good.parquet": parquet(tmp_path)})) == {"good.parquet"}


def test_names_that_look_like_patterns_are_names() -> None:
    found = describe({"*.csv": b"star\n1\n", "a[1].csv": b"bracket\n1\n", "it's.csv": b"quote\n1\n"})
    assert [columns(table)[0][0] for table in found.values()] == ["star", "bracket", "quote"]


def test_only_the_footer_of_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    noise = random.Random(1)
    texts = [noise.randbytes(64).hex() for _ in range(20_000)]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT unnest(?::VARCHAR[]) AS text", [texts])
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    data = path.read_bytes()
    read: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            read.append(len(found))
            return found

    (table,) = read_tables([Entry("t.parquet", "file", "0" * 64, len(data))], lambda path: Counted(data))
    assert columns(table) == [("text", "VARCHAR")]
    assert sum(read) < len(data) / 10
