"""What a handle says and does beyond files: names, times, life time, entries, paths, options."""

from __future__ import annotations

import datetime
import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest

import lineart
import scenario
from lineart.storage.errors import ArtifactNotLoggedError, NotFoundError, UsageError
from lineart.tracking.artifact_reading import reference_options

NEEDS_A_VERSION = [
    "entity",
    "project",
    "url",
    "updated_at",
    "history_step",
    "source_name",
    "source_qualified_name",
    "source_artifact",
    "linked_artifacts",
]


def fresh(name: str = "data") -> lineart.Artifact:
    return lineart.Api().artifact(name)


@pytest.mark.parametrize("name", NEEDS_A_VERSION)
def test_draft_refuses_what_needs_a_version(name: str) -> None:
    with pytest.raises(ArtifactNotLoggedError):
        getattr(scenario.draft("data", {"f": "1"}), name)


def test_names_of_a_version_that_is_no_link() -> None:
    made = scenario.logged("data", {"f": "1"})
    assert (made.entity, made.project, made.is_draft(), made.is_link) == (
        "default",
        "uncategorized",
        False,
        False,
    )
    assert made.url == "art://default/uncategorized/data:v0"
    assert (made.source_name, made.source_collection, made.source_version) == ("data:v0", "data", "v0")
    assert (made.source_entity, made.source_project) == ("default", "uncategorized")
    assert made.source_artifact.qualified_name == made.qualified_name
    assert (made.linked_artifacts, made.history_step, made.logged_by()) == ([], None, None)
    assert scenario.draft("data", {}).is_draft()


def test_time_of_the_last_change() -> None:
    made = scenario.logged("data", {"f": "1"})
    assert made.updated_at == made.created_at
    made.description = "new"
    made.save()
    assert fresh().updated_at == made.updated_at > made.created_at
    rows = lineart.Api().sql("SELECT updated_at > created_at FROM versions").fetchall()
    assert rows == [(True,)]


# Life time


def test_life_time_is_kept_changed_and_taken_back() -> None:
    draft = scenario.draft("data", {"f": "1"})
    draft.ttl = datetime.timedelta(days=2)
    draft.save()
    assert (fresh().ttl, fresh().ttl_s) == (datetime.timedelta(days=2), 172_800)
    handle = fresh()
    handle.ttl = datetime.timedelta(hours=1, microseconds=1)
    handle.save()
    assert fresh().ttl_s == 3601
    handle.ttl = None
    handle.save()
    assert fresh().ttl is None
    assert lineart.Api().sql("SELECT ttl_s FROM versions").fetchall() == [(None,)]
    handle.ttl = datetime.timedelta(seconds=5)
    handle.save()
    assert lineart.Api().sql("SELECT ttl_s FROM versions").fetchall() == [(5,)]


@pytest.mark.parametrize("value", [0, 5, "1d", datetime.timedelta(0), datetime.timedelta(days=-1)])
def test_life_time_that_is_none_is_refused(value: Any) -> None:
    draft = scenario.draft("data", {"f": "1"})
    with pytest.raises(UsageError, match=r"ttl .* of artifact data: expected a datetime\.timedelta"):
        draft.ttl = value


# Entries and paths


def test_entry_can_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = scenario.logged("data", {"d/f": "123", "g": "4"})
    entry = made.get_path("d/f")
    assert (entry.path, entry.size, entry.ref, entry) == ("d/f", 3, None, made.get_entry("d/f"))
    path = entry.download()
    assert (path, Path(path).read_text()) == (os.path.join("artifacts/data-v0", "d/f"), "123")
    assert Path(entry.download(tmp_path / "out")).read_text() == "123"
    assert scenario.read_tree(tmp_path / "out") == {"d/f": "123"}
    with pytest.raises(UsageError, match="is a file and no reference"):
        entry.ref_target()


def test_entry_of_a_reference_names_its_target(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    draft = lineart.Artifact("data", "dataset")
    draft.add_reference(f"file://{tmp_path}/f")
    draft.save()
    entry = draft.get_entry("f")
    assert entry.ref == entry.ref_target() == f"file://{tmp_path}/f"


def test_file_is_text_and_a_context_manager(tmp_path: Path) -> None:
    import pandas as pd

    made = scenario.logged("data", {"train.csv": "a\n1\n"})
    path = made.file("train.csv", root=tmp_path)
    assert isinstance(path, str)
    assert json.dumps(path) == f'"{tmp_path}/train.csv"'
    assert pd.read_csv(path)["a"].tolist() == [1]
    with made.file(root=tmp_path) as inside:
        assert pd.read_csv(inside)["a"].tolist() == [1]
        assert os.path.getsize(inside) == 4


@pytest.mark.parametrize("mode", ["a", "r", "w+", "q"])
def test_mode_that_makes_no_new_file_is_refused(mode: Any) -> None:
    draft = lineart.Artifact("data", "dataset")
    with pytest.raises(UsageError, match=f"mode '{mode[0]}"), draft.new_file("f", mode):
        pass
    assert draft.files() == []


def test_modes_of_reading() -> None:
    made = scenario.logged("data", {"f": "ä\nb"})
    with made.open("f", "r") as text, made.open("f") as raw:
        assert (text.read(), raw.read()) == ("ä\nb", "ä\nb".encode())
    with made.open("f", "r", encoding="latin-1") as text:
        assert text.readline() == "Ã¤\n"
    with pytest.raises(UsageError, match="mode 'w'"):
        made.open("f", "w")  # type: ignore[arg-type]


def test_storage_options_go_to_references_of_the_stores_scheme_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reference_options() == {}
    (tmp_path / "lineart.toml").write_text(
        'store = "s3://bucket/team"\n[storage_options]\nendpoint_url = "http://here"\n'
    )
    monkeypatch.delenv("LINEART_STORE")
    assert reference_options() == {"s3": {"endpoint_url": "http://here"}}
    (tmp_path / "lineart.toml").write_text(
        'store = "s3://bucket/team"\n[storage_options]\nregion = "eu-west-1"\ntimeout = 5\n'
    )
    assert reference_options() == {"s3": {"client_kwargs": {"region_name": "eu-west-1"}}}


def test_folder_of_a_draft_goes_with_it() -> None:
    draft = scenario.draft("data", {"f": "1"})
    folder = draft._scratch()
    assert folder.is_dir()
    del draft
    gc.collect()
    assert not folder.exists()


def test_entry_that_is_missing_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'train\.csv'"):
        scenario.logged("data", {"train.csv": "1"}).get_path("trian.csv")
