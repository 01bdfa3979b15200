"""Copying between real stores: what a store says and holds is the same in the next one, and back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import s3server
from lineart.artifacts import ProjectName
from lineart.artifacts.history import split_external
from lineart.storage.counting import CountingBackend
from lineart.storage.errors import IntegrityError, NotFoundError, UsageError
from lineart.storage.store import Store, open_backend
from lineart.tracking import Workspace, find_settings
from lineart.tracking.run_log import read_run
from lineart.tracking.transfer import Choice, copy
from transferring import contents, opened, picture, tree, write_history

ALL = Choice(everything=True)
WRITES = ("write", "write_file", "create", "delete")


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as running:
        yield running


@pytest.fixture
def bucket(server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with an empty store, which the environment has the keys to."""
    url = s3server.new_bucket(server) + "/team"
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    cache = find_settings(store=url).cache
    Store.create(url, cache=cache, entity="team", created="2026-01-02T03:04:05.000006Z").close()
    return url


@pytest.fixture
def laptop(tmp_path: Path) -> Workspace:
    """The store in use, with a history of everything."""
    write_history(tmp_path / "work")
    return opened(os.environ["LINEART_STORE"])


def small(name: str = "data", text: str = "1", **labels: Any) -> lineart.Run:
    """A run that logs one small version into the store in use."""
    with lineart.init(project="team/digits") as run:
        made = lineart.Artifact(name, "dataset")
        with made.new_file("x.txt") as file:
            file.write(text)
        run.log_artifact(made, **labels)
    return run


def counted(home: Workspace, url: str | Path) -> tuple[Workspace, CountingBackend]:
    """A store whose requests are counted."""
    backend = CountingBackend(open_backend(str(url)))
    return Workspace(Store.on(backend, cache=home.store.cache), home.project_name, home.data), backend


def writes(backend: CountingBackend) -> int:
    return sum(backend.calls[method] for method in WRITES)


def test_laptop_to_bucket_to_new_laptop_is_the_same(laptop: Workspace, bucket: str, tmp_path: Path) -> None:
    team, other = opened(bucket), opened(tmp_path / "other")
    first = copy(laptop, team, ALL)
    assert (first.versions, first.tombstones, first.runs) == (7, 1, 7)
    assert (first.renumbered, first.conflicts, first.left_out) == ({}, [], [])
    copy(team, other, ALL)
    expected = picture(laptop)
    assert picture(team) == expected
    assert picture(other) == expected
    assert contents(other, tmp_path / "theirs") == contents(laptop, tmp_path / "mine")
    for home in (team, other):
        for project in home.project_names():
            for name in home.project(project).state().collections:
                assert [e for v in home.versions(name, project) for e in v.verify_stored()] == []
    before = tree(tmp_path / "store")
    assert copy(other, laptop, ALL).transactions == 0
    assert tree(tmp_path / "store") == before


@pytest.mark.on_disk
def test_packs_and_history_are_copied_byte_for_byte(laptop: Workspace, tmp_path: Path) -> None:
    dead = laptop.version(laptop.parse("model:v1"), deleted_too=True)
    left = {f"packs/{pack.hex()[:2]}/{pack.hex()}.pack" for pack in dead.packs}
    copy(laptop, opened(tmp_path / "other"), ALL)
    mine, theirs = tree(tmp_path / "store"), tree(tmp_path / "other")
    verbatim = {key for key in mine if key.startswith("packs/") or "/history/" in key or "/segments/" in key}
    assert any(key.endswith(".rollup.parquet") for key in verbatim)
    for key in verbatim - left:
        assert theirs.get(key) == mine[key], key
    assert not left <= theirs.keys()  # of what was deleted


def test_second_push_asks_little_and_writes_nothing(laptop: Workspace, bucket: str) -> None:
    copy(laptop, opened(bucket), ALL)
    team, backend = counted(laptop, bucket)
    report = copy(laptop, team, ALL)
    assert (report.versions, report.runs, report.bytes, report.transactions) == (0, 0, 0, 0)
    assert (report.versions_present, report.runs_present) == (7, 7)
    assert writes(backend) == 0
    assert sum(backend.calls.values()) < 60


def test_push_to_a_read_only_copy_that_has_all_succeeds(laptop: Workspace, tmp_path: Path) -> None:
    copy(laptop, opened(tmp_path / "other"), ALL)
    before = tree(tmp_path / "other")
    team, backend = counted(laptop, tmp_path / "other")
    copy(laptop, team, ALL)
    assert writes(backend) == 0
    assert tree(tmp_path / "other") == before


def test_dry_run_writes_nothing_and_says_what_a_push_then_does(laptop: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "other")
    before = tree(tmp_path / "other")
    said = copy(laptop, target, ALL, dry_run=True)
    assert tree(tmp_path / "other") == before
    done = copy(laptop, target, ALL)
    for report in (said, done):
        assert (report.versions, report.runs, report.tombstones, report.transactions) == (7, 7, 1, 9)


def test_what_was_logged_since_follows(laptop: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "other")
    copy(laptop, target, ALL)
    write_history(tmp_path / "work", seed=1, runs=1, large=1000)
    report = copy(laptop, target, ALL)
    assert report.versions > 0
    assert picture(target) == picture(laptop)


@pytest.mark.on_disk
def test_copy_of_a_copied_folder_knows_its_past(laptop: Workspace, tmp_path: Path) -> None:
    """Two folders made from one by cp have the same past, though no push was ever made."""
    subprocess.run(["cp", "-r", tmp_path / "store", tmp_path / "clone"], check=True)
    small(text="new")
    report = copy(laptop, opened(tmp_path / "clone"), ALL)
    assert (report.versions, report.runs, report.renumbered) == (1, 1, {})
    assert picture(opened(tmp_path / "clone")) == picture(laptop)


# What can be chosen


@pytest.mark.parametrize(
    "choice, versions",
    [
        ({"names": ["model:v2"]}, ["team/digits/model:v2"]),
        ({"names": ["model:round-0"]}, ["team/digits/model:v0"]),
        ({"names": ["mod*"]}, ["team/digits/model:v0", "team/digits/model:v1", "team/digits/model:v2"]),
        ({"names": ["team/*/best"]}, ["team/registry/best:v0"]),
        ({"names": ["serving/answers"]}, ["team/serving/answers:v0"]),
        ({"projects": ["team/serving"]}, ["team/serving/answers:v0"]),
        ({"projects": ["s*"]}, ["team/serving/answers:v0"]),
        ({"runs": ["train-0"]}, ["team/digits/model:v0"]),
    ],
)
def test_only_what_is_chosen_comes(
    choice: dict[str, Any], versions: list[str], laptop: Workspace, tmp_path: Path
) -> None:
    target = opened(tmp_path / "other")
    copy(laptop, target, Choice(**choice))
    assert [r[0] for r in target.catalog().rows("SELECT version_id FROM versions ORDER BY 1")] == versions


def test_lineage_comes_along_through_links_and_projects(laptop: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "other")
    copy(laptop, target, Choice(names=["serving/answers"], with_lineage=True))
    catalog = target.catalog()
    assert [r[0] for r in catalog.rows("SELECT version_id FROM versions ORDER BY 1")] == [
        "team/digits/data:v0",
        "team/digits/model:v0",
        "team/registry/best:v0",
        "team/serving/answers:v0",
    ]
    name = "team/serving/answers:v0"
    before, after = picture(laptop)["lineage"][name], picture(target)["lineage"][name]
    assert [node for node, _ in before[0]] == [node for node, _ in after[0]]
    assert before[1] == after[1]
    assert contents(target, tmp_path / "files")
    copy(laptop, target, ALL)
    expected = picture(laptop)
    found = picture(target)
    for view in ("versions", "edges", "derivations", "links", "runs"):
        assert found[view] == expected[view], view


def test_run_without_its_inputs_names_them_until_they_come(laptop: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "other")
    copy(laptop, target, Choice(runs=["train-2"]))
    query = "SELECT version_id FROM edges WHERE kind = 'used'"
    ((name,),) = target.catalog().rows(query)
    assert split_external(name)[1] == "team/digits/data:v2"
    assert split_external(name)[0]
    model = lineart.Api(store=str(tmp_path / "other")).artifact("team/digits/model:v2")
    assert model.upstream() == []  # nothing that this store has
    copy(laptop, target, Choice(names=["data:v2"]))
    assert target.catalog().rows(query) == [("team/digits/data:v2",)]
    assert target.catalog().rows("SELECT DISTINCT input_id FROM derivations") == [("team/digits/data:v2",)]


def test_version_without_its_run_keeps_its_name_and_nobody_takes_it(
    laptop: Workspace, tmp_path: Path
) -> None:
    run = laptop.version("model:v2").state.run
    target = opened(tmp_path / "other")
    report = copy(laptop, target, Choice(names=["model:v2"]))
    assert (report.versions, report.runs) == (1, 0)
    assert target.version("model:latest").state.run == run
    assert read_run(target.project(), str(run)).started is False  # type: ignore[union-attr]
    with pytest.raises(lineart.UsageError, match="exists"):
        lineart.init(project="team/digits", id=run, store=str(tmp_path / "other"))
    copy(laptop, target, Choice(runs=[str(run)]))
    assert read_run(target.project(), str(run)).name == "train-2"  # type: ignore[union-attr]


def test_another_project_may_be_the_target(laptop: Workspace, bucket: str, tmp_path: Path) -> None:
    team = opened(bucket, "vision/numbers")
    copy(laptop, team, Choice(projects=["team/digits"]), to=ProjectName("vision", "numbers"))
    mine, theirs = picture(laptop), picture(team)
    for view in ("runs", "edges", "derivations"):
        expected = [row for row in mine[view] if "serving" not in row]
        assert [row.replace("vision/numbers", "team/digits") for row in theirs[view]] == expected, view
    for run in (key for key in mine if key.startswith("history team/digits")):
        assert theirs[run.replace("team/digits", "vision/numbers")] == mine[run]
    # And back under its first name.
    back = opened(tmp_path / "back")
    copy(team, back, ALL, to=ProjectName("team", "digits"))
    assert picture(back)["versions"] == [row for row in mine["versions"] if "team/digits" in row]
    assert copy(back, laptop, ALL).transactions == 0


# Several sources


def test_two_laptops_get_distinct_numbers_and_their_lineage_follows(tmp_path: Path, monkeypatch: Any) -> None:
    stores = {}
    for name in ("ann", "ben"):
        monkeypatch.setenv("LINEART_STORE", str(tmp_path / name))
        write_history(tmp_path / "work", seed=len(name + name[0]) + ord(name[0]), runs=2, large=1000)
        stores[name] = opened(tmp_path / name)
    team = opened(tmp_path / "team")
    copy(stores["ann"], team, ALL)
    report = copy(stores["ben"], team, ALL)
    assert report.renumbered["team/digits/data:v0"] == "team/digits/data:v2"
    catalog = team.catalog()
    assert catalog.rows("SELECT version FROM versions WHERE collection = 'data' ORDER BY 1") == [
        (0,),
        (1,),
        (2,),
        (3,),
    ]
    (run,) = (v.state.run for v in stores["ben"].versions("data") if v.state.number == 0)
    assert catalog.rows(
        "SELECT version_id FROM edges WHERE kind = 'produced' AND run_id = ?", [f"team/digits/{run}"]
    ) == [("team/digits/data:v2",)]
    train = stores["ben"].catalog().rows("SELECT run_id FROM runs WHERE name = 'train-0'")[0][0]
    assert catalog.rows("SELECT input_id FROM derivations WHERE run_id = ?", [train]) == [
        ("team/digits/data:v2",)
    ]
    assert any("alias model:round-0 was moved to v0" in text for text in report.conflicts)
    for name, home in stores.items():
        pulled = copy(team, home, ALL)
        assert pulled.versions > 0, name
        assert copy(home, team, ALL).transactions == 0
        assert contents(home, tmp_path / f"of {name}").values()


def test_content_that_is_there_already_is_that_version(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("ann", "ben"):
        monkeypatch.setenv("LINEART_STORE", str(tmp_path / name))
        small(text=f"first of {name}")
        small(text="the same")
    ann, ben, team = opened(tmp_path / "ann"), opened(tmp_path / "ben"), opened(tmp_path / "team")
    copy(ann, team, ALL)
    report = copy(ben, team, ALL)
    assert report.renumbered == {
        "team/digits/data:v0": "team/digits/data:v2",
    }
    assert (report.versions, report.versions_present) == (1, 1)
    made = team.catalog().rows(
        "SELECT is_new FROM edges WHERE kind = 'produced' AND version_id = 'team/digits/data:v1' ORDER BY position"
    )
    assert made == [(True,), (False,)]


# Refusals


def test_other_run_with_the_same_id_is_refused_by_both_names(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("ann", "ben"):
        monkeypatch.setenv("LINEART_STORE", str(tmp_path / name))
        with lineart.init(project="team/digits", id="baseline") as run:
            run.log({"who": len(name)})
    ann, ben, team = opened(tmp_path / "ann"), opened(tmp_path / "ben"), opened(tmp_path / "team")
    copy(ann, team, ALL)
    before = tree(tmp_path / "team")
    with pytest.raises(UsageError) as caught:
        copy(ben, team, ALL)
    builders.one_line(
        caught.value, "run team/digits/baseline of file://", str(tmp_path / "ben"), "another run", "--to"
    )
    assert tree(tmp_path / "team") == before
    copy(ben, team, ALL, to=ProjectName("team", "of-ben"))
    assert len(picture(team)["runs"]) == 2


def test_version_of_a_run_whose_id_is_taken_comes_without_it(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("ann", "ben"):
        monkeypatch.setenv("LINEART_STORE", str(tmp_path / name))
        with lineart.init(project="team/digits", id="baseline") as run:
            made = lineart.Artifact(name, "dataset")
            with made.new_file("x") as file:
                file.write(name)
            run.log_artifact(made)
    ann, ben, team = opened(tmp_path / "ann"), opened(tmp_path / "ben"), opened(tmp_path / "team")
    copy(ann, team, ALL)
    copy(ben, team, Choice(names=["ben"]))
    assert team.version("ben:v0").state.run is None
    assert team.version("ann:v0").state.run == "baseline"


def test_other_type_is_refused_before_anything_is_written(laptop: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "other")
    with lineart.init(project="team/digits", store=str(tmp_path / "other")) as run:
        made = lineart.Artifact("data", "table")
        with made.new_file("x") as file:
            file.write("x")
        run.log_artifact(made)
    before = tree(tmp_path / "other")
    with pytest.raises(
        UsageError, match=r"artifact 'data' has type 'table' in team/digits of .*, not 'dataset'"
    ):
        copy(laptop, target, ALL)
    assert tree(tmp_path / "other") == before


@pytest.mark.parametrize(
    "choice, error, message",
    [
        ({"names": ["modle"]}, NotFoundError, "did you mean 'model'"),
        ({"names": ["model:v9"]}, NotFoundError, "has no v9"),
        ({"names": ["model:v1"]}, NotFoundError, "was deleted"),
        ({"names": ["a/b/c/d"]}, UsageError, r"expected \[entity/\]project"),
        ({"names": ["digit/model"]}, NotFoundError, "did you mean 'team/digits'"),
        ({"runs": ["train-9"]}, NotFoundError, "did you mean 'train-"),
        ({"projects": ["nowhere"]}, NotFoundError, "project 'team/nowhere' is not in"),
    ],
)
def test_mistaken_names(
    choice: dict[str, Any], error: type[Exception], message: str, laptop: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        copy(laptop, opened(tmp_path / "other"), Choice(**choice))


def test_store_is_not_copied_to_itself(laptop: Workspace) -> None:
    with pytest.raises(UsageError, match="is source and target"):
        copy(laptop, opened(os.environ["LINEART_STORE"]), ALL)


def test_several_projects_do_not_go_into_one(laptop: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies in 3 projects"):
        copy(laptop, opened(tmp_path / "other"), ALL, to=ProjectName("team", "one"))


def _first_pack(laptop: Workspace) -> Path:
    pack = laptop.version("model:v0").packs.data[-1]
    path = laptop.store.backend.local_path(f"packs/{pack.hex()[:2]}/{pack.hex()}.pack")
    assert path is not None
    return path


@pytest.mark.on_disk
@pytest.mark.parametrize("damage", ["missing", "flipped", "short"])
def test_damaged_pack_is_named_and_its_version_is_not_copied(
    damage: str, laptop: Workspace, tmp_path: Path
) -> None:
    path = _first_pack(laptop)
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        builders.flip(path, 1000)
    else:
        path.write_bytes(path.read_bytes()[:-1])
    target = opened(tmp_path / "other")
    with pytest.raises((NotFoundError, IntegrityError)) as caught:
        copy(laptop, target, ALL)
    builders.one_line(caught.value, path.stem[:12], "model:v0", "art verify --all", str(tmp_path / "store"))
    assert "model" not in target.project().state().collections
    assert not (tmp_path / "other" / "packs" / path.parent.name / path.name).exists()


# Runs that have not ended


def test_live_run_is_left_out_and_comes_when_it_has_ended(tmp_path: Path) -> None:
    small()
    source, target = opened(os.environ["LINEART_STORE"]), opened(tmp_path / "other")
    run = lineart.init(project="team/digits", name="going")
    run.log({"loss": 1.0})
    report = copy(source, target, ALL)
    assert report.left_out == [f"run {run.path} is still running; copy again when it has ended"]
    assert report.runs == 1
    with pytest.raises(UsageError, match="is still running; copy it when it has ended"):
        copy(source, target, Choice(runs=["going"]))
    run.finish()
    assert copy(source, target, ALL).runs == 1
    assert picture(target) == picture(source)


def test_run_that_was_killed_is_brought_home_and_copied_as_crashed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, lineart\n"
        "run = lineart.init(project='team/digits', name='killed')\n"
        "for step in range(100): run.log({'loss': step})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, str(script)], check=False).returncode == -9
    source, target = opened(os.environ["LINEART_STORE"]), opened(tmp_path / "other")
    copy(source, target, ALL)
    assert target.catalog().rows("SELECT name, state FROM runs") == [("killed", "crashed")]
    assert picture(target) == picture(source)
    run = lineart.Api(store=str(tmp_path / "other")).runs("team/digits")[0]
    assert len(run.history(samples=1000)) == 100


def test_run_that_goes_on_after_a_push_is_brought_up_to_date(tmp_path: Path) -> None:
    source = opened(os.environ["LINEART_STORE"])
    with lineart.init(project="team/digits", id="long") as run:
        run.log({"loss": 1.0})
    target = opened(tmp_path / "other")
    copy(source, target, ALL)
    with lineart.init(project="team/digits", id="long", resume="must") as run:
        for step in range(20_000):
            run.log({"loss": step})
        run.summary["best"] = 1
    assert copy(source, target, ALL).runs == 1
    assert picture(target) == picture(source)


@pytest.mark.on_disk
def test_run_that_went_on_in_both_stores_is_refused(tmp_path: Path) -> None:
    source, target = opened(os.environ["LINEART_STORE"]), opened(tmp_path / "other")
    with lineart.init(project="team/digits", id="long") as run:
        run.log({"loss": 1.0})
    copy(source, target, ALL)
    for store in ("store", "other"):
        with lineart.init(
            project="team/digits", id="long", resume="must", store=str(tmp_path / store)
        ) as run:
            for step in range(20_000):
                run.log({"loss": step + len(store)})
    with pytest.raises(UsageError, match=r"went on in .* and in .*: both have a part 0 of its history"):
        copy(source, target, ALL)


def test_deleted_run_leaves_nothing_but_its_edges(laptop: Workspace, tmp_path: Path) -> None:
    lineart.Api().run(laptop.catalog().rows("SELECT run_id FROM runs WHERE name = 'train-2'")[0][0]).delete()
    target = opened(tmp_path / "other")
    copy(laptop, target, ALL)
    assert "train-2" not in str(picture(target)["runs"])
    assert picture(target)["edges"] == picture(laptop)["edges"]
