"""The difference between the code of two runs: from git where the repository is at hand, else from what was saved.

Where it is, compared is what ran: each commit with the changes that were not committed. A run of changed files, their
commit and another run: that is the same code.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATCH = "diff.patch"
LIMIT_CHARACTERS = 200_000
_TIMEOUT_S = 20
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
_ALONE = (
    *("--no-optional-locks", "-c", "core.hooksPath=/dev/null", "-c", "core.splitIndex=false"),
    *("-c", "core.fsmonitor=false", "-c", "diff.submodule=short"),
)

# What a run has saved: the paths of its files, and the text of one.
Paths = Callable[[str], Sequence[str]]
Text = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class CodeDiff:
    """Text as `diff -u` writes it, by where it comes from; `notes` say what could not be compared.

    When `is_whole`, each file that differs is in it once, as it ran: below `uncommitted` if one of the two runs had
    changes of it that were not committed. Else `commits` and `uncommitted` are compared each by itself.
    """

    commits: str = ""  # between the two commits
    uncommitted: str = ""  # between the changes that were not committed
    saved: str = ""  # between the saved code files
    notes: tuple[str, ...] = ()
    is_whole: bool = False

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
        return CodeDiff(
            notes=("one side was made outside of a run, or by one that is not here: its code is not known",)
        )
    (left, old), (right, new) = before, after
    facts = [captured.get("git") or {} for captured in (old, new)]
    commits = [str(git["commit"]) if git.get("commit") else None for git in facts]
    kept = {run: set(paths(run)) for run in (left, right)}
    patches = [text(run, PATCH) if PATCH in kept[run] else "" for run in (left, right)]
    has_all = all(patch or not git.get("dirty") for patch, git in zip(patches, facts, strict=True))
    if repository is not None and commits[0] and commits[1] and has_all:
        found = whole_diff(repository, (commits[0], patches[0]), (commits[1], patches[1]))
        if found is not None:
            return CodeDiff(_cut(found[0]), _cut(found[1]), is_whole=True)
    return _by_parts((left, right), commits, patches, kept, text=text, repository=repository)


def _by_parts(
    runs: tuple[str, str],
    commits: Sequence[str | None],
    patches: Sequence[str],
    kept: Mapping[str, set[str]],
    *,
    text: Text,
    repository: Path | None,
) -> CodeDiff:
    """Commits, what was not committed, and saved files, each compared by itself."""
    notes: list[str] = []
    between, is_known = "", True
    if all(commits) and commits[0] != commits[1]:
        found = git_diff(repository, str(commits[0]), str(commits[1]))
        is_known = found is not None
        between = found or ""
        if not is_known:
            notes.append("the two commits are not in a repository here; compared is what the runs have saved")
    saved = ""
    if not all(commits) or not is_known:
        names = sorted(path for path in kept[runs[0]] | kept[runs[1]] if path.startswith("code/"))
        if not names:
            notes.append("no code was saved with the runs")
        for name in names:
            texts = [text(run, name) if name in kept[run] else "" for run in runs]
            saved += unified(*texts, name=name)
    uncommitted = unified(patches[0], patches[1], name=PATCH)
    return CodeDiff(_cut(between), _cut(uncommitted), _cut(saved), tuple(notes))


def whole_diff(repository: Path, before: tuple[str, str], after: tuple[str, str]) -> tuple[str, str] | None:
    """What differs between two commits, each with a patch, in files without and with changes by the patches.

    None without git, when the repository does not have both commits, or when a patch does not apply to its commit.
    """
    if any("\ufffd" in patch for _, patch in (before, after)):
        return None  # of a file that is no UTF-8: what it was is not known
    with tempfile.TemporaryDirectory(prefix="lineart-diff-") as folder:
        try:
            scratch = _Scratch(repository, Path(folder))
            trees = [scratch.tree(commit, patch) for commit, patch in (before, after)]
            changed = {
                path
                for (commit, _), tree in zip((before, after), trees, strict=True)
                for path in scratch.git(*_DIFF, "--name-only", "-z", commit, tree).split("\0")
            }
            names = scratch.git(*_DIFF, "--name-only", "-z", *trees).split("\0")[:-1]
            parts = re.split(r"^(?=diff --git )", scratch.git(*_DIFF, *trees), flags=re.MULTILINE)[1:]
        except (OSError, subprocess.SubprocessError):
            return None
    if len(names) != len(parts):
        return None
    found = ["", ""]
    for name, part in zip(names, parts, strict=True):
        found[name in changed] += part
    return found[0], found[1]


class _Scratch:
    """Git with an index and new objects in a folder of ours: nothing is written into the repository."""

    def __init__(self, repository: Path, folder: Path) -> None:
        """Raises: OSError, SubprocessError."""
        self._repository = repository
        (folder / "objects").mkdir()
        self._variables: tuple[str, ...] = ()
        objects = os.path.join(repository, self.git("rev-parse", "--git-path", "objects").rstrip("\n"))
        self._variables = (
            f"GIT_INDEX_FILE={folder / 'index'}",
            f"GIT_OBJECT_DIRECTORY={folder / 'objects'}",
            f"GIT_ALTERNATE_OBJECT_DIRECTORIES={os.path.abspath(objects)}",
        )

    def tree(self, commit: str, patch: str) -> str:
        """The tree of `commit` with `patch` applied."""
        if not commit.isalnum():
            raise OSError(f"{commit!r} is no commit")
        self.git("read-tree", commit)
        if patch:
            self.git("apply", "--cached", "--whitespace=nowarn", "-", stdin=patch)
        return self.git("write-tree").strip()

    def git(self, *arguments: str, stdin: str = "") -> str:
        """What git prints. Raises: OSError, SubprocessError when it fails."""
        done = subprocess.run(
            # `env` adds to the variables that there are; hooks and shared indexes are the repository's own.
            ["env", *self._variables, "git", "-C", str(self._repository), *_ALONE, *arguments],
            capture_output=True,
            input=stdin.encode(),
            timeout=_TIMEOUT_S,
            check=True,
        )
        return done.stdout.decode(errors="replace")


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
