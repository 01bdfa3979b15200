"""Stores that released clients have written stay readable, and writable, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import builders
import lineart
from data.make_format_1 import large
from lineart.cli.main import main
from lineart.storage.digest import digest_of
from lineart.tracking import Workspace, find_settings

DATA = Path(__file__).parent / "data"
TABLE = {"large.csv": large(), "ü/small.txt": b"small", "empty": b""}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "frozen"
    shutil.copytree(DATA / "store-format-1", copy)
    monkeypatch.setenv("LINEART_STORE", str(copy))
    monkeypatch.setenv("LINEART_PROJECT", "frozen")
    monkeypatch.setenv("LINEART_CACHE", str(tmp_path / "cache"))
    return copy


def test_every_byte_of_format_1_is_verified_and_read_back(store: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(find_settings())
    for name in ("table:v0", "model:v1", "model:v2"):
        assert list(workspace.version(name).verify_stored()) == []
    root = Path(lineart.Api().artifact("table:v0").download(tmp_path / "out", path_prefix="ü"))
    assert (root / "ü" / "small.txt").read_bytes() == b"small"
    table = lineart.Api().artifact("table:latest")
    for name, content in TABLE.items():
        assert table.open(name).read() == content
        assert table.get_entry(name).digest == digest_of(content).hex()
    assert table.get_entry("elsewhere.csv").target == "https://example.invalid/rows.csv"


def test_store_of_format_1_is_called_damaged(store: Path) -> None:
    """It has no seals, no digests of blocks, and checkpoints of an older form."""
    answer = CliRunner().invoke(main, ["verify", "--all", "--json"])
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["problems"], found["undecided"]) == (0, [], [])
    assert found["transactions"] == len(list((store / "projects").rglob("log/*/*.json")))
    assert found["versions"] == 3
    table = next((store / "packs").rglob("*.pack"))
    builders.flip(table, table.stat().st_size // 2)
    assert CliRunner().invoke(main, ["verify", "--all"]).exit_code == 1


def test_history_of_format_1_says_what_happened(store: Path) -> None:
    api = lineart.Api()
    assert api.artifact("model:production").version == "v1"
    assert api.artifact("model:latest").version == "v2"
    assert api.artifact("table:v0").tags == ["raw"]
    assert not api.artifact_exists("model:v0")
    deleted = api.sql("select version_id from versions where deleted").fetchall()
    assert deleted == [("default/frozen/model:v0",)]
    assert [made.name for made in api.artifact("model:v2").upstream()] == ["table:v0"]
    accuracy = api.sql("select number from summary where key = 'accuracy'").fetchall()
    assert accuracy == [(0.5,)]


def test_this_client_goes_on_where_format_1_ended(store: Path) -> None:
    with lineart.init() as run:
        model = lineart.Artifact("model", "model")
        with model.new_file("weights.txt") as file:
            file.write("four")
        run.log_artifact(model)
    assert model.version == "v3"
    again = lineart.Artifact("table", "dataset", incremental=True)
    again.save()
    assert again.version == "v0", "the manifest of a newer client has the same bytes"
