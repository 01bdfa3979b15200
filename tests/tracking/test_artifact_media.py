"""Tables and media in artifacts, and the files that belong to them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lineart
import scenario
from lineart.storage.errors import (
    ArtifactFinalizedError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from lineart.tracking.artifact_media import ArtifactFiles
from lineart.tracking.media import Histogram, Html, Image, Table


def picture(shade: int) -> Image:
    return Image(np.full((8, 8, 3), shade, dtype=np.uint8), caption=f"shade {shade}")


def table() -> Table:
    return Table(
        columns=["id", "picture", "score"],
        data=[[0, picture(10), 0.5], [1, picture(200), 0.25], [2, picture(10), 1.0]],
    )


def logged(draft: lineart.Artifact) -> lineart.Artifact:
    """Logged by a run, and found again as another process would."""
    with lineart.init(project="p", settings={"console": "off"}) as run:
        run.log_artifact(draft)
    return lineart.Api().artifact(f"p/{draft.collection}")


def test_table_with_pictures_comes_back() -> None:
    draft = lineart.Artifact("data", "dataset")
    entry = draft.add(table(), "predictions")
    assert entry.path in draft.files()
    found = logged(draft).get("predictions")
    assert isinstance(found, Table)
    assert found.columns == ["id", "picture", "score"]
    assert [row[0] for row in found.data] == [0, 1, 2]
    shown = found.data[1][1]
    assert isinstance(shown, Image)
    assert np.asarray(shown.image)[0, 0].tolist()[:3] == [200, 200, 200]


def test_same_picture_in_two_tables_is_one_file() -> None:
    draft = lineart.Artifact("data", "dataset")
    draft.add(table(), "a")
    before = len(draft.files())
    draft.add(table(), "b")
    assert len(draft.files()) == before + 1  # its JSON: the rows and the pictures are there already
    assert len([path for path in draft.files() if path.endswith(".png")]) == 2


@pytest.mark.parametrize("name", ["shown", "folder/shown", "dotted.name", "v1.2"])
def test_media_is_got_by_its_name_or_its_file(name: str) -> None:
    draft = lineart.Artifact("data", "dataset")
    entry = draft.add(Histogram([1, 2, 3]), name)
    found = logged(draft)
    assert isinstance(found.get(name), Histogram)
    assert isinstance(found.get(entry.path), Histogram)
    assert found.get("other") is None
    assert found.get(name[:-1]) is None


def test_draft_gives_back_what_was_added() -> None:
    draft = lineart.Artifact("data", "dataset")
    draft["page"] = Html("<p>hello</p>")
    draft["table"] = table()
    assert isinstance(draft["page"], Html)
    found = draft.get("table")
    assert isinstance(found, Table)
    assert found.data[0][0] == 0


def test_new_draft_still_has_the_media_of_its_version() -> None:
    draft = lineart.Artifact("data", "dataset")
    draft.add(table(), "table")
    second = logged(draft).new_draft()
    found = second.get("table")
    assert isinstance(found, Table)
    assert isinstance(found.data[0][1], Image)


def test_item_access_falls_back_to_files() -> None:
    made = scenario.draft("data", {"f.txt": "1", "own.json": "[]", "own.table-file.json": '{"a": 1}'})
    found = logged(made)
    assert found["f.txt"].size_bytes == 1
    assert found["own.table-file.json"].size_bytes == 8  # somebody's own file that is named so
    assert found.get("own") is None
    with pytest.raises(NotFoundError, match=r"'g\.txt' is not in data:v0"):
        found["g.txt"]
    with pytest.raises(TypeError, match="not iterable"):
        list(found)


def test_dataframe_and_figure_are_taken_as_what_they_are() -> None:
    import pandas as pd

    draft = lineart.Artifact("data", "dataset")
    draft.add(pd.DataFrame({"a": [1, 2]}), "frame")
    found = logged(draft).get("frame")
    assert isinstance(found, Table)
    assert found.get_dataframe()["a"].tolist() == [1, 2]


def test_mistakes_are_told() -> None:
    draft = lineart.Artifact("data", "dataset")
    with pytest.raises(UsageError, match=r"add: dict .* add_file\(\) and add_dir\(\)"):
        draft.add({"a": 1}, "x")
    draft.add(Histogram([1, 2, 3]), "h")
    draft.add(Histogram([1, 2, 3]), "h")  # the same again
    with pytest.raises(UsageError, match="overwrite=True"):
        draft.add(Histogram([1, 2, 4]), "h")
    draft.add(Histogram([1, 2, 4]), "h", overwrite=True)
    found = logged(draft)
    with pytest.raises(ArtifactFinalizedError):
        found.add(Histogram([1]), "more")


def test_damaged_value_is_an_error_and_not_nothing() -> None:
    draft = scenario.draft("data", {"h.histogram.json": "{"})
    with pytest.raises(IntegrityError, match="not JSON"):
        logged(draft).get("h")


def test_local_file_of_a_media_outlives_its_artifact(tmp_path: Path) -> None:
    draft = lineart.Artifact("data", "dataset")
    source = tmp_path / "page.html"
    source.write_text("<p>from a file</p>")
    draft.add(Html(str(source)), "page")
    source.unlink()  # a copy was taken
    made = logged(draft)
    path = next(path for path in made.files() if path.endswith(".html"))
    value = json.loads(made.open(next(path for path in made.files() if path.endswith(".json"))).read())
    assert (value["_type"], value["path"]) == ("html-file", path)
    local = ArtifactFiles(made).local_path(path)
    del made
    assert "from a file" in local.read_text()
