"""One byte changed, the end cut off, or all of it gone, in each kind of value of a real store.

What is promised: `art verify --all` finds it, no read ever gives wrong data for it, and `--repair-from` puts it back.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import builders
import collected_store
import lineart
from lineart.artifacts.collecting import Collector
from lineart.artifacts.names import ProjectName
from lineart.artifacts.project import Project
from lineart.cli.main import main
from lineart.lineage import catalog as catalogs
from lineart.storage.errors import Error
from lineart.storage.store import Store
from lineart.tracking import Api, Workspace, find_settings
from lineart.tracking.metrics import history as histories
from lineart.tracking.run_log import read_run

SMALL = {f"small/{number}.txt": builders.prose(900, number) for number in range(5)}
LARGE = builders.noise(5_000_000, 7)
STEPS = 9000
KEPT = {"3": builders.noise(50_000, 3), "new": b"new"}


def write_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small and large files, references, a link, runs with files and histories, 1,000 commits, two collections."""
    files = folder / "files"
    for name, content in SMALL.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(content)
    (files / "large.bin").write_bytes(LARGE)
    (folder / "elsewhere.csv").write_text("1,2\n")
    with lineart.init(project="digits", id="long", config={"depth": 3}) as run:
        data = lineart.Artifact("data", "dataset")
        data.add_dir(files)
        data.add_reference((folder / "elsewhere.csv").as_uri(), name="elsewhere.csv")
        logged = run.log_artifact(data)
        run.link_artifact(logged, "linked")
        run.save(str(files / "small/0.txt"), base_path=str(files))
        for step in range(STEPS):
            run.log({"loss": 1 / (step + 1), "epoch": step // 100})
    with lineart.init(project="digits", id="short") as run:
        run.use_artifact("data:latest")
        run.log({"loss": 0.5})
    store = Store.open(str(folder / "store"), cache=folder / "cache")
    project = Project(store, ProjectName("default", "digits"))
    for number in range(1000):
        op = {"op": "run.update", "run": "short", "notes": f"{number}"}
        project.commit(lambda state, op=op: [op])
    collect_twice(folder)
    monkeypatch.setattr(catalogs, "CHECKPOINT_TAIL", 100)
    Api().sql("select count(*) from runs").fetchall()
    store.close()


def collect_twice(folder: Path) -> None:
    """One collection that is done (packs, a run, and a pack of which something was copied), one that waits."""
    workspace = Workspace.open(find_settings(project="digits"))
    collected_store.log(workspace, folder, "sparse", {f"{n}": builders.noise(50_000, n) for n in range(9)})
    collected_store.log(workspace, folder, "sparse", KEPT)
    with lineart.init(project="digits", id="gone") as run:
        run.log({"loss": 1.0})
        run.save(str(folder / "elsewhere.csv"), base_path=str(folder))
    Api().run("default/digits/gone").delete()
    collected_store.delete(workspace, "sparse:v0")
    (done,) = Collector(workspace.store).collect(grace_s=0)
    assert done.copied_bytes
    assert done.runs
    collected_store.log(workspace, folder, "doomed", {"a": builders.noise(60_000, 77)})
    collected_store.delete(workspace, "doomed:v0")
    in_two_days = Collector(workspace.store, now_s=lambda: time.time() + 2 * collected_store.DAY_S)
    (waiting,) = in_two_days.collect(grace_s=9 * collected_store.DAY_S)
    assert waiting.state == "planned"
    workspace.store.close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in builders.environment(folder).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        write_store(folder, patch)
    return folder


@pytest.fixture
def store(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, on a machine that has never seen it; what the references point to stays where it was."""
    shutil.copytree(pristine / "store", tmp_path / "store")
    for name, value in builders.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    monkeypatch.setattr(histories, "ROLLUP_FROM", 1000)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def object_at(store: Path, path: str, *, piece: int | None = None) -> tuple[Path, int, int]:
    """Pack, offset and length of a file's object (or one of its pieces) or, for "", of the manifest."""
    opened = Store.open(str(store), cache=store.parent / "looking")
    try:
        version = Api().artifact("default/digits/data:v0")._logged()
        digest = (
            bytes.fromhex(version.entry(path).digest or "") if path else bytes.fromhex(version.state.digest)
        )
        at = opened.objects.locate([digest], version.packs)[digest]
        if piece is not None:
            digest = opened.objects.chunks(digest, at)[piece][0]
            at = opened.objects.locate([digest], version.packs)[digest]
        return store / "packs" / at.pack.hex()[:2] / f"{at.pack.hex()}.pack", at.offset, at.stored_bytes
    finally:
        opened.close()


def whole(pattern: str) -> Callable[[Path], tuple[Path, int, int]]:
    def find(store: Path) -> tuple[Path, int, int]:
        path = sorted(store.glob(pattern))[0]
        return path, 0, path.stat().st_size

    return find


def newest_entry(store: Path) -> tuple[Path, int, int]:
    path = sorted(store.glob("projects/*/digits/log/*/*.json"))[-1]
    return path, 0, path.stat().st_size


def run_file(store: Path) -> tuple[Path, int, int]:
    """The pack of the manifest of what a run has left."""
    project = Project(
        Store.open(str(store), cache=store.parent / "looking"), ProjectName("default", "digits")
    )
    for entry in project.log.read_after(lineart.storage.Position()):  # type: ignore[attr-defined]
        for op in entry.transaction.ops:
            if op["op"] == "run.finish" and op.get("files") and op["run"] == "long":
                name = op["files"]["meta_packs"][0]
                path = store / "packs" / name[:2] / f"{name}.pack"
                return path, 8, path.stat().st_size - 8  # of its beginning no reader asks
    raise AssertionError("the run has left no files")


def copied_pack(store: Path) -> tuple[Path, int, int]:
    """One that has taken the place of a pack that was compacted."""
    opened = Store.open(str(store), cache=store.parent / "looking")
    version = Workspace(opened, ProjectName("default", "digits")).version("sparse:v1")
    digest = bytes.fromhex(version.entry("3").digest or "")
    at = opened.objects.locate([digest], version.packs)[digest]
    assert at.pack not in set(version.packs)
    opened.close()
    return store / "packs" / at.pack.hex()[:2] / f"{at.pack.hex()}.pack", at.offset, at.stored_bytes


def open_plan(store: Path) -> tuple[Path, int, int]:
    (path,) = (
        path
        for path in store.glob("gc/plans/*.json")
        if path.name.count(".") == 1 and not path.with_suffix(".final.json").exists()
    )
    return path, 0, path.stat().st_size


RUN = "projects/default/digits/runs"
KINDS: Mapping[str, Callable[[Path], tuple[Path, int, int]]] = {
    "small file": lambda store: object_at(store, "small/3.txt"),
    "chunk of a large file": lambda store: object_at(store, "large.bin", piece=2),
    "chunk list": lambda store: object_at(store, "large.bin"),
    "manifest": lambda store: object_at(store, ""),
    "files of a run": run_file,
    "part": whole(f"{RUN}/long/history/000000.json"),
    "Parquet of a part": whole(f"{RUN}/long/history/*[0-9a-f].parquet"),
    "rollup of a part": whole(f"{RUN}/long/history/*.rollup.parquet"),
    "segment of a journal": whole(f"{RUN}/short/segments/*/*.zst"),
    "claim of a run": whole(f"{RUN}/short/run.json"),
    "checkpoint": whole("projects/default/digits/checkpoints/*/state.json.zst"),
    "catalog marker": whole("projects/default/digits/checkpoints/*/catalog.json"),
    "catalog table": whole("projects/default/digits/checkpoints/*/catalog/run_events.parquet"),
    "sealed segment": whole("projects/default/digits/log/000000.jsonl.zst"),
    "entry": whole("projects/default/digits/log/000000/000000000003.json"),
    "newest entry": newest_entry,
    "settings": whole("lineart.json"),
    "entry of the store's log": whole("store/log/000000/000000000001.json"),
    "copied pack": copied_pack,
    "open plan": open_plan,
    "final list": whole("gc/plans/*.final.json"),
    "done": whole("gc/plans/*.done.json"),
}
ADVISORY = {"checkpoint", "catalog marker", "catalog table", "sealed segment", "done"}
# Readers do without them: a run's claim keeps others from its id; a log without its newest entry is an older log; of
# a plan without its final list everything is kept out of what is committed.
HARMLESS_WHEN_GONE = {"claim of a run", "newest entry", "final list"}


def flip(path: Path, start: int, length: int) -> None:
    builders.flip(path, start + length // 2, bit=3)


def flip_first(path: Path, start: int, length: int) -> None:
    builders.flip(path, start, bit=0)


def flip_last(path: Path, start: int, length: int) -> None:
    builders.flip(path, start + length - 1, bit=5)


def cut(path: Path, start: int, length: int) -> None:
    os.truncate(path, max(0, path.stat().st_size - 7))


def remove(path: Path, start: int, length: int) -> None:
    path.unlink()


def verify(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    called = ["verify", "--all", "--json", *map(str, arguments)]
    result = CliRunner().invoke(main, called)
    assert result.stdout, (result.exit_code, result.stderr)
    return result.exit_code, json.loads(result.stdout[result.stdout.index("{") :])


def reads(folder: Path) -> Mapping[str, Callable[[], Any]]:
    """Everything that a user may ask for."""

    def files() -> dict[str, bytes | str | None]:
        target = folder / f"out-{len(list(folder.glob('out-*')))}"
        try:
            Api().artifact("default/digits/data:v0").download(target)
        except Error:
            for name, content in builders.files_below(target).items():
                assert content is None or content == expected_files().get(name), name
            raise
        return builders.files_below(target)

    def opened(name: str) -> bytes:
        with Api().artifact("default/digits/data:latest").open(name) as stream:
            return stream.read()

    def store() -> Store:
        return Store.open(str(folder / "store"), cache=folder / "cache")

    def claim() -> str | None:
        record = read_run(Project(store(), ProjectName("default", "digits")), "short")
        assert record is not None
        return record.notes

    def history() -> list[Any]:
        return list(Api().run("default/digits/long").scan_history(keys=["loss"]))

    return {
        "download": files,
        "small": lambda: opened("small/3.txt"),
        "large": lambda: opened("large.bin"),
        "link": lambda: Api().artifact("default/digits/linked:v0").digest,
        "history": history,
        "chart": lambda: [
            row["_step"] for row in Api().run("default/digits/long").history(samples=100, pandas=False)
        ],
        "rollup": lambda: Api().run("default/digits/long").open_history().buckets("loss", 100).last,
        "claim": claim,
        "short": lambda: list(Api().run("default/digits/short").scan_history()),
        "run files": lambda: sorted(file.name for file in Api().run("default/digits/long").files()),
        "state": lambda: [a.digest for a in Api().artifacts("dataset", "default/digits/data")],
        "notes": lambda: Api().run("default/digits/short").notes,
        "compacted": lambda: collected_store.content(
            Workspace(store(), ProjectName("default", "digits")), "sparse:v1"
        ),
        "store's log": lambda: sorted(store().facts.state().projects),
        "plans": lambda: Project(store(), ProjectName("default", "digits")).check_plans(),
        "sql": lambda: Api().sql("select run, notes, state, summary from runs order by run").fetchall(),
    }


def expected_files() -> dict[str, bytes | None]:
    return {"small": None, **SMALL, "large.bin": LARGE, "elsewhere.csv": b"1,2\n"}


def answers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, read in reads(folder).items():
        try:
            found[name] = read() or "nothing"
        except Error as error:
            builders.one_line(error)
            found[name] = None
    return found


@pytest.fixture(scope="module")
def truth(pristine: Path) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in builders.environment(pristine).items():
            patch.setenv(name, value)
        patch.setattr(histories, "ROLLUP_FROM", 1000)
        yield answers(pristine)


def test_whole_store_is_called_damaged(store: Path, truth: dict[str, Any]) -> None:
    status, found = verify()
    assert (status, found["problems"], found["unknown"], found["undecided"]) == (0, [], [], [])
    assert found["transactions"] > 1000
    assert answers(store.parent) == truth
    assert None not in truth.values()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, flip_first, flip_last, cut, remove])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_not_found_or_read_or_stays(
    pristine: Path, store: Path, truth: dict[str, Any], kind: str, damage: Callable[[Path, int, int], None]
) -> None:
    path, start, length = KINDS[kind](store)
    shutil.rmtree(store.parent / "cache", ignore_errors=True)
    if kind == "newest entry" and damage is remove:
        assert verify()[0] == 0  # nothing else speaks of it; a machine that has verified the store remembers
    before = path.read_bytes()
    damage(path, start, length)
    now = answers(store.parent)
    for name, answer in now.items():
        assert answer is None or answer == truth[name] or is_older(kind, damage), f"{name} gives wrong data"
    if not (kind in ADVISORY or (damage is remove and kind in HARMLESS_WHEN_GONE)):
        assert None in now.values(), "no read has noticed"
    if damage is remove and kind in ADVISORY:
        return  # it may be removed at any time
    if kind != "settings":
        status, found = verify()
        assert status == 1
        key = path.relative_to(store).as_posix()
        place = key.partition("segments/")[0].partition("history/")[0].rpartition("/")[0]
        assert found["problems"]
        assert [p["key"] for p in found["problems"] if not p["key"].startswith(place)] == []
    status, found = verify("--repair-from", pristine / "store")
    assert (status, [p for p in found["problems"] if not p["repaired"]]) == (0, [])
    if kind not in ADVISORY | {"claim of a run"}:
        assert path.read_bytes() == before
    assert answers(store.parent) == truth
    assert verify()[0] == 0


def is_older(kind: str, damage: object) -> bool:
    """Without its newest entry a log says what it said before: that is no wrong data, but an older state."""
    return kind == "newest entry" and damage is remove
