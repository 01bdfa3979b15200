"""`art verify --resume`, `--repair`, `--repair-from`: with real kills, a folder of files, another store, a bucket."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import builders
import lineart
import s3server
from builders import HANG_S, SPAWN
from lineart.artifacts.names import ProjectName
from lineart.artifacts.verification import Depth
from lineart.cli.main import main
from lineart.storage.gc import Final, Plan, read_final
from lineart.storage.pack import PackLimits
from lineart.storage.store import Store, open_backend
from lineart.tracking import Workspace, find_settings
from lineart.tracking.store_verification import Scope, verify_store

SMALL = {f"small/{number}.txt": builders.prose(4000, number) for number in range(40)}
LARGE = builders.noise(5_000_000, 7)
LIMITS = PackLimits(target_bytes=300_000, max_bytes=8_000_000, max_objects=8192)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    for name, content in {**SMALL, "large.bin": LARGE}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def store(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with several packs of data, and a run."""
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    monkeypatch.setenv("LINEART_CACHE", str(tmp_path / "cache"))
    builders.local_store(tmp_path, limits=LIMITS).close()
    with lineart.init(id="r1") as run:
        run.log({"loss": 0.5})
        data = lineart.Artifact("data", "dataset")
        data.add_dir(files)
        run.log_artifact(data)
    return tmp_path / "store"


def art(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout


def verify(*arguments: object) -> tuple[int, dict[str, Any]]:
    status, said = art("verify", "--all", "--json", *arguments)
    return status, json.loads(said[said.index("{") :])


def new_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINEART_CACHE", str(tmp_path / "another-cache"))


def pack_of(name: str) -> tuple[Path, int]:
    """The pack of a file (of its first piece), and where in it."""
    workspace = Workspace.open(find_settings())
    version = workspace.version("data:v0")
    objects, digest = version.store.objects, bytes.fromhex(version.entry(name).digest or "")
    at = objects.locate([digest], version.packs)[digest]
    if at.codec == 2:
        digest = objects.chunks(digest, at)[0][0]
        at = objects.locate([digest], version.packs)[digest]
    path = workspace.store.backend.local_path(f"packs/{at.pack.hex()[:2]}/{at.pack.hex()}.pack")
    assert path is not None
    return path, at.offset + at.stored_bytes // 2


# Going on


def verify_and_die(url: str, cache: str, after_bytes: int) -> None:
    left = after_bytes

    def progress(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    opened = Store.open(url, cache=Path(cache))
    verify_store(opened, Scope(everything=True), Depth.BYTES, progress=progress)


def test_resumed_verification_reads_all_again(store: Path, tmp_path: Path) -> None:
    process = SPAWN.Process(
        target=verify_and_die, args=(str(store), str(tmp_path / "cache"), len(LARGE) * 3 // 4)
    )
    process.start()
    process.join(HANG_S)
    assert process.exitcode == -signal.SIGKILL
    packs = len(builders.pack_paths(store))
    status, found = verify("--resume")
    assert (status, found["problems"]) == (0, [])
    assert 0 < found["skipped"] < packs
    assert found["packs"] + found["skipped"] == packs
    status, found = verify("--resume")  # that one has come to its end: there is nothing to go on with
    assert (status, found["skipped"], found["packs"]) == (0, 0, packs)


def test_resumed_verification_forgets_damage(store: Path, tmp_path: Path) -> None:
    """What was found damaged before the kill is looked at again; so is what has changed in size since."""
    for path in builders.pack_paths(store):
        builders.flip(path, 12)
    process = SPAWN.Process(
        target=verify_and_die, args=(str(store), str(tmp_path / "cache"), len(LARGE) // 2)
    )
    process.start()
    process.join(HANG_S)
    assert process.exitcode == -signal.SIGKILL
    status, found = verify("--resume")
    assert status == 1
    assert {problem["key"] for problem in found["problems"]} == {
        path.relative_to(store).as_posix() for path in builders.pack_paths(store)
    }


# Repairing from the store itself


def test_repair_without_a_copy_promises_too_much(store: Path) -> None:
    path, place = pack_of("small/3.txt")
    builders.flip(path, place)
    damaged = path.read_bytes()
    status, found = verify("--repair")
    assert status == 1
    (problem,) = found["problems"]
    assert not problem["repaired"]
    assert ["default/digits/data:v0", "small/3.txt"] in [[a["name"], a["path"]] for a in problem["affects"]]
    assert "--repair-from" in problem["message"]
    assert path.read_bytes() == damaged  # what is left of it may be the last there is
    status, said = art("verify", "--all", "--repair")
    assert status == 1
    assert "small/3.txt" in said


def test_object_that_lies_in_another_pack_is_not_found(store: Path, tmp_path: Path) -> None:
    """Two machines that logged the same at once: each object lies in two packs."""
    twin = tmp_path / "twin"
    shutil.copytree(store, twin)
    for path in (twin / "projects").rglob("*.json"):
        path.unlink()
    shutil.rmtree(twin / "packs")
    (tmp_path / "b.txt").write_bytes(b"another")
    other = Workspace(Store.open(str(twin), cache=tmp_path / "twin-cache"), ProjectName("default", "digits"))
    packs = builders.put_files(other.store, [tmp_path / "files/small/3.txt", tmp_path / "b.txt"])[1]
    for pack in packs.packs:
        (store / "packs" / pack[:2]).mkdir(exist_ok=True)
        shutil.copy(twin / "packs" / pack[:2] / f"{pack}.pack", store / "packs" / pack[:2])
    path, place = pack_of("small/3.txt")
    before = path.read_bytes()
    builders.flip(path, place)
    status, found = verify("--repair")
    assert (status, [p for p in found["problems"] if not p["repaired"]]) == (0, [])
    assert path.read_bytes() == before


def test_damaged_plan_without_a_copy_blocks_writers_for_ever(store: Path, tmp_path: Path) -> None:
    opened = Store.open(str(store), cache=tmp_path / "cache")
    plan = Plan("20260102T030405-00000000", "2026-01-02T03:04:05.000006Z", (), ())
    opened.backend.create(f"gc/plans/{plan.id}.json", plan.encode())
    opened.facts.condemn(plan.id)
    builders.flip(store / f"gc/plans/{plan.id}.json", 20)
    status, found = verify()
    assert (status, [problem["kind"] for problem in found["problems"]]) == (1, ["plan"])
    status, found = verify("--repair")
    assert (status, found["problems"][0]["repaired"]) == (0, "cancelled; it deletes nothing")
    final = read_final(opened.backend, plan.id)
    assert final is not None
    assert (final.packs, final.keys) == ((), ())
    assert verify()[0] == 0


def test_final_list_is_guessed(store: Path, tmp_path: Path) -> None:
    """Who has read it may delete what stands in it at any time: nobody else can know what that is."""
    opened = Store.open(str(store), cache=tmp_path / "cache")
    plan = Plan("20260102T030405-00000000", "2026-01-02T03:04:05.000006Z", (), ())
    final = Final(plan.id, packs=["ab" * 32])
    opened.backend.create(f"gc/plans/{plan.id}.json", plan.encode())
    opened.backend.create(f"gc/plans/{plan.id}.final.json", final.encode())
    shutil.copytree(store, tmp_path / "copy")
    builders.flip(store / f"gc/plans/{plan.id}.final.json", 20)
    status, found = verify("--repair")
    assert (status, found["problems"][0]["repaired"]) == (1, None)
    assert verify("--repair-from", tmp_path / "copy")[0] == 0
    assert read_final(opened.backend, plan.id) == Final(plan.id, packs=("ab" * 32,))


# Repairing from elsewhere


@pytest.mark.parametrize("name", ["small/3.txt", "large.bin"])
def test_folder_with_the_files_is_no_help(store: Path, files: Path, tmp_path: Path, name: str) -> None:
    path, place = pack_of(name)
    before = path.read_bytes()
    builders.flip(path, place)
    moved = tmp_path / "moved" / "to"
    moved.parent.mkdir()
    (files / name).rename(moved)  # its name is no matter
    status, found = verify("--repair-from", moved.parent)
    assert (status, [p["repaired"][:12] for p in found["problems"]]) == (0, ["put together"])
    assert path.read_bytes() == before


def test_file_with_other_content_is_put_in(store: Path, files: Path) -> None:
    path, place = pack_of("small/3.txt")
    builders.flip(path, place)
    damaged = path.read_bytes()
    (files / "small/3.txt").write_bytes(builders.prose(4000, 99))
    status, found = verify("--repair-from", files)
    assert (status, [p["repaired"] for p in found["problems"]]) == (1, [None])
    assert path.read_bytes() == damaged


def test_lost_pack_that_was_verified_once_cannot_be_made_from_files(store: Path, files: Path) -> None:
    assert verify()[0] == 0  # this machine knows now what lay where
    path, _ = pack_of("large.bin")
    before = path.read_bytes()
    path.unlink()
    status, found = verify("--repair-from", files)
    assert (status, [p for p in found["problems"] if not p["repaired"]]) == (0, [])
    assert path.read_bytes() == before


@pytest.fixture
def other_store(files: Path, tmp_path: Path, store: Path) -> str:
    """Another store, with the same files in packs of its own."""
    (tmp_path / "elsewhere").mkdir()
    url = str(tmp_path / "elsewhere/store")
    builders.local_store(tmp_path / "elsewhere").close()
    with lineart.init(store=url, project="mine") as run:
        again = lineart.Artifact("again", "dataset")
        again.add_dir(files)
        again.add_file(files / "small/0.txt", "twice.txt")
        run.log_artifact(again)
    return url


def test_other_store_with_the_same_files_is_no_help(
    store: Path, other_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machine(monkeypatch, tmp_path)
    for name in ("small/3.txt", "large.bin"):
        path, place = pack_of(name)
        before = path.read_bytes()
        builders.flip(path, place)
        status, found = verify("--repair-from", other_store)
        assert (status, [p for p in found["problems"] if not p["repaired"]]) == (0, [])
        assert path.read_bytes() == before


def test_log_of_another_store_is_taken(store: Path, other_store: str) -> None:
    entry = sorted((store / "projects/default/digits/log/000000").iterdir())[-1]
    builders.flip(entry, 40)
    damaged = entry.read_bytes()
    status, found = verify("--repair-from", other_store)
    assert (status, [p["kind"] for p in found["problems"]]) == (1, ["log"])
    assert entry.read_bytes() == damaged


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as running:
        yield running


@pytest.fixture
def bucket(server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    return s3server.new_bucket(server) + "/store"


def copy_all(source: str, target: str) -> None:
    """What `aws s3 sync` does."""
    here, there = open_backend(source), open_backend(target)
    for stat in list(here.list("")):
        there.write(stat.key, here.read(stat.key))


def test_copy_in_a_bucket_is_no_help(store: Path, bucket: str) -> None:
    copy_all(str(store), bucket)
    before = builders.files_below(store)
    doomed = [
        pack_of("small/3.txt")[0],
        pack_of("large.bin")[0],
        *sorted((store / "projects/default/digits/log/000000").iterdir())[1:],
        *(store / "projects/default/digits/runs/r1").rglob("*.zst"),
        store / "projects/default/digits/runs/r1/run.json",
        store / "store/log/000000/000000000000.json",
        store / "lineart.json",
    ]
    for number, path in enumerate(doomed):
        builders.flip(path, path.stat().st_size // 2, bit=number % 8)
    result = CliRunner().invoke(main, ["verify", "--all"])
    assert (result.exit_code, "lineart.json" in result.stderr) == (1, True)
    status, said = art("verify", "--all", "--repair-from", bucket)
    assert status == 0, said
    assert said.count("repaired") >= len(doomed)
    assert {k: v for k, v in builders.files_below(store).items() if ".staging" not in k} == {
        k: v for k, v in before.items() if ".staging" not in k
    }
    assert verify()[0] == 0


def test_store_in_a_bucket_is_not_repaired(
    store: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its versions have an index of their packs; what this machine has cached of it is no proof."""
    monkeypatch.setenv("LINEART_STORE", bucket)
    copy_all(str(store), bucket)
    extra = lineart.Artifact("extra", "dataset")
    for number in range(4):
        (tmp_path / f"{number}.bin").write_bytes(builders.noise(1_500_000, 50 + number))
        extra.add_file(tmp_path / f"{number}.bin")
    with lineart.init(id="r2") as run:
        run.log({"loss": 1.0})
        run.log_artifact(extra)
    extra.wait()
    shutil.rmtree(store)
    copy_all(bucket, str(store))
    there = open_backend(bucket)
    version = Workspace.open(find_settings()).version("extra:v0")
    assert version.state.index is not None
    keys = [
        *(f"packs/{pack[:2]}/{pack}.pack" for pack in (version.state.meta_packs[0], version.state.packs[0])),
        next(stat.key for stat in there.list("projects/default/digits/runs/r2/segments/")),
        "projects/default/digits/runs/r2/run.json",
        "projects/default/digits/log/000000/000000000002.json",
        "store/log/000000/000000000000.json",
    ]
    assert verify()[0] == 0
    before = {key: there.read(key) for key in keys}
    for key, data in before.items():
        middle = len(data) // 2
        there.write(key, data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :])
    status, found = verify()
    assert status == 1
    assert {problem["key"] for problem in found["problems"]} == set(keys)
    status, found = verify("--repair-from", store)
    assert (status, [p for p in found["problems"] if not p["repaired"]]) == (0, [])
    assert {key: there.read(key) for key in keys} == before


# What the command says


def test_mistakes_have_one_line(store: Path, tmp_path: Path) -> None:
    for arguments in (
        ["--repair-from", tmp_path / "nowhere"],
        ["--repair-from", store],
        ["--depth", "deep"],
        ["--since", "yesterday"],
    ):
        builders.flip(store / "store/log/000000/000000000000.json", 30)
        result = CliRunner().invoke(main, ["verify", "--all", *map(str, arguments)])
        assert result.exit_code in (1, 2)
        assert "Traceback" not in result.stderr
        assert str(arguments[1]) in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        builders.flip(store / "store/log/000000/000000000000.json", 30)


def test_store_that_does_not_answer_is_called_damaged(
    bucket: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_all(str(store), bucket)
    opened = Workspace.open(find_settings(store=bucket))
    monkeypatch.setenv("LINEART_STORE", bucket)
    monkeypatch.setattr("lineart.storage.remote.FsspecBackend.list", _refuse)
    status, found = verify()
    assert status == 2
    assert found["undecided"]
    assert (found["ok"], found["problems"]) == (False, [])
    opened.store.close()


def _refuse(*arguments: object) -> Iterator[Any]:
    from lineart.storage.errors import CommError

    raise CommError("the store does not answer")
