"""The state of the git repository around a folder: two processes at once, about 3 ms for a small one.

`git status` tells commit, branch, changed and untracked files in one answer; `git remote` runs beside it. Both are told
to take no lock, so that they disturb no git command of the user.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ...storage.errors import CommError, UsageError

UNTRACKED_LIMIT = 100
PATCH_LIMIT_BYTES = 10_000_000
_GIT_TIMEOUT_S = 5.0
_ANSWER_LIMIT_BYTES = 50_000_000
_STATUS = ("status", "--porcelain=v2", "--branch", "-z")
# Each option takes back a setting of the user's that makes patches `git apply` does not read.
_DIFF = (
    "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--submodule=short",
    "--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--ignore-submodules=dirty",
)  # fmt: skip


def git_state(folder: Path, *, timeout_s: float | None = None) -> Mapping[str, Any] | None:
    """Commit, branch, remote, root, whether tracked files differ from the commit, and untracked files.

    None outside of a repository, in one without a commit, and when git is missing or does not answer within `timeout_s`
    seconds (5 by default). `untracked` names at most 100 files or folders, relative to the root; it is missing when
    looking for them took too long.
    """
    limit_s = _GIT_TIMEOUT_S if timeout_s is None else timeout_s
    asked = [_start(folder, *_STATUS, "--untracked-files=normal"), _start(folder, "remote", "-v")]
    try:
        status, remotes = (None if process is None else _answer(process, limit_s) for process in asked)
    except UsageError:  # 50 MB of names: then without them
        status = remotes = None
    searched = status is not None
    if not searched and asked[0] is not None and asked[0].returncode != 128:  # 128: git itself says no
        status = _ask(folder, *_STATUS, "--untracked-files=no", timeout_s=limit_s)  # mostly the search hangs
    facts = None if status is None else _read_status(status)
    if facts is None:
        return None
    if not searched:
        del facts["untracked"], facts["untracked_count"]
    facts["remote"] = None if remotes is None else _remote(remotes.decode(errors="replace"))
    root = _root(folder)
    facts["root"] = None if root is None else str(root)
    return facts


def dirty_diff(
    folder: Path, limit_bytes: int = PATCH_LIMIT_BYTES, *, timeout_s: float | None = None
) -> bytes | None:
    """The patch from HEAD to the tracked files as they are, staged or not, binary ones too.

    `git apply` at the root reads it. None when nothing differs, and outside of a repository. A patch is kept whole or
    not at all.
    Raises: UsageError for one of more than `limit_bytes`; CommError when git has not ended after `timeout_s` seconds.
    """
    limit_s = _GIT_TIMEOUT_S if timeout_s is None else timeout_s
    process = _start(folder, *_DIFF)
    if process is None:
        return None
    patch = _answer(process, limit_s, limit_bytes)
    if patch is not None:
        return patch or None
    if process.returncode is not None and process.returncode > 0:  # no repository, no commit
        return None
    raise CommError(f"git diff in {folder} did not end within {limit_s} s; the changes are not recorded")


def _read_status(answer: bytes) -> dict[str, Any] | None:
    """The lines of ``git status --porcelain=v2 --branch -z``; a renamed entry is followed by its old name."""
    facts: dict[str, Any] = {"commit": None, "branch": None, "dirty": False}
    untracked: list[str] = []
    count = 0
    fields = iter(answer.decode(errors="replace").split("\0"))
    for line in fields:
        kind = line[:2]
        if line.startswith("# branch.oid "):
            facts["commit"] = line[13:]
        elif line.startswith("# branch.head "):
            facts["branch"] = "HEAD" if line[14:] == "(detached)" else line[14:]
        elif kind == "? ":
            count += 1
            if len(untracked) < UNTRACKED_LIMIT:
                untracked.append(line[2:])
        elif kind in ("1 ", "2 ", "u "):
            _, changes, submodule, _ = line.split(" ", 3)
            facts["dirty"] |= not (
                changes == ".M" and submodule == "S..U"
            )  # new files in a submodule are no change
            if kind == "2 ":
                next(fields, None)
    if facts["commit"] in (None, "(initial)"):
        return None
    return {**facts, "untracked": untracked, "untracked_count": count}


def _remote(answer: str) -> str | None:
    """The URL of ``origin``, else of the first remote, without user and password."""
    urls: dict[str, str] = {}
    for line in answer.splitlines():
        name, _, rest = line.partition("\t")
        urls.setdefault(name, rest.rpartition(" ")[0])
    url = urls.get("origin") or next(iter(urls.values()), None)
    return None if url is None else re.sub(r"//[^/]*@", "//", url)


def _root(folder: Path) -> Path | None:
    """The first folder upwards that has ``.git``: cheaper than to ask, and the same but with GIT_DIR set."""
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return place
    return None


# Processes: each has a deadline and a limit, and is ended with its children


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(  # the user's own git, from PATH
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",  # no SIGINT of the terminal, no question on it
        )
    except (OSError, ValueError):
        return None


def _ask(folder: Path, *arguments: str, timeout_s: float) -> bytes | None:
    process = _start(folder, *arguments)
    return None if process is None else _answer(process, timeout_s)


def _answer(
    process: subprocess.Popen[bytes], timeout_s: float, limit_bytes: int = _ANSWER_LIMIT_BYTES
) -> bytes | None:
    """All that the process writes; None when it fails or is too slow. Raises: UsageError for more than the limit."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    alarm = threading.Timer(timeout_s, _end, [process])
    alarm.daemon = True
    alarm.start()
    try:
        answer = _read(process.stdout, limit_bytes + 1)
        if len(answer) > limit_bytes:
            _end(process)
        code = process.wait()
    finally:
        alarm.cancel()
        process.stdout.close()
    if len(answer) > limit_bytes:
        raise UsageError(f"git wrote more than {limit_bytes} bytes; commit the changes to have them recorded")
    return answer if code == 0 and time.monotonic() < deadline else None


def _read(stream: IO[bytes], most_bytes: int) -> bytes:
    parts, left = [], most_bytes
    while left > 0 and (part := stream.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)  # its filters and helpers hold the pipe too
        else:
            process.kill()
    except OSError:
        pass  # ended already
