"""A store of which something is deleted and collected, and what is left of it: for the tests of the collector."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lineart.artifacts.collecting import Collector, Outcome
from lineart.artifacts.names import ProjectName
from lineart.storage.store import Store
from lineart.tracking import Workspace
from lineart.tracking.artifact import Artifact
from lineart.tracking.links import delete_version
from lineart.tracking.publishing import log_draft

HOME = ProjectName("team", "p")
DAY_S = 86_400.0


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def another(workspace: Workspace, tmp_path: Path, name: str) -> Workspace:
    """The same store on a machine that knows nothing."""
    return Workspace(Store.open(workspace.url, cache=tmp_path / name), HOME)


def log(workspace: Workspace, tmp_path: Path, name: str, files: dict[str, bytes], **labels: Any) -> str:
    """Log files; the version."""
    artifact = Artifact(name, "data")
    for path, content in files.items():
        source = tmp_path / "in" / f"{len(content)}-{hash(content)}"
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(content)
        artifact.add_file(source, path)
    log_draft(workspace, artifact, **labels)
    return f"{name}:{artifact.version}"


def delete(workspace: Workspace, name: str) -> None:
    delete_version(workspace, workspace.parse(name))


def content(workspace: Workspace, name: str) -> dict[str, bytes]:
    """All files of a version, read byte by byte."""
    version = workspace.version(name)
    found = {}
    for path, entry in version.manifest.items():
        if entry.digest is not None:
            with version.open(path) as stream:
                found[path] = stream.read()
    return found


def packs(workspace: Workspace) -> set[str]:
    return set(workspace.store.pack_sizes())


def packs_of(workspace: Workspace, name: str) -> set[str]:
    return {pack.hex() for pack in workspace.version(name, deleted_too=True).packs} if name else set()


def collect(workspace: Workspace, **how: Any) -> list[Outcome]:
    return Collector(workspace.store, now_s=how.pop("now_s", Clock())).collect(**{"grace_s": 0.0, **how})
