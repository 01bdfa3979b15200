"""Paths inside an artifact: relative, POSIX, safe to write on any machine.

Checked when a manifest is written and when it is read: a hostile manifest cannot name a file outside its target.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping

from ..storage.errors import InvalidPathError

MAX_BYTES = 4096
MAX_PART_BYTES = 255
# Nearly all paths are of this kind and need no closer look: one match instead of a loop over the parts.
_PLAIN = re.compile(
    r"(?!\.\.?(?:/|\Z))[\w.@+=, \-]{1,63}(?:/(?!\.\.?(?:/|\Z))[\w.@+=, \-]{1,63}){0,15}\Z", re.ASCII
)
_DRIVE = re.compile(r"[A-Za-z]:")


def check_path(path: object) -> str:
    """Return `path` if it may stand in a manifest. Raises: InvalidPathError naming path and reason.

    >>> check_path("train/0.png")
    'train/0.png'
    >>> check_path("../secret")
    Traceback (most recent call last):
    lineart.storage.errors.InvalidPathError: path '../secret': has a part '..'; expected parts joined by '/' ...
    """
    if not isinstance(path, str):
        raise InvalidPathError(f"path {path!r}: expected text")
    if _PLAIN.match(path):
        return path
    reason = _fault(path)
    if reason:
        raise InvalidPathError(
            f"path {_shown(path)}: {reason}; expected parts joined by '/' that stay inside the artifact"
        )
    return path


def _shown(path: str) -> str:
    text = ascii(path) if not path.isprintable() else repr(path)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(path)} characters)"


def _fault(path: str) -> str:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if not path or size > MAX_BYTES:
        return f"has {size} bytes, expected 1 to {MAX_BYTES}"
    if "\0" in path or "\\" in path:
        return "has a NUL or a backslash"
    if _DRIVE.match(path):
        return "starts with a drive"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"has a part {part!r}" if part else "is absolute or has an empty part"
        if len(part) > MAX_PART_BYTES // 4 and len(part.encode()) > MAX_PART_BYTES:
            return f"has a part of more than {MAX_PART_BYTES} bytes"
    return ""


def check_link(path: str, target: str) -> str:
    """Return the `target` of the symbolic link `path` if it stays inside the artifact. Raises: InvalidPathError."""
    if (
        not isinstance(target, str)
        or not target
        or "\0" in target
        or target.startswith("/")
        or "\\" in target
    ):
        raise InvalidPathError(f"link {path!r} to {target!r}: expected a relative target")
    depth = path.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            raise InvalidPathError(f"link {path!r} to {target!r}: points outside the artifact")
    return target


def check_links(links: Mapping[str, str]) -> None:
    """Check the targets of all links of a manifest, each by itself fine already, together. Raises: InvalidPathError.

    ``..`` behind another link means a folder above where that one leads, which may lie outside of the artifact.
    """
    for path, target in links.items():
        at = path.split("/")[:-1]
        through = None
        for part in target.split("/"):
            if part == ".." and through is not None:
                raise InvalidPathError(
                    f"link {path!r} to {target!r}: goes back ('..') behind the link {through!r};"
                    " name its target without that detour"
                )
            if part == "..":
                at.pop()
            elif part not in ("", "."):
                at.append(part)
            if "/".join(at) in links:
                through = "/".join(at)


def check_together(paths: Collection[str]) -> None:
    """Check that the well-formed `paths` can stand in one manifest. Raises: InvalidPathError naming both.

    - No path goes through another entry: not ``a`` and ``a/b``.
    - No two are equal after Unicode NFC normalisation: file systems and people take them for one.
    """
    entries = paths if isinstance(paths, (set, frozenset, dict)) else set(paths)
    folders: set[str] = set()
    for path in entries:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            if folder in entries:
                raise InvalidPathError(
                    f"paths {folder!r} and {path!r}: one is a folder of the other and an entry itself"
                )
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    _check_twins(
        entries, lambda path: path if path.isascii() else unicodedata.normalize("NFC", path), "Unicode form"
    )


def check_portable(paths: Collection[str]) -> None:
    """Check that `paths` can also be written where case does not count (macOS, Windows). Raises: InvalidPathError."""
    _check_twins(paths, lambda path: unicodedata.normalize("NFC", path).casefold(), "upper and lower case")


def _check_twins(paths: Collection[str], fold: Callable[[str], str], difference: str) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(fold(path), path)
        if other is not path and other != path:
            first, second = sorted((other, path))
            raise InvalidPathError(
                f"paths {first!r} and {second!r} ({first!a} and {second!a}) differ only in {difference};"
                " rename one"
            )
