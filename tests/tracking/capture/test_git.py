"""What is recorded of the repository around a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import scenario
from lineart.storage.errors import CommError, UsageError
from lineart.tracking.capture import dirty_diff, git_state

Git = Callable[..., str]


def state(folder: Path) -> dict[str, Any]:
    found = git_state(folder)
    assert found is not None
    return dict(found)


# The state


def test_state_of_a_clean_repository(repository: Path, git: Git) -> None:
    assert state(repository) == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "main",
        "remote": None,
        "dirty": False,
        "root": str(repository),
        "untracked": [],
        "untracked_count": 0,
    }


def test_folder_below_is_of_the_same_repository(repository: Path) -> None:
    assert state(repository / "deep") == state(repository)


@pytest.mark.parametrize(
    "change, dirty",
    [("edit", True), ("stage", True), ("delete", True), ("rename", True), ("untracked", False)],
)
def test_changed_file_that_git_knows_makes_it_dirty(
    repository: Path, git: Git, change: str, dirty: bool
) -> None:
    if change == "untracked":
        (repository / "new").write_text("new")
    elif change == "delete":
        (repository / "train.py").unlink()
    elif change == "rename":
        git(repository, "mv", "train.py", "? learn.py")
    else:
        (repository / "train.py").write_text("import this\n")
    if change == "stage":
        git(repository, "add", "-A")
    found = state(repository)
    assert found["dirty"] is dirty
    assert found["untracked"] == (["new"] if change == "untracked" else [])


def test_names_of_untracked_files_are_bounded_and_counted(repository: Path) -> None:
    scenario.write_tree(repository, {f"new {number:03}\n": "" for number in range(150)})
    scenario.write_tree(repository, {"data/a": "", "data/b": ""})
    found = state(repository / "deep")
    assert found["untracked"][:2] == ["data/", "new 000\n"]
    assert (len(found["untracked"]), found["untracked_count"]) == (100, 151)


def test_ignored_files_are_not_untracked(repository: Path) -> None:
    scenario.write_tree(repository, {".gitignore": "*.pt\n.gitignore\n", "model.pt": ""})
    assert state(repository)["untracked"] == []


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
def test_remote_is_kept_without_its_credentials(repository: Path, git: Git, url: str, kept: str) -> None:
    git(repository, "remote", "add", "another", "https://example.org/other.git")
    git(repository, "remote", "add", "origin", url)
    assert state(repository)["remote"] == kept


def test_remote_that_is_not_called_origin_counts(repository: Path, git: Git) -> None:
    git(repository, "remote", "add", "upstream", "https://example.org/x.git")
    assert state(repository)["remote"] == "https://example.org/x.git"


def test_detached_head_and_a_branch_of_another_alphabet(repository: Path, git: Git) -> None:
    git(repository, "checkout", "-q", "-b", "ünïcode-🦆")
    assert state(repository)["branch"] == "ünïcode-🦆"
    git(repository, "checkout", "-q", "--detach")
    assert state(repository)["branch"] == "HEAD"


def test_branch_that_is_not_utf8_fails_no_run(repository: Path) -> None:
    (repository / ".git/HEAD").write_bytes(b"ref: refs/heads/\xff\n")
    reference = os.fsencode(repository) + b"/.git/refs/heads/\xff"
    Path(os.fsdecode(reference)).write_text((repository / ".git/refs/heads/main").read_text())
    assert state(repository)["branch"] == "\ufffd"


def test_linked_worktree_has_its_own_root_and_branch(repository: Path, git: Git, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    found = state(tmp_path / "side")
    assert (found["root"], found["branch"]) == (str(tmp_path / "side"), "side")


def test_new_file_in_a_submodule_is_no_change_but_an_edit_is(
    repository: Path, git: Git, tmp_path: Path
) -> None:
    inner = scenario.write_tree(tmp_path / "inner", {"code.py": "pass\n"})
    git(inner, "init", "-q")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "inner")
    git(repository, "submodule", "--quiet", "add", str(inner), "sub")
    git(repository, "commit", "-q", "-m", "with a submodule")
    (repository / "sub/new").write_text("new")
    assert not state(repository)["dirty"]
    (repository / "sub/code.py").write_text("changed\n")
    assert state(repository)["dirty"]


@pytest.mark.parametrize("place", ["no repository", "no commit yet", "gone", "broken"])
def test_where_there_is_nothing_to_tell_nothing_is_told(tmp_path: Path, git: Git, place: str) -> None:
    folder = tmp_path / "x"
    if place != "gone":
        folder.mkdir()
    if place == "no commit yet":
        git(folder, "init", "-q")
    if place == "broken":
        scenario.write_tree(folder, {".git/HEAD": "nonsense"})
    assert git_state(folder) is None
    assert dirty_diff(folder) is None


def test_machine_without_git_tells_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) is None
    assert dirty_diff(repository) is None


def replace_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = scenario.write_tree(tmp_path / "bin", {"git": f"#!/bin/sh\n{script}\n"}) / "git"
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def test_git_that_hangs_is_given_up_with_its_children(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_git(tmp_path, monkeypatch, "sleep 60 & sleep 60")
    begun = time.monotonic()
    assert git_state(repository, timeout_s=0.2) is None
    with pytest.raises(CommError, match=r"did not end within 0\.2 s"):
        dirty_diff(repository, timeout_s=0.2)
    assert time.monotonic() - begun < 20


def test_search_for_untracked_files_that_hangs_costs_only_them(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = next(
        path for path in map(Path, ("/usr/bin/git", "/bin/git", "/usr/local/bin/git")) if path.exists()
    )
    script = f'case "$*" in *untracked-files=normal*) exec sleep 60;; *) exec {real} "$@";; esac'
    replace_git(tmp_path, monkeypatch, script)
    (repository / "train.py").write_text("import this\n")
    found = git_state(repository, timeout_s=1.0)
    assert found is not None
    assert found["dirty"] is True
    assert "untracked" not in found


def test_state_asks_two_processes_and_takes_no_lock(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "train.py").write_text(
        "pass\n"
    )  # the same, with a new time: git would note it in the index
    index = (repository / ".git/index").read_bytes()
    assert git_state(repository) is not None
    assert (repository / ".git/index").read_bytes() == index
    calls = tmp_path / "calls"
    replace_git(tmp_path, monkeypatch, f'echo "$*" >> {calls}; exit 128')
    assert git_state(repository) is None
    assert len(calls.read_text().splitlines()) == 2


# The patch


def test_patch_of_a_clean_repository_is_none(repository: Path) -> None:
    (repository / "new").write_text("untracked")
    assert dirty_diff(repository) is None


def test_patch_brings_a_fresh_checkout_to_the_same_files(repository: Path, git: Git, tmp_path: Path) -> None:
    scenario.write_tree(
        repository, {"old.bin": bytes(range(256)), "ünïcode \n name": "a\r\nb", "gone": "x\n"}
    )
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "second")
    git(repository, "config", "diff.noprefix", "true")
    git(repository, "config", "diff.mnemonicPrefix", "true")
    git(repository, "config", "color.ui", "always")
    git(repository, "config", "diff.context", "0")
    git(repository, "config", "diff.relative", "true")
    git(repository, "config", "diff.external", "false")
    changed = {
        "old.bin": bytes(range(255, -1, -1)),
        "ünïcode \n name": "a\r\nc",
        "train.py": b"caf\xe9 without end",
    }
    scenario.write_tree(repository, changed)
    scenario.write_tree(repository, {"staged/new.py": "import this\n"})
    git(repository, "add", "staged/new.py")
    scenario.write_tree(repository, {"staged/new.py": "import that\n"})  # and changed since
    (repository / "gone").unlink()
    (repository / "deep/x").chmod(0o755)

    patch = dirty_diff(repository / "deep")
    assert patch is not None
    git(repository, "clone", "-q", str(repository), str(tmp_path / "fresh"))
    git(tmp_path / "fresh", "apply", stdin=patch)
    for path in ("old.bin", "ünïcode \n name", "train.py", "staged/new.py"):
        assert (tmp_path / "fresh" / path).read_bytes() == (repository / path).read_bytes()
    assert not (tmp_path / "fresh/gone").exists()
    assert os.access(tmp_path / "fresh/deep/x", os.X_OK)


def test_patch_beyond_the_limit_is_refused_whole(repository: Path) -> None:
    (repository / "train.py").write_text("\n".join(map(str, range(200_000))))
    with pytest.raises(UsageError, match="more than 1000 bytes"):
        dirty_diff(repository, 1000)
    patch = dirty_diff(repository)
    assert patch is not None
    assert dirty_diff(repository, len(patch)) == patch
    with pytest.raises(UsageError):
        dirty_diff(repository, len(patch) - 1)
