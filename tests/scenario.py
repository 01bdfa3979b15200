"""What the tests of artifacts, lineage and tracking build: logs, drafts, runs that use and produce."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

import lineart
from lineart.artifacts import ArtifactName, Content, LogRequest, Project, ProjectName, ProjectState
from lineart.artifacts.decisions import decide_deletion, decide_log
from lineart.artifacts.state import apply
from lineart.lineage import Catalog
from lineart.storage.store import Store
from lineart.storage.transaction import Op, Transaction
from lineart.tracking import Workspace, find_settings

HOME = ProjectName("team", "digits")
OTHER = ProjectName("team", "letters")


# Stores and projects


def workspace(project: str = "team/digits") -> Workspace:
    """The test's own local store, made when it is not there yet."""
    return Workspace.open(find_settings(project=project), create=True)


def transaction(seq: int, *ops: Op, format: int = 1) -> Transaction:
    """Number `seq` of a log, at a time that follows from the number."""
    at = f"2026-01-01T{seq // 3600 % 24:02}:{seq // 60 % 60:02}:{seq % 60:02}.000000Z"
    return Transaction(seq, f"{seq:032x}", at, {"user": "ada", "host": "box"}, "0" * 64, ops, format)


# Ops and requests without bytes behind them


def digest(text: str) -> str:
    """What stands for content."""
    return blake3(text.encode()).hexdigest()


def request(collection: str, content: str = "", **labels: Any) -> LogRequest:
    """The wish to log `content`, of which only the digest exists."""
    packed = Content(digest(content or collection), len(content), 1, 0, ("a" * 64,), ("b" * 64,), None)
    return LogRequest(collection, labels.pop("type", "dataset"), packed, **labels)


class History:
    """Writes the log of one project as runs would, without files: what lineage reads."""

    def __init__(self, store: Store, name: ProjectName = HOME) -> None:
        self.project = Project(store, name)
        self.name = name
        self._numbers = itertools.count()

    def commit(self, *ops: Op) -> None:
        """Append facts as they are."""
        self.project.commit(lambda state: ops)

    def run(self, run: str, **fields: Any) -> str:
        """Start a run and return its id, with its project."""
        given = {"job_type": None, "group": None, "tags": [], "notes": None, "config": {}, "capture": {}}
        self.commit({"op": "run.start", "run": run, "name": f"name-of-{run}", **given, **fields})
        return f"{self.name}/{run}"

    def finish(self, run: str, state: str = "finished", **summary: Any) -> None:
        """End a run."""
        code = 0 if state == "finished" else 1
        self.commit(
            {
                "op": "run.finish",
                "run": run,
                "state": state,
                "exit_code": code,
                "summary": summary,
                "error": None,
            }
        )

    def use(self, run: str, version: str, role: str | None = None) -> None:
        """Record that `run` used ``[entity/project/]name:vN``."""
        name = ArtifactName.parse(version, self.name)
        number = int(name.reference[1:])
        fact = {"run": run, "collection": name.collection, "version": number, "role": role}
        self.commit({"op": "edge.use", "project": str(name.project), **fact})

    def used_by(self, run_project: ProjectName, run: str, version: str, role: str | None = None) -> None:
        """The mirror of a use by a run of another project."""
        name = ArtifactName.parse(version, self.name)
        fact = {"run": run, "collection": name.collection, "version": int(name.reference[1:]), "role": role}
        self.commit({"op": "edge.used_by", "project": str(run_project), **fact})

    def log(self, collection: str, content: str | None = None, **labels: Any) -> str:
        """Log content (new when None), usually with ``run=``; the full name of the version that has it."""
        text = f"{collection} {next(self._numbers)}" if content is None else content
        wish = request(collection, text, **labels)
        self.project.commit(lambda state: decide_log(state, wish))
        number = self.project.state().collections[collection].by_digest[wish.content.digest]
        return f"{self.name}/{collection}:v{number}"

    def delete(self, version: str) -> None:
        """Delete a version and its aliases."""
        name = ArtifactName.parse(version, self.name)
        self.project.commit(lambda state: decide_deletion(state, name, delete_aliases=True))


def catalog(*histories: History) -> Catalog:
    """The catalog of these projects."""
    return Catalog(histories[0].project.store, [history.name for history in histories])


def chain(history: History, length: int, *, batch: int = 500) -> None:
    """``step:v0`` → ``step:v1`` → …, each by a run of its own, in few transactions."""
    state, ops = ProjectState(), list[Op]()
    for number in range(length):
        run: dict[str, Any] = {"run": f"r{number}", "project": str(HOME), "collection": "step"}
        ops.append({"op": "run.start", "run": f"r{number}", "name": f"r{number}"})
        if number:
            ops.append({"op": "edge.use", **run, "version": number - 1, "role": None})
        made = decide_log(state, request("step", f"{number}", run=f"r{number}"))
        state = apply(state, transaction(0, *made))
        ops += made
        if number % batch == batch - 1 or number == length - 1:
            history.commit(*ops)
            ops = []


# Artifacts with real files


def write_tree(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below `folder` and return it."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def read_tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its text; of a link its target, of an empty folder ``<folder>``."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_text()
        elif not any(path.iterdir()):
            found[name] = "<folder>"
    return found


def draft(name: str, files: Mapping[str, str], type: str = "dataset", **fields: Any) -> lineart.Artifact:
    """A draft that holds these texts."""
    made = lineart.Artifact(name, type, **fields)
    for path, text in files.items():
        with made.new_file(path) as stream:
            stream.write(text)
    return made


def logged(name: str, files: Mapping[str, str], **fields: Any) -> lineart.Artifact:
    """A version with these texts, logged outside of a run."""
    made = draft(name, files, **fields)
    made.save()
    return made


def noise(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes that do not shrink, the same for the same seed."""
    return hashlib.shake_256(str(seed).encode()).digest(size_bytes)


def names(artifacts: Sequence[lineart.Artifact]) -> list[str]:
    """``collection:vN`` of each."""
    return [artifact.name for artifact in artifacts]


def facts(run: lineart.Run) -> dict[str, Any]:
    """What the catalog says of a run."""
    rows = workspace().catalog().records("SELECT * FROM runs WHERE run_id = ?", [run.path])
    (found,) = rows
    for key in ("config", "summary", "capture"):
        found[key] = json.loads(found[key]) if found[key] else None
    return found
