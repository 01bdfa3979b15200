"""Two versions compared in all that is known of them, and what may explain the difference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import lineart
import scenario
from lineart.lineage import code_diff, deep_diff
from lineart.lineage.deep_diff import DeepDiff
from lineart.storage.errors import Error
from lineart.tracking import log_draft
from lineart.tracking.deep_difference import compare_deeply

TRAIN = """
import sys, lineart
with lineart.init(project="team/digits", name="train", config={"lr": float(sys.argv[2])}) as run:
    data = run.use_artifact(sys.argv[1], role="train")
    run.log({"acc": FACTOR / 10})
    model = lineart.Artifact("model", "model", metadata={"factor": FACTOR})
    with model.new_file("w") as file:
        file.write(data.open("x.csv", "r").read() * FACTOR)
    run.log_artifact(model)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    workspace = scenario.workspace()
    log_draft(workspace, scenario.draft("data", {"x.csv": "a,b\n1,2\n", "same": "s"}))
    log_draft(workspace, scenario.draft("data", {"x.csv": "a,b\n1,2\n3,4\n", "same": "s"}))
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def train(place: Path, factor: int, data: str, lr: str) -> None:
    (place / "train.py").write_text(TRAIN.replace("FACTOR", str(factor)))
    done = subprocess.run(
        [sys.executable, "train.py", data, lr], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def compared(before: str, after: str, repository: Path | None = None) -> DeepDiff:
    workspace = scenario.workspace()
    return compare_deeply(
        workspace, workspace.version(before), workspace.version(after), repository=repository
    )


def git(place: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=place, check=True, capture_output=True)


def test_inputs_config_and_saved_code_explain_it_in_that_order(place: Path) -> None:
    train(place, 1, "data:v0", "0.1")
    train(place, 2, "data:v1", "0.2")
    found = compared("model:v0", "model:v1")
    assert [diff.files and [change.path for change in diff.files.changes] for diff in found.inputs] == [
        ["x.csv"]
    ]
    assert [(explanation.kind, explanation.text) for explanation in found.explanations] == [
        ("inputs", "team/digits/data:v0 → v1 as train: 1 file"),
        ("config", "lr: 0.1 → 0.2"),
        ("code", "the saved code: 3 lines added, 3 removed"),
        ("command", "the command line"),
    ]
    assert '-        file.write(data.open("x.csv", "r").read() * 1)' in found.code.saved
    assert (found.made.metadata, found.made.summary) == ({"factor": (1, 2)}, {"acc": (0.1, 0.2)})
    assert found.packages == {}
    assert not {"python", "host"} & set(found.environment)


def test_commits_are_compared_by_git_and_what_was_not_committed_by_itself(place: Path) -> None:
    (place / "train.py").write_text(TRAIN.replace("FACTOR", "1"))
    git(place, "init", "-q")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "one")
    train(place, 1, "data:v0", "0.1")
    (place / "other.txt").write_text("2\n")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "two")
    train(place, 3, "data:v0", "0.1")
    found = compared("model:v0", "model:v1", place)
    assert "+++ b/other.txt" in found.code.commits
    assert "read() * 3" in found.code.uncommitted
    assert found.code.saved == ""
    assert [explanation.kind for explanation in found.explanations] == ["code", "code"]
    elsewhere = compared("model:v0", "model:v1", place.parent)
    assert elsewhere.code.commits == ""
    assert "read() * 3" in elsewhere.code.saved
    assert "not in a repository here" in elsewhere.code.notes[0]


@pytest.fixture
def repository(place: Path) -> Path:
    """A repository with the script, and a first run of it with changes that were not committed."""
    (place / "train.py").write_text(TRAIN.replace("FACTOR", "1"))
    (place / "other.txt").write_text("1\n")
    (place / "image.bin").write_bytes(b"\0\1")
    git(place, "init", "-q")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "one")
    (place / "image.bin").write_bytes(b"\0\2")
    train(place, 2, "data:v0", "0.1")
    return place


def test_changes_that_were_committed_after_the_run_are_no_difference(repository: Path) -> None:
    git(repository, "commit", "-q", "-a", "-m", "two")
    train(repository, 2, "data:v1", "0.1")
    files = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    found = compared("model:v0", "model:v1", repository)
    assert not found.code.differs
    assert "commit" in found.made.code
    assert "code" not in [explanation.kind for explanation in found.explanations]
    left = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    assert left == files, "it has written into the repository"


def test_code_is_compared_as_it_ran_and_each_file_once(repository: Path) -> None:
    (repository / "other.txt").write_text("2\n")
    git(repository, "commit", "-q", "-a", "-m", "two")
    train(repository, 3, "data:v0", "0.1")
    found = compared("model:v0", "model:v1", repository).code
    assert "+++ b/other.txt" in found.commits
    assert "train.py" not in found.commits
    changed = [line for line in found.uncommitted.splitlines() if line[:2] in ("- ", "+ ") and "csv" in line]
    assert [line[0] + line[-4:] for line in changed] == ["-* 2)", "+* 3)"]
    assert "image.bin" not in found.commits + found.uncommitted


def test_patch_that_does_not_apply_is_compared_by_itself(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "commit", "-q", "-a", "-m", "two")
    train(repository, 3, "data:v0", "0.1")
    assert code_diff.whole_diff(repository, ("HEAD", "no patch"), ("HEAD", "")) is None
    assert code_diff.whole_diff(repository, ("HEAD", "\ufffd"), ("HEAD", "")) is None
    monkeypatch.setattr(code_diff, "whole_diff", lambda *given: None)
    found = compared("model:v0", "model:v1", repository).code
    assert (bool(found.commits), bool(found.uncommitted), found.is_whole) == (True, True, False)


def test_tables_are_compared_within_the_limits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared("data:v0", "data:v1")
    assert [(table.path, table.rows, table.rows_added) for table in found.tables] == [("x.csv", (1, 2), 1)]
    assert found.explanations[0].kind == "unknown"
    monkeypatch.setattr(deep_diff, "TABLE_LIMIT_BYTES", 5)
    found = compared("data:v0", "data:v1")
    assert found.tables == ()
    assert "x.csv: too large" in found.left_out[0]


def test_table_that_cannot_be_read_is_left_out(place: Path) -> None:
    workspace = scenario.workspace()
    for content in ("1", "2"):
        log_draft(workspace, scenario.draft("bad", {"t.parquet": content}))
    assert "cannot be read as one" in compared("bad:v0", "bad:v1").left_out[0]


@pytest.mark.parametrize(
    "path, content, words",
    [
        ("t.parquet", "x" * 100, "No magic bytes found at end of file 'after: t.parquet'"),
        ("t.csv", "a,b\n" + "1,2\n" * 30_000 + "1,2,3\n", "Expected Number of Columns: 2 Found: 3)"),
        ("t.csv.gz", "x" * 100, "not a GZIP stream: after: t.csv.gz"),
    ],
)
def test_cause_is_told_of_a_table_that_cannot_be_read(
    place: Path, path: str, content: str, words: str
) -> None:
    workspace = scenario.workspace()
    good = "SELECT 1 AS a, 2 AS b"
    duckdb.execute(f"COPY ({good}) TO '{place / path}'")
    draft = lineart.Artifact("bad", "dataset")
    draft.add_file(str(place / path), path)
    log_draft(workspace, draft)
    log_draft(workspace, scenario.draft("bad", {path: content}))
    said = compared("bad:v0", "bad:v1").left_out[0]
    assert words in said
    assert "lineart-diff" not in said
    assert "Original Line" not in said


def test_number_that_json_does_not_have_is_told_as_people_write_it(place: Path) -> None:
    train(place, 1, "data:v0", "nan")
    train(place, 2, "data:v0", "0.1")
    assert ("config", "lr: nan → 0.1") in [
        (e.kind, e.text) for e in compared("model:v0", "model:v1").explanations
    ]


def test_packages_are_compared_by_name(place: Path) -> None:
    lines = {"r0": "a==1\nb==1\n-e /x  # own==1\n", "r1": "a==2\nc @ file:///c\n-e /x  # own==1\n"}
    for run in lines:
        workspace = scenario.workspace()
        op = {"op": "run.start", "run": run, "name": run, "config": {}, "capture": {"python": run}}
        workspace.project().commit(lambda state, op=op: [op])
        log_draft(workspace, scenario.draft("m", {"w": run}), run=run)
    catalog = scenario.workspace().catalog()
    workspace = scenario.workspace()
    found = deep_diff.diff_deeply(
        catalog,
        workspace.version("m:v0"),
        workspace.version("m:v1"),
        versions=workspace.version,
        paths=lambda run: ["requirements.txt"],
        text=lambda run, path: lines[run[-2:]],
    )
    catalog.close()
    assert found.packages == {"a": ("1", "2"), "b": ("1", None), "c": (None, "file:///c")}
    assert [(e.kind, e.text) for e in found.explanations] == [
        ("packages", "a 1 → 2, b 1 → none, c none → file:///c"),
        ("environment", "python: r0 → r1"),
    ]


def test_input_whose_files_are_gone_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(place, 1, "data:v0", "0.1")
    train(place, 2, "data:v1", "0.1")

    def gone(*versions: object) -> None:
        raise Error("its manifest was collected")

    real = deep_diff.diff_stored
    monkeypatch.setattr(deep_diff, "diff_stored", gone)
    found = compared("model:v0", "model:v1")
    monkeypatch.setattr(deep_diff, "diff_stored", real)
    assert found.inputs[0].files is None
    assert "was collected" in found.left_out[0]
