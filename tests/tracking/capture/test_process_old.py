"""What a run remembers of its process, and what it must not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scenario
from lineart.tracking.capture import capture_process, git_state, masked


def git(folder: Path, *arguments: str) -> str:
    """Run git with nothing of this machine's configuration."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit, nothing changed since."""
    folder = scenario.write_tree(tmp_path / "repository", {"train.py": "pass\n", "deep/x": "x"})
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


# Git


def test_state_of_a_clean_repository(repository: Path) -> None:
    assert git_state(repository) == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "main",
        "remote": None,
        "dirty": False,
    }


def test_folder_below_is_of_the_same_repository(repository: Path) -> None:
    assert git_state(repository / "deep") == git_state(repository)


@pytest.mark.parametrize(
    "change, dirty",
    [("edit", True), ("stage", True), ("delete", True), ("untracked", False)],
)
def test_changed_file_that_git_knows_makes_it_dirty(repository: Path, change: str, dirty: bool) -> None:
    if change == "untracked":
        (repository / "new").write_text("new")
    elif change == "delete":
        (repository / "train.py").unlink()
    else:
        (repository / "train.py").write_text("import this\n")
    if change == "stage":
        git(repository, "add", "-A")
    found = git_state(repository)
    assert found is not None
    assert found["dirty"] is dirty


@pytest.mark.parametrize(
    "url, kept",
    [
        ("https://ada:secret@example.org/x.git", "https://example.org/x.git"),
        ("https://token@example.org/x.git", "https://example.org/x.git"),
        ("https://ada:p@ss:w@rd@example.org/x.git", "https://example.org/x.git"),
        ("https://example.org/a@b.git", "https://example.org/a@b.git"),
        ("git@example.org:x.git", "git@example.org:x.git"),
        ("ssh://git:secret@example.org/x.git", "ssh://example.org/x.git"),
    ],
)
def test_remote_is_kept_without_its_credentials(repository: Path, url: str, kept: str) -> None:
    git(repository, "remote", "add", "origin", url)
    found = git_state(repository)
    assert found is not None
    assert found["remote"] == kept


def test_detached_head_and_a_branch_of_another_alphabet(repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "ünïcode-🦆")
    found = git_state(repository)
    assert found is not None
    assert found["branch"] == "ünïcode-🦆"
    git(repository, "checkout", "-q", "--detach")
    found = git_state(repository)
    assert found is not None
    assert found["branch"] == "HEAD"


def test_branch_that_is_not_utf8_fails_no_run(repository: Path) -> None:
    (repository / ".git/HEAD").write_bytes(b"ref: refs/heads/\xff\n")
    reference = os.fsencode(repository) + b"/.git/refs/heads/\xff"
    Path(os.fsdecode(reference)).write_text((repository / ".git/refs/heads/main").read_text())
    found = git_state(repository)
    assert found is not None
    assert found["branch"] == "\ufffd"


@pytest.mark.parametrize("place", ["no repository", "no commit yet", "gone", "broken"])
def test_where_there_is_nothing_to_tell_nothing_is_told(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "x"
    if place != "gone":
        folder.mkdir()
    if place == "no commit yet":
        git(folder, "init", "-q")
    if place == "broken":
        scenario.write_tree(folder, {".git/HEAD": "nonsense"})
    assert git_state(folder) is None


def test_machine_without_git_tells_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) is None


def test_git_that_hangs_is_given_up(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = scenario.write_tree(tmp_path / "bin", {"git": "#!/bin/sh\nexec sleep 60\n"}) / "git"
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("lineart.tracking.capture._GIT_TIMEOUT_S", 0.2)
    assert git_state(repository) is None


# Secrets


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["--api-key", "abc"], ["--api-key", "***"]),
        (["--api_key=abc"], ["--api_key=***"]),
        (["--apikey=abc"], ["--apikey=***"]),
        (["-password", "abc"], ["-password", "***"]),
        (["--db-password=a=b=c"], ["--db-password=***"]),
        (["--hf-token", "abc", "rest"], ["--hf-token", "***", "rest"]),
        (["TOKEN=abc"], ["TOKEN=***"]),
        (["AWS_SECRET_ACCESS_KEY=abc"], ["AWS_SECRET_ACCESS_KEY=***"]),
        (["--secret", "--looks-like-a-flag"], ["--secret", "***"]),
        (["--secret", "x", "--token", "y"], ["--secret", "***", "--token", "***"]),
        (["--token=line one\nline two"], ["--token=***"]),
        (["--credentials-file=/x"], ["--credentials-file=***"]),
        (["optimizer.passwd=abc"], ["optimizer.passwd=***"]),
    ],
)
def test_value_that_looks_like_a_secret_is_masked(arguments: list[str], shown: list[str]) -> None:
    assert masked(arguments) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train.py", "--lr=0.1"],
        ["--tokenizer"],
        ["a=b"],
        ["--", "x"],
        ["token", "x"],
        ["--lr", "0.1"],
        [""],
        ["="],
    ],
)
def test_what_is_no_secret_stays(arguments: list[str]) -> None:
    if arguments == ["--tokenizer"]:
        assert masked([*arguments, "x"])[0] == "--tokenizer"
    assert masked(arguments) == arguments


@given(st.lists(st.text(max_size=10)))
def test_masking_changes_no_number_of_arguments(arguments: list[str]) -> None:
    assert len(masked(arguments)) == len(arguments)


@given(
    st.sampled_from(["password", "TOKEN", "api-key", "Secret", "credential"]),
    st.text(min_size=8, alphabet=st.characters(exclude_categories=("Cs",))),
)
def test_secret_never_comes_through(name: str, secret: str) -> None:
    marked = f"<{secret}>"
    for arguments in (
        [f"--{name}={marked}"],
        [f"--{name}", marked],
        [f"-{name}", marked],
        [f"my_{name}={marked}"],
    ):
        assert marked not in "".join(masked(arguments))


# All of it


def test_process_is_told_with_its_place(repository: Path) -> None:
    found = capture_process(["train.py", "--token", "x"], repository)
    assert found["command"] == ["train.py", "--token", "***"]
    assert found["folder"] == str(repository)
    assert found["git"] == git_state(repository)
    assert found["executable"] == sys.executable
    assert found["python"].startswith("3.")
    assert found["host"]
