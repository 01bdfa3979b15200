"""The history of a path, of a folder, and of the parts of a file."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

import scenario
from lineart.artifacts import Version
from lineart.lineage.blame import chunk_origins, folder_origins, logged_by, path_history, row_group_origins
from lineart.storage.errors import NotFoundError, UsageError
from lineart.tracking import log_draft


def logged(*contents: Mapping[str, str | bytes | Path]) -> list[Version]:
    """A version each of the artifact `data`, oldest first."""
    workspace = scenario.workspace()
    for files in contents:
        draft = scenario.draft("data", {})
        for path, content in files.items():
            if isinstance(content, Path):
                draft.add_file(content, path)
            else:
                with draft.new_file(path, "wb") as file:
                    file.write(content.encode() if isinstance(content, str) else content)
        log_draft(workspace, draft)
    return workspace.versions("data")


def spans(versions: list[Version], path: str) -> list[tuple[int, int, str | None]]:
    """First and last version of each stretch, and its path then."""
    return [
        (found.first.state.number, found.last.state.number, found.entry.path if found.entry else None)
        for found in path_history(versions, path)
    ]


def test_present_content_is_of_the_version_that_brought_it() -> None:
    versions = logged(
        {"a": "1", "b": "0"},
        {"a": "1", "b": "1"},
        {"a": "2", "b": "1"},
        {"a": "2", "b": "2"},
        {"a": "1", "b": "2"},
    )
    assert spans(versions, "a") == [(4, 4, "a"), (2, 3, "a"), (0, 1, "a")]
    assert spans(versions[:4], "b") == [(3, 3, "b"), (1, 2, "b"), (0, 0, "b")]


def test_file_that_was_away_shows_a_gap_and_nothing_before_it_came() -> None:
    versions = logged({"x": "0"}, {"x": "0", "a": "1"}, {"x": "1"}, {"x": "1", "a": "2"})
    assert spans(versions, "a") == [(3, 3, "a"), (2, 2, None), (1, 1, "a")]


def test_moved_file_is_followed_to_its_old_path() -> None:
    versions = logged({"old": "same"}, {"old": "same", "x": "1"}, {"new": "same", "x": "1"})
    assert spans(versions, "new") == [(0, 2, "old")]
    assert [(entry.path, origin.state.number) for entry, origin in folder_origins(versions, None)] == [
        ("new", 0),
        ("x", 1),
    ]


def test_path_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="labels"):
        path_history(logged({"labels.csv": "1"}), "label.csv")


def test_folder_names_the_version_of_each_file() -> None:
    many = {f"d/{number:05}": str(number) for number in range(3000)}
    versions = logged(
        many, {**many, "d/00007": "x"}, {**many, "d/00007": "x", "e": "1"}, {**many, "d/00007": "y", "e": "1"}
    )
    found = {entry.path: origin.state.number for entry, origin in folder_origins(versions, None)}
    assert len(found) == 3001
    assert (found["d/00007"], found["e"], found["d/00006"]) == (3, 2, 0)
    below = folder_origins(versions[:2], "d")
    assert {origin.state.number for _, origin in below} == {0, 1}


def test_one_path_of_a_large_manifest_is_found_without_reading_it_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = {f"d/{number:05}": str(number) for number in range(3000)}
    versions = logged(many, {**many, "d/00007": "x"})

    def refuse(self: Version) -> None:
        raise AssertionError("the manifest was read as a whole")

    monkeypatch.setattr(Version, "manifest", property(refuse))
    assert spans(versions, "d/00007") == [(1, 1, "d/00007"), (0, 0, "d/00007")]


def test_chunks_of_a_large_file_are_of_the_versions_that_brought_them() -> None:
    source = random.Random(3)
    first, more = source.randbytes(6_000_000), source.randbytes(3_000_000)
    history = path_history(logged({"f": first}, {"f": first + more}), "f")
    parts = chunk_origins(history)
    assert sum(part.size_bytes for part in parts) == 9_000_000
    numbers = [part.origin.state.number for part in parts]
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1}
    assert sum(part.size_bytes for part in parts if part.origin.state.number == 0) > 3_500_000


def parquet(path: Path, *groups: range) -> Path:
    """A Parquet file with a row group of 2048 rows for each range."""
    with duckdb.connect() as connection:
        rows = " UNION ALL ".join(f"SELECT range AS n FROM range({r.start}, {r.stop})" for r in groups)
        connection.execute("SET preserve_insertion_order = true; SET threads = 1")
        connection.execute(
            f"COPY (SELECT n, hash(n) AS h FROM ({rows})) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
        )
    return path


def test_row_groups_are_of_the_versions_that_appended_them(tmp_path: Path) -> None:
    files = [
        parquet(tmp_path / "0.parquet", range(4096)),
        parquet(tmp_path / "1.parquet", range(6144)),
        parquet(
            tmp_path / "2.parquet", range(2048), range(9000, 11048), range(4096, 6144), range(6144, 7000)
        ),
    ]
    history = path_history(logged(*({"t.parquet": file} for file in files)), "t.parquet")
    found = [(part.rows, part.origin.state.number) for part in row_group_origins(history)]
    assert found == [(2048, 0), (2048, 2), (2048, 1), (856, 2)]


def test_file_that_is_not_parquet_has_no_row_groups() -> None:
    with pytest.raises(UsageError, match="no Parquet file"):
        row_group_origins(path_history(logged({"a": "PAR1" * 20}), "a"))


def test_who_logged_it_is_known_by_version() -> None:
    versions = logged({"a": "1"})
    found = logged_by(scenario.workspace().catalog(), versions)["team/digits/data:v0"]
    assert found.run is None
    assert found.user
    assert found.time == versions[0].state.created_at
