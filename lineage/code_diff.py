"""The difference between the code of two runs: from git where the repository is at hand, else from what was saved."""

from __future__ import annotations

import difflib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATCH = "diff.patch"
LIMIT_CHARACTERS = 200_000
_TIMEOUT_S = 20
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")

# What a run has saved: the paths of its files, and the text of one.
Paths = Callable[[str], Sequence[str]]
Text = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class CodeDiff:
    """Text as `diff -u` writes it, by where it comes from; `notes` say what could not be compared."""

    commits: str = ""  # between the two commits
    uncommitted: str = ""  # between the changes that were not committed
    saved: str = ""  # between the saved code files
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.commits or self.uncommitted or self.saved)


def diff_code(
    before: tuple[str, Mapping[str, Any]] | None,
    after: tuple[str, Mapping[str, Any]] | None,
    *,
    paths: Paths,
    text: Text,
    repository: Path | None,
) -> CodeDiff:
    """Compare the code of two runs, each given as its id and what it captured. `repository` is a folder in one."""
    if before is None or after is None:
        return CodeDiff(notes=("one side was made outside of a run: its code is not known",))
    (left, old), (right, new) = before, after
    notes: list[str] = []
    commits = [(facts.get("git") or {}).get("commit") for facts in (old, new)]
    between, is_known = "", True
    if all(commits) and commits[0] != commits[1]:
        found = git_diff(repository, str(commits[0]), str(commits[1]))
        is_known = found is not None
        between = found or ""
        if not is_known:
            notes.append("the two commits are not in a repository here; compared is what the runs have saved")
    kept = {run: set(paths(run)) for run in (left, right)}
    patches = [text(run, PATCH) if PATCH in kept[run] else "" for run in (left, right)]
    saved = ""
    if not all(commits) or not is_known:
        names = sorted(path for path in kept[left] | kept[right] if path.startswith("code/"))
        if not names:
            notes.append("no code was saved with the runs")
        for name in names:
            texts = [text(run, name) if name in kept[run] else "" for run in (left, right)]
            saved += unified(*texts, name=name)
    return CodeDiff(_cut(between), _cut(unified(*patches, name=PATCH)), _cut(saved), tuple(notes))


def git_diff(repository: Path | None, before: str, after: str) -> str | None:
    """What `git diff` says; None without git, without a repository, or when it does not have both commits."""
    if repository is None or not all(name.isalnum() for name in (before, after)):
        return None
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(repository), *_DIFF, before, after],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def unified(before: str, after: str, *, name: str) -> str:
    """Two texts as `diff -u` compares them; empty when they are the same.

    >>> print(unified("a\\n", "b\\n", name="x"), end="")
    --- a/x
    +++ b/x
    @@ -1 +1 @@
    -a
    +b
    """
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _cut(text: str) -> str:
    if len(text) <= LIMIT_CHARACTERS:
        return text
    return f"{text[:LIMIT_CHARACTERS]}\n… {len(text) - LIMIT_CHARACTERS} more characters\n"
