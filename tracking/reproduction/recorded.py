"""From what a run has recorded to the way to make one of its versions anew."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...artifacts.history import parse_full, split_external
from ...artifacts.version import Version
from ...lineage import Catalog, why
from ...storage.errors import Error, NotFoundError
from ..run_files import RunFiles
from ..run_saving import files_of_run
from ..workspace import Workspace
from .plan import CLONE, PATCH, REQUIREMENTS, WORK, Code, Environment, Input, Place, Reproduction, started

# Variables that change what the same code computes. Others tell of the machine.
VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "TF_DETERMINISTIC_OPS", "TZ",
)  # fmt: skip
_GIT_TIMEOUT_S = 10
# What becomes a word of a command is what it should be, whatever a log says.
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_VERSION = re.compile(r"\d+(\.\d+)+\w*")


def find_reproduction(workspace: Workspace, version: Version, *, at: Path | None = None) -> Reproduction:
    """How to make `version` anew; of a link, its source. A git repository around `at` is used if it has the commit.

    Raises: NotFoundError, IntegrityError, CommError.
    """
    while version.state.source is not None:
        version = workspace.version(parse_full(version.state.source), deleted_too=True)
    catalog = workspace.catalog()
    try:
        return _Reader(workspace, catalog, version, at or Path.cwd()).read()
    finally:
        catalog.close()


class _Reader:
    def __init__(self, workspace: Workspace, catalog: Catalog, version: Version, at: Path) -> None:
        self.workspace = workspace
        self.catalog = catalog
        self.version = version
        self.at = at
        self.obstacles: list[str] = []
        self.notes: list[str] = []

    def read(self) -> Reproduction:
        found = why(self.catalog, str(self.version.name))
        common: dict[str, Any] = {
            "version": str(self.version.name),
            "digest": self.version.state.digest,
            "store": self.workspace.url,
            "made_at": self.version.state.created_at,
            "made_by": found.logged_by,
        }
        run = found.run
        if run is None:
            made_in = self.version.state.run
            reason = f"{self.version.name.short} was logged outside of a run; what made it is not recorded"
            if made_in is not None:
                reason = f"the run {made_in} that made {self.version.name.short} was deleted, or is not in this store"
            return Reproduction(**common, project=str(self.version.project), obstacles=(reason,))
        project, _, run_id = run.run_id.rpartition("/")
        files = files_of_run(self.workspace, parse_full(f"{project}/x:v0").project, run_id)
        paths = files.paths()
        start = started(run.capture, paths)
        self.obstacles += start.obstacles
        git: Mapping[str, Any] = run.capture.get("git") or {}
        code = self._code(git, paths, start.saved, run.run_id)
        code = replace(code, roots=_roots(run.capture, code.artifacts))
        place = Place(str(run.capture.get("folder") or "."), git.get("root"))
        folder = os.path.normpath(os.path.join(CLONE, place.below_root)) if code.commit else WORK
        for path in (folder, *(os.path.normpath(os.path.join(folder, item.target)) for item in code.saved)):
            if path.startswith(".."):
                self.obstacles.append(f"its code lies outside of the folder it ran in ({path})")
        self._tell_launchers(run.capture)
        self._tell_resumed(run.run_id)
        if code.commit is None and start.words[:1] == ("python",) and not start.saved and not code.artifacts:
            self.obstacles.append(
                "its code is neither in a git repository that can be had here nor saved with the run"
            )
        return Reproduction(
            **common,
            run=run.run_id,
            run_name=run.name,
            project=project,
            place=self._place(run.run_id),
            code=code,
            inputs=tuple(self._inputs(run.run_id)),
            environment=_environment(run.capture, files, paths),
            folder=folder,
            command=start.words,
            obstacles=tuple(self.obstacles),
            notes=tuple(self.notes),
        )

    def _place(self, run_id: str) -> int:
        made = self.catalog.rows(
            "SELECT p.version_id FROM productions p JOIN version_creations v USING (version_id)"
            " WHERE p.run_id = ? AND v.project = ? AND v.collection = ? ORDER BY p.position",
            [run_id, str(self.version.project), self.version.collection],
        )
        return [row[0] for row in made].index(str(self.version.name))

    # Code

    def _code(self, git: Mapping[str, Any], paths: Sequence[str], saved: Any, run_id: str) -> Code:
        artifacts = self.catalog.rows(
            "SELECT p.version_id FROM productions p JOIN versions v USING (version_id)"
            " WHERE p.run_id = ? AND v.type = 'code' AND NOT v.deleted ORDER BY p.position",
            [run_id],
        )
        kept = Code(saved=saved, artifacts=tuple(row[0] for row in artifacts))
        commit = str(git.get("commit") or "")
        if not _COMMIT.fullmatch(commit):
            return kept
        repository = repository_with(commit, [self.at, Path(git.get("root") or "/-")])
        remote = git.get("remote")
        if repository is None and remote is None:
            if saved or artifacts:
                self.notes.append(
                    f"commit {commit[:12]} cannot be had: no remote is recorded; the saved code is used"
                )
                return kept
            self.obstacles.append(
                f"commit {commit[:12]} cannot be had: no remote is recorded, and no repository here has it"
            )
        if git.get("dirty") and PATCH not in paths:
            self.obstacles.append("changes that were not committed were not saved with the run")
        known = {item.path.rpartition("/")[2] for item in saved}
        others = [path for path in git.get("untracked") or () if path.rpartition("/")[2] not in known]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            self.notes.append(
                f"files that git did not track may have been read and are not restored: {others[0]}{more}"
            )
        is_pushed = repository is None or remote is None or is_on_remote(repository, commit)
        if not is_pushed:
            self.notes.append(
                f"commit {commit[:12]} is on no branch of a remote; it is taken from {repository}"
            )
        return Code(
            commit=commit,
            is_pushed=is_pushed,
            remote=remote,
            repository=None if repository is None else str(repository),
            has_patch=PATCH in paths,
            saved=saved,
            artifacts=kept.artifacts,
        )

    def _tell_launchers(self, capture: Mapping[str, Any]) -> None:
        launchers = capture.get("launchers") or {}
        if launchers:
            names = ", ".join(sorted(map(str, launchers)))
            self.notes.append(
                f"the process was started by {names}; the command here starts it once, by itself"
            )

    def _tell_resumed(self, run_id: str) -> None:
        joined = self.catalog.rows(
            "SELECT 1 FROM run_events j WHERE run_id = ? AND event = 'run.join' AND EXISTS ("
            "FROM run_events e WHERE e.run_id = j.run_id AND e.event = 'run.finish' AND e.position < j.position)",
            [run_id],
        )
        if joined:
            self.notes.append("the run was resumed after it had ended; only its last command is known")

    # Inputs

    def _inputs(self, run_id: str) -> list[Input]:
        """What the run has used of others: what it had made itself before, the command makes again."""
        used = self.catalog.rows(
            "SELECT version_id, role, time, position FROM edges WHERE kind = 'used' AND run_id = ? ORDER BY position",
            [run_id],
        )
        produced = dict(
            self.catalog.rows("SELECT version_id, is_new FROM productions WHERE run_id = ?", [run_id])
        )
        inputs: list[Input] = []
        led: dict[tuple[str, str], str] = {}  # collection, alias → the version that it led to first
        for name, role, time, position in used:
            origin, plain = split_external(name)
            if origin is not None:
                self.obstacles.append(
                    f'input {plain} lies in another store; fetch it from there with "art pull"'
                )
                continue
            if produced.get(name):
                continue
            fault = self._fault(name)
            if fault:
                self.obstacles.append(f"input {name} {fault}")
            collection, _, version = name.rpartition(":")
            first = []
            for alias in self._aliases(name, run_id, time, position):
                known = led.setdefault((collection, alias), version)
                if known == version:
                    first.append(alias)
                elif name not in produced:
                    self.notes.append(
                        f"alias {alias} of {collection.rpartition('/')[2]} moved from {known} to {version} during"
                        f" the run; here it leads to {known} as long as the command does not move it"
                    )
            inputs.append(Input(name=name, role=role, aliases=tuple(first)))
        return inputs

    def _fault(self, name: str) -> str:
        try:
            found = self.workspace.version(parse_full(name), deleted_too=True)
        except NotFoundError:
            return "is not in this store"
        if found.state.absent:
            return 'was left in another store; fetch it from there with "art pull"'
        return 'was deleted; "art undelete" may bring it back' if found.state.deleted else ""

    def _aliases(self, name: str, run_id: str, time: datetime.datetime, position: int) -> tuple[str, ...]:
        """Those that pointed to the version when the run used it: by the log's order, across projects by the clock."""
        parsed = parse_full(name)
        project, _, version = name.rpartition("/")
        is_ours = run_id.rpartition("/")[0] == project
        moves = self.catalog.rows(
            "SELECT alias, arg_max(struct_pack(v := to_version), position).v FROM alias_moves"
            " WHERE project = ? AND collection = ? AND CASE WHEN ? THEN position < ? ELSE time::TIMESTAMP <= ? END"
            " GROUP BY alias ORDER BY alias",
            [project, parsed.collection, is_ours, position, time],
        )
        return tuple(alias for alias, number in moves if f"v{number}" == version.rpartition(":")[2])


def _roots(capture: Mapping[str, Any], artifacts: Sequence[str]) -> dict[str, str]:
    """Where the code lay that was logged: what the run has noted, in the order in which it logged."""
    noted = capture.get("code_roots")
    if not isinstance(noted, list):
        return {}
    known: dict[str, list[str]] = {}
    for place in noted:
        if isinstance(place, dict):
            known.setdefault(str(place.get("name")), []).append(str(place.get("root")))
    made: dict[str, list[str]] = {}
    for name in artifacts:
        made.setdefault(parse_full(name).collection, []).append(name)
    return {
        name: root
        for collection, names in made.items()
        if len(names) == len(known.get(collection, ()))  # else one was deleted: which, is not known
        for name, root in zip(names, known[collection], strict=True)
    }


def _environment(capture: Mapping[str, Any], files: RunFiles, paths: Sequence[str]) -> Environment:
    lines: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    if REQUIREMENTS in paths:
        lines = tuple(_read(files, REQUIREMENTS).splitlines())
    if "environment.json" in paths:
        try:
            known = json.loads(_read(files, "environment.json"))
        except ValueError:
            known = {}
        variables = {name: str(known[name]) for name in VARIABLES if name in known}
    python = str(capture.get("python") or "")
    return Environment(
        python=python if _VERSION.fullmatch(python) else None, requirements=lines, variables=variables
    )


def _read(files: RunFiles, path: str) -> str:
    with files.open(path) as stream:
        return stream.read().decode(errors="replace")


def repository_with(commit: str, places: Sequence[Path]) -> Path | None:
    """The root of the first git repository around one of `places` that has `commit`."""
    for place in places:
        root = git_answer(place, "rev-parse", "--show-toplevel")
        if root and git_answer(Path(root), "cat-file", "-t", f"{commit}^{{commit}}") == "commit":
            return Path(root)
    return None


def is_on_remote(repository: Path, commit: str) -> bool:
    """Whether a branch of a remote, as it was when the repository last asked for it, has the commit."""
    return git_answer(repository, "branch", "-r", "--contains", commit) != ""


def git_answer(place: Path, *arguments: str) -> str | None:
    """What git prints, without the last newline; None when it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(place), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").rstrip("\n") if done.returncode == 0 else None


def last_line(error: Error | str) -> str:
    """The last line of a text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
