"""`art verify` and `art du`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineart.tracking import Workspace, find_settings


def pack_with(name: str, path: str) -> tuple[Path, int]:
    """The pack that holds (the first piece of) a file, and an offset in the middle of it."""
    workspace = Workspace.open(find_settings())
    version = workspace.version(name)
    digest = bytes.fromhex(version.entry(path).digest or "")
    location = version.store.objects.locate([digest], version.packs)[digest]
    if location.codec == 2:
        piece = version.store.objects.chunks(digest, location)[0][0]
        location = version.store.objects.locate([piece], version.packs)[piece]
    file = workspace.store.backend.local_path(f"packs/{location.pack.hex()[:2]}/{location.pack.hex()}.pack")
    assert file is not None
    return file, location.offset + location.stored_bytes // 2


def damage(name: str, path: str) -> None:
    """Flip a bit of a file in the store."""
    file, offset = pack_with(name, path)
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)


def test_whole_store_is_verified(art, digits: Path) -> None:
    assert art("verify", "images:v0").out.startswith("ok: 1 version, 5 objects")
    assert art("verify").out.startswith("ok: 5 versions, 13 objects, files of 5 runs, 3.0 MB read, ")
    found = art("verify", "--all", "--json").json
    assert found["ok"] is True
    assert found["versions"] == 6
    assert found["problems"] == []


@pytest.mark.on_disk
@pytest.mark.parametrize("name, path", [("images:v0", "train/2.png"), ("classifier:v2", "model.bin")])
def test_damage_is_found_and_names_the_files(name: str, path: str, art, digits: Path) -> None:
    damage(name, path)
    for arguments in ([], ["--all"], [name]):
        answer = art("verify", *arguments, status=1)
        problems = [line for line in answer.lines if line.startswith("damaged")]
        assert len(problems) == 1
        assert f"digits/{name}" in problems[0]
        assert path in problems[0]
        assert answer.lines[-1].startswith("1 problem: ")
    found = art("verify", "--json", status=1).json
    assert found["ok"] is False
    affected = {(file["name"], file["path"]) for file in found["problems"][0]["affects"]}
    assert (f"default/digits/{name}", path) in affected
    if name == "images:v0":  # the next version has the same file
        assert ("default/digits/images:v1", path) in affected


@pytest.mark.on_disk
def test_missing_pack_is_found(art, digits: Path) -> None:
    pack_with("images:v0", "train/2.png")[0].unlink()
    assert "missing" in art("verify", "images:v0", status=1).out


@pytest.mark.on_disk
def test_damaged_log_is_found(art, digits: Path) -> None:
    transactions = sorted((digits / "projects/default/digits/log").rglob("*.json"))
    transactions[1].chmod(0o644)
    transactions[1].write_bytes(transactions[1].read_bytes().replace(b'"user":"', b'"user":"x'))
    answer = art("verify", status=1)
    assert "transaction" in answer.out + answer.err


@pytest.mark.on_disk
def test_packs_that_nobody_needs_are_read_with_all(art, digits: Path) -> None:
    damage("images:v0", "labels.csv")
    art("rm", "images:v0", "--yes")
    art("rm", "classifier:v0", "--yes")
    answer = art("verify", "--all", status=1)
    assert "what is damaged is in no version" in answer.out


def test_local_files_are_compared(art, digits: Path, tmp_path: Path) -> None:
    art("get", "images:v0", "--root", "out")
    assert art("verify", "images:v0", "--root", "out").out == "ok: out compared\n"
    (tmp_path / "out/labels.csv").write_text("other")
    (tmp_path / "out/train/0.png").unlink()
    answer = art("verify", "images:v0", "--root", "out", status=1)
    assert "labels.csv' differs" in answer.lines[0]
    assert "0.png' of images:v0 is missing" in answer.lines[1]


def test_verify_mistakes(art, digits: Path) -> None:
    assert "choose one" in art("verify", "images", "--all", status=2).err
    assert "needs the NAME" in art("verify", "--root", ".", status=2).err
    assert "has no v8" in art("verify", "images:v8", status=1).err


def test_usage_adds_up(art, digits: Path) -> None:
    found = art("du", "-A", "--json").json
    packs = sum(path.stat().st_size for path in digits.rglob("*.pack"))
    assert found["store_bytes"] == found["stored_bytes"] + found["run_files_bytes"] == packs
    assert found["run_files_bytes"] > 0
    assert found["unneeded_bytes"] == 0
    by_name = {row["name"]: row for row in found["artifacts"]}
    assert by_name["default/digits/classifier"]["logical_bytes"] == 3_010_000
    images = by_name["default/digits/images"]
    assert images["stored_bytes"] < images["logical_bytes"]  # what the two versions share is stored once
    assert [row[0] for row in art("du").rows[:2]] == ["classifier", "images"]


def test_usage_shows_what_deletion_leaves(art, digits: Path) -> None:
    art("rm", "classifier:v0", "--yes")
    assert art("du", "--json").json["unneeded_bytes"] > 0
    assert "no longer needed" in art("du").out


@pytest.mark.on_disk
def test_usage_without_a_store(art) -> None:
    assert "there is no store" in art("du", status=1).err


def test_place_that_is_no_copy_is_refused_before_anything_is_read(art, digits: Path) -> None:
    told = art("verify", "--repair-from", "/nowhere/at/all", status=2).err
    assert told == "art: --repair-from /nowhere/at/all: expected a store, or a folder with files\n"
