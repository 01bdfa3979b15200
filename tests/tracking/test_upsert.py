"""One version from many workers: contributions, their merging, races and kills."""

from __future__ import annotations

import os
import random
import signal
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import scenario
from builders import HANG_S, SPAWN
from lineart.artifacts.contributions import find_gathering
from lineart.artifacts.project import decode_checkpoint, encode_checkpoint
from lineart.storage.errors import ArtifactFinalizedError, InvalidPathError, UsageError

PROJECT = "team/digits"


def contribute(
    run_id: str, files: dict[str, str], *, group: str | None = "g", **labels: Any
) -> lineart.Artifact:
    """A run of its own that adds these texts to `data`."""
    with lineart.init(project=PROJECT, id=run_id, group=group) as run:
        return run.upsert_artifact(scenario.draft("data", files, **labels))


def finish(run_id: str = "last", *, group: str | None = "g", **fields: Any) -> lineart.Artifact:
    with lineart.init(project=PROJECT, id=run_id, group=group) as run:
        return run.finish_artifact(lineart.Artifact("data", "dataset"), **fields)


def texts(artifact: lineart.Artifact) -> dict[str, str]:
    return {path: artifact.open(path, "r").read() for path in artifact.files()}


def test_contributions_become_one_version(tmp_path: Path) -> None:
    draft = contribute("a", {"a": "1", "shared": "s"}, metadata={"x": 1, "k": "a"}, description="da")
    contribute("b", {"b": "2", "shared": "s"}, metadata={"y": 2, "k": "b"})
    assert draft.is_draft()
    assert not lineart.Api().artifact_exists(f"{PROJECT}/data")
    made = finish(aliases=["whole"])
    assert texts(made) == {"a": "1", "b": "2", "shared": "s"}
    assert (made.version, made.metadata, made.description) == ("v0", {"x": 1, "y": 2, "k": "b"}, "da")
    assert made.aliases == ["latest", "whole"]
    assert scenario.read_tree(Path(made.download(tmp_path / "out"))) == texts(made)


def test_every_contributing_run_is_a_producer() -> None:
    contribute("a", {"a": "1"})
    contribute("b", {"b": "2"})
    made = finish()
    rows = lineart.Api().sql("SELECT run_id, is_new FROM edges WHERE kind = 'produced' ORDER BY 1").fetchall()
    assert rows == [(f"{PROJECT}/{run}", True) for run in ("a", "b", "last")]
    assert set(made.lineage("upstream")) > {f"run:{PROJECT}/a", f"run:{PROJECT}/b"}


def test_finisher_may_bring_files_of_its_own() -> None:
    contribute("a", {"a": "1"})
    with lineart.init(project=PROJECT, group="g") as run:
        made = run.finish_artifact(scenario.draft("data", {"z": "9"}), aliases=["best"])
    assert texts(made) == {"a": "1", "z": "9"}
    assert made.aliases == ["latest", "best"]


def test_distributed_id_is_the_group_unless_given() -> None:
    with lineart.init(project=PROJECT, group="other") as run:
        run.upsert_artifact(scenario.draft("data", {"a": "1"}), distributed_id="g")
    with lineart.init(project=PROJECT, group="other") as run:
        run.upsert_artifact(scenario.draft("data", {"x": "1"}))
    assert texts(finish()) == {"a": "1"}
    assert texts(finish("o", group="other")) == {"x": "1"}


def test_without_group_and_id_it_is_refused_with_the_way_out() -> None:
    with lineart.init(project=PROJECT) as run:
        for call in (run.upsert_artifact, run.finish_artifact):
            with pytest.raises(UsageError, match=r"in no group: pass distributed_id="):
                call(scenario.draft("data", {"a": "1"}))


def test_path_with_other_bytes_is_refused_naming_both() -> None:
    contribute("a", {"same/path": "1"})
    contribute("b", {"same/path": "2"})
    with pytest.raises(
        UsageError, match=r"'same/path' was contributed by run a as blake3:\w{16} and by run b"
    ):
        finish()
    assert not lineart.Api().artifact_exists(f"{PROJECT}/data")


def test_file_of_one_and_folder_of_another_are_refused() -> None:
    contribute("a", {"p": "1"})
    contribute("b", {"p/q": "2"})
    with pytest.raises(InvalidPathError, match="'p'"):
        finish()


def test_folder_that_is_empty_to_one_worker_may_have_files_of_another(tmp_path: Path) -> None:
    (tmp_path / "tree/folder").mkdir(parents=True)
    with lineart.init(project=PROJECT, group="g") as run:
        run.upsert_artifact(tmp_path / "tree", name="data", type="dataset")
    contribute("b", {"folder/file": "2"})
    assert texts(finish()) == {"folder/file": "2"}


def test_worker_replaces_what_it_contributed_itself() -> None:
    with lineart.init(project=PROJECT, group="g") as run:
        run.upsert_artifact(scenario.draft("data", {"a": "1", "b": "1"}))
        run.upsert_artifact(scenario.draft("data", {"a": "2"}))
    assert texts(finish()) == {"a": "2", "b": "1"}


def test_same_contribution_again_is_recorded_once() -> None:
    with lineart.init(project=PROJECT, group="g") as run:
        draft = scenario.draft("data", {"a": "1"})
        run.upsert_artifact(draft)
        run.upsert_artifact(draft)
    state = scenario.workspace(PROJECT).project().state()
    assert len(find_gathering(state, "data", "g").waiting) == 1


def test_later_contributions_make_a_new_version() -> None:
    contribute("a", {"a": "1"})
    first = finish("f1")
    contribute("b", {"b": "2"})
    second = finish("f2")
    assert (first.version, second.version, texts(second)) == ("v0", "v1", {"b": "2"})


def test_incremental_finish_starts_from_the_newest_version() -> None:
    contribute("a", {"a": "1"})
    finish("f1")
    contribute("b", {"b": "2"})
    with lineart.init(project=PROJECT, group="g") as run:
        made = run.finish_artifact(lineart.Artifact("data", "dataset", incremental=True))
    assert texts(made) == {"a": "1", "b": "2"}


def test_finish_again_gives_the_version_and_moves_aliases() -> None:
    contribute("a", {"a": "1"})
    first = finish("f1")
    again = finish("f2", aliases=["late"])
    assert (again.qualified_name, again.aliases) == (first.qualified_name, ["latest", "late"])


def test_finish_of_nothing_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match=r"no contributions under distributed_id 'g'; upsert_artifact\(\)"):
        finish()


def test_contribution_of_another_type_is_refused() -> None:
    contribute("a", {"a": "1"})
    with pytest.raises(UsageError, match="has type 'dataset', not 'model'"):
        contribute("b", {"b": "1"}, type="model")


def test_contribution_of_a_logged_artifact_is_refused() -> None:
    logged = scenario.logged("data", {"f": "1"})
    with (
        lineart.init(project=PROJECT, group="g") as run,
        pytest.raises(ArtifactFinalizedError),
    ):
        run.upsert_artifact(logged)


def test_contributions_are_in_a_checkpoint() -> None:
    contribute("a", {"a": "1"}, metadata={"k": 1})
    contribute("b", {"b": "1"})
    finish()
    contribute("c", {"c": "1"})
    project = scenario.workspace(PROJECT).project()
    state = project.state()
    again, position = decode_checkpoint(encode_checkpoint(state, project.position))
    assert (again, position) == (state, project.position)
    gathering = find_gathering(again, "data", "g")
    assert (len(gathering.waiting), gathering.finished) == (1, 0)


# Races and kills


def work(folder: str, worker: int, count: int, start: Barrier, acknowledge: Connection) -> None:
    """Contribute `count` times, a file each, then finish as all others do."""
    os.environ.update(builders.environment(Path(folder)))
    start.wait(HANG_S)
    with lineart.init(project=PROJECT, id=f"w{worker}", group="g") as run:
        for number in range(count):
            artifact = lineart.Artifact("data", "dataset")
            with artifact.new_file(f"{worker}/{number}", "xb") as file:
                file.write(builders.noise(2000, worker * 1000 + number))
            with artifact.new_file("shared") as file:
                file.write("the same")
            run.upsert_artifact(artifact)
            acknowledge.send((worker, number))
        start.wait(HANG_S)
        made = run.finish_artifact(lineart.Artifact("data", "dataset"), aliases=[f"by-{worker}"])
        acknowledge.send(made.version)
    acknowledge.close()


def received(ends: list[Connection]) -> list[object]:
    found: list[object] = []
    ends = list(ends)
    while ends:
        ready = wait(ends, HANG_S)
        assert ready, "the workers hang"
        for end in ready:
            assert isinstance(end, Connection)
            try:
                found.append(end.recv())
            except (EOFError, OSError):
                ends.remove(end)
    return found


def test_racing_workers_lose_a_contribution_or_make_two_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, each = 16, 3
    start = SPAWN.Barrier(count)
    ends, processes = [], []
    for worker in range(count):
        here, there = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=work, args=(str(tmp_path), worker, each, start, there))
        process.start()
        there.close()
        ends.append(here)
        processes.append(process)
    answers = received(ends)
    for process in processes:
        process.join(HANG_S)
        assert process.exitcode == 0
    assert answers.count("v0") == count
    for name, value in builders.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    made = lineart.Api().artifact(f"{PROJECT}/data:v0")
    expected = {f"{worker}/{number}" for worker in range(count) for number in range(each)}
    assert set(made.files()) == {*expected, "shared"}
    assert set(made.aliases) == {"latest", *(f"by-{worker}" for worker in range(count))}
    for worker in range(count):
        assert made.open(f"{worker}/0").read() == builders.noise(2000, worker * 1000)
    assert len(made.logged_by() or "") > 0
    producers = lineart.Api().sql("SELECT count(DISTINCT run_id) FROM edges WHERE kind = 'produced'")
    assert producers.fetchall() == [(count,)]


def contribute_until_killed(folder: str, worker: int, acknowledge: Connection) -> None:
    os.environ.update(builders.environment(Path(folder)))
    with lineart.init(project=PROJECT, group="g") as run:
        for number in range(10_000):
            artifact = lineart.Artifact("data", "dataset")
            with artifact.new_file(f"{worker}/{number}") as file:
                file.write(f"{worker} {number}")
            run.upsert_artifact(artifact)
            acknowledge.send(f"{worker}/{number}")


def test_killed_worker_loses_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random.Random(3)
    ends, processes = [], []
    for worker in range(4):
        here, there = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=contribute_until_killed, args=(str(tmp_path), worker, there))
        process.start()
        there.close()
        ends.append(here)
        processes.append(process)
    acknowledged = {str(end.recv()) for end in ends}  # each has begun
    for process in processes:
        time.sleep(source.uniform(0.05, 0.4))
        process.kill()
    acknowledged |= {str(answer) for answer in received(ends)}
    for process in processes:
        process.join(HANG_S)
        assert process.exitcode == -signal.SIGKILL
    for name, value in builders.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    made = finish()
    assert acknowledged <= set(made.files())
    for path in made.files():
        assert made.open(path, "r").read() == path.replace("/", " ")
