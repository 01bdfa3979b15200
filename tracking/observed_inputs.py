"""What a run has read below its data roots and did not declare: from what was observed to the op `run.inputs`.

A file that was read is *tracked* when its bytes (by digest) or its URI lie in a version that the run has used; when it
is gone at the end, its path below a folder into which such a version was downloaded is enough. What the run itself
wrote before it was read is no input. All others are untracked: they are recorded with path, size and digest.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..artifacts.names import ArtifactName
from ..artifacts.project import Project
from ..storage.errors import CommError, Error, IntegrityError, NotFoundError
from ..storage.restore import digest_of_file
from ..storage.statcache import Fingerprint, StatCache
from ..storage.transaction import Op
from .observing import OBSERVED
from .run_folder import RunFolder
from .run_log import uses_of
from .workspace import Workspace

_log = logging.getLogger("lineart")
MOST_LISTED = 1000  # inputs in one op
HASHED_FILES, HASHED_BYTES = (
    10_000,
    16 << 30,
)  # of those whose digest nobody knows yet; 16 GiB take about 10 s


@dataclass(frozen=True, slots=True)
class Read:
    """A file or URL as it was when it was read first. `mtime_ns` is None for a URL."""

    path: str
    size_bytes: int | None
    mtime_ns: int | None

    @property
    def is_url(self) -> bool:
        """Whether it is no local file."""
        return "://" in self.path


@dataclass(slots=True)
class Observed:
    """What the processes of a run have seen."""

    roots: list[str] = field(default_factory=list)
    home: str = ""
    reads: list[Read] = field(default_factory=list)
    downloads: list[tuple[str, str]] = field(default_factory=list)  # folder, version
    more: int = 0  # opens that were not noted, at least


def observed(logs: Iterable[bytes]) -> Observed | None:
    """Read what observers have written; None when nobody has observed. What is torn or forged is passed over.

    The first thing that was done to a file, by whichever process, says what it is: read, or written.
    """
    found, first, more = Observed(), dict[str, tuple[int, Mapping[str, Any]]](), dict[tuple[int, Any], int]()
    for number, data in enumerate(logs):
        for text in data.splitlines():
            try:
                line = orjson.loads(text)
                if "roots" in line:
                    found.roots, found.home = [str(root) for root in line["roots"]], str(line["home"])
                elif "download" in line:
                    found.downloads.append((str(line["download"]), str(line["version"])))
                elif "more" in line:
                    more[number, line["pid"]] = int(line["more"])
                elif "ended" in line:
                    more[number, "ended"] = 1  # what came after is unknown: at least one
                else:
                    key, then = str(line["read"] if "read" in line else line["written"]), int(line["t"])
                    if key not in first or then < first[key][0]:
                        first[key] = then, line
            except (ValueError, KeyError, TypeError):
                continue
    found.more = sum(more.values())
    for key, (_, line) in sorted(first.items()):
        if "read" in line:
            size, mtime = line.get("size"), line.get("mtime")
            found.reads.append(
                Read(key, size if isinstance(size, int) else None, mtime if isinstance(mtime, int) else None)
            )
    return found if found.roots else None


def observed_logs(folder: RunFolder, writers: Iterable[str]) -> list[bytes]:
    """What the observers of some writers have left in the run's folder."""
    logs = []
    for place in (place for writer in writers for place in folder.places(writer)):
        try:
            logs.append((place / OBSERVED).read_bytes())
        except FileNotFoundError:
            continue  # a run that does not observe
    return logs


def inputs_op(workspace: Workspace, project: Project, run: str, logs: Iterable[bytes]) -> Op | None:
    """The op `run.inputs`, None when nobody has observed. Raises: CommError when the store does not answer."""
    seen = observed(logs)
    if seen is None:
        return None
    try:
        return _inputs_op(workspace, project, run, seen)
    except CommError:
        raise  # as for all else that the end of a run brings home: it is tried again
    except Exception as error:  # a run must come to its end; that something is missing is told, and recorded
        _log.warning("run %s/%s: its inputs are not recorded (%s)", project.name, run, error)
        omitted = max(1, len(seen.reads) + seen.more)
        return {"op": "run.inputs", "run": run, "roots": seen.roots, "inputs": [], "omitted": omitted}


def _inputs_op(workspace: Workspace, project: Project, run: str, seen: Observed) -> Op:
    used = uses_of(project, run)
    contents = _Contents.of(workspace, used) if seen.reads else _Contents()
    digests = _digests(workspace.store.stat_cache, [read for read in seen.reads if not read.is_url])
    folders = [os.path.join(folder, "") for folder, version in seen.downloads if version in contents.names]
    inputs = []
    for read in seen.reads:
        digest = digests.get(read.path)
        if digest in contents.digests or contents.has_uri(read):
            continue
        was_downloaded = any(read.path.startswith(folder) for folder in folders)
        if was_downloaded and digest is None and not os.path.lexists(read.path):
            continue
        uri = read.path if read.is_url else _short(read.path, seen.home)
        inputs.append({"uri": uri, "size_bytes": read.size_bytes, "digest": digest})
    omitted = max(0, len(inputs) - MOST_LISTED) + seen.more
    if omitted:
        _log.warning(
            "run %s/%s: %s more untracked inputs than are recorded; log a folder of so many files as an artifact",
            project.name,
            run,
            f"{omitted:,}",
        )
    return {
        "op": "run.inputs",
        "run": run,
        "roots": seen.roots,
        "inputs": inputs[:MOST_LISTED],
        "omitted": omitted,
    }


@dataclass(slots=True)
class _Contents:
    """What lies in the versions that a run has used."""

    names: set[str] = field(default_factory=set)
    digests: set[str | None] = field(default_factory=set)
    uris: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, workspace: Workspace, names: Sequence[str]) -> _Contents:
        found = cls(set(names))
        for name in names:
            try:
                version = workspace.version(
                    ArtifactName.parse(name, workspace.project_name), deleted_too=True
                )
                for entry in version.manifest.values():
                    if entry.digest is not None:
                        found.digests.add(entry.digest)
                    if entry.kind == "reference" and entry.target is not None:
                        found.uris.add(entry.target)
            except (NotFoundError, IntegrityError) as error:
                _log.warning("inputs of %s are not looked for: %s", name, error)
        return found

    def has_uri(self, read: Read) -> bool:
        return (read.path if read.is_url else Path(read.path).as_uri()) in self.uris


def _digests(cache: StatCache, reads: Sequence[Read]) -> dict[str, str]:
    """By path the BLAKE3 of those files that are still what was read. The smallest are hashed first."""
    found: dict[str, str] = {}
    now: dict[str, Fingerprint] = {}
    for read in reads:
        try:
            stat = Fingerprint.of(os.stat(read.path))
        except (OSError, ValueError):
            continue
        if (stat.size_bytes, stat.mtime_ns) == (read.size_bytes, read.mtime_ns):
            now[read.path] = stat
    known = cache.lookup(list(now))
    unknown = []
    for path, stat in now.items():
        digest = known.digest(path, stat)
        if digest is None:
            unknown.append(path)
        else:
            found[path] = digest.hex()
    left, learned, seen_ns = HASHED_BYTES, list[tuple[str, Fingerprint, bytes]](), time.time_ns()
    for path in sorted(unknown, key=lambda path: now[path].size_bytes)[:HASHED_FILES]:
        left -= now[path].size_bytes
        if left < 0:
            break
        try:
            digest = digest_of_file(path, now[path])
            same = digest is not None and Fingerprint.of(os.stat(path)).same_content(now[path])
        except (Error, OSError):
            continue  # it went meanwhile, or may no longer be read: recorded without a digest
        if digest is not None and same:
            found[path] = digest.hex()
            learned.append((path, now[path], digest))
    if learned:
        cache.remember(learned, seen_ns=seen_ns)
    return found


def _short(path: str, home: str) -> str:
    """A path below the working folder is relative to it: the same on each machine that has a copy of the project."""
    return path[len(home) + 1 :] if home and path.startswith(os.path.join(home, "")) else path
