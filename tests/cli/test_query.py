from __future__ import annotations

from pathlib import Path

import pytest


def test_pipe_gets_tabs_under_a_header(art, digits: Path) -> None:
    answer = art("sql", "SELECT collection, count(*) AS n FROM versions GROUP BY ALL ORDER BY ALL")
    assert answer.lines == ["collection\tn", "classifier\t3", "images\t2", "scores\t1"]


def test_json_has_typed_values(art, digits: Path) -> None:
    query = "SELECT version_id, metadata, tags, created_at, deleted, run_id FROM versions WHERE collection = 'images'"
    first = art("sql", query + " ORDER BY version", "--json").json[0]
    assert first["metadata"] == {"n": 5}
    assert first["tags"] == ["raw"]
    assert first["deleted"] is False
    assert first["created_at"].endswith("Z")


def test_csv_quotes(art, digits: Path) -> None:
    assert art("sql", "SELECT 'a,b' AS x, NULL AS y, true AS z", "--csv").out == 'x,y,z\n"a,b",,true\n'


@pytest.mark.parametrize(
    "value, shown",
    [
        ("[1, 2]", "[1, 2]"),
        ("{'a': 1}", '{"a": 1}'),
        ("TIMESTAMPTZ '2026-01-02 03:04:05+01'", "2026-01-02T02:04:05Z"),
        ("DATE '2026-01-02'", "2026-01-02"),
        ("'a' || chr(10) || 'b'", r"a\nb"),
        ("'ab'::BLOB", "6162"),
        ("1.50::DECIMAL(4,2)", "1.50"),
        ("[TIMESTAMPTZ '2026-01-02 03:04:05+01'] IS NULL", "false"),
    ],
)
def test_values_in_a_pipe(value: str, shown: str, art, digits: Path) -> None:
    assert art("sql", f"SELECT {value} AS x").lines[1] == shown


def test_every_view_can_be_read(art, digits: Path) -> None:
    views = "collections versions aliases alias_history tags runs config summary edges derivations version_references"
    for view in views.split():
        assert "\t" in art("sql", f"SELECT * FROM {view}").lines[0]


@pytest.mark.parametrize(
    "query, message",
    [
        ("selct 1", "syntax error"),
        ("SELECT * FROM nope", "nope"),
        ("SELECT CAST('a' AS INTEGER)", "Could not convert"),
    ],
)
def test_error_of_the_query_is_one_line(query: str, message: str, art, digits: Path) -> None:
    answer = art("sql", query, status=2)
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_one_form_at_a_time(art, digits: Path) -> None:
    assert "choose one" in art("sql", "SELECT 1", "--json", "--csv", status=2).err
