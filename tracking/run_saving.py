"""Single files of a run: `save` keeps them with it, `restore` gets them back, `log_code` makes the code an artifact."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..artifacts.names import ProjectName, check_name
from ..artifacts.paths import check_path
from ..artifacts.project import Project
from ..storage.errors import InvalidNameError, NotFoundError
from ..storage.restore import target_error
from .artifact import Artifact
from .code_files import code_files
from .saved_files import Policy, SavedFiles
from .workspace import Workspace

if TYPE_CHECKING:
    from .run_files import RunFiles


class RunSaving:
    """The part of `Run` that is about single files; `Run` sets the attributes."""

    id: str
    _workspace: Workspace
    _project: Project

    def _demand_running(self, what: str) -> None:
        raise NotImplementedError

    @property
    def _saved(self) -> SavedFiles:
        """What `save` watches; a fork begins with nothing, since its parent's files are the parent's to save."""
        run: Any = self  # `Run` says what `dir` and `_files` are
        known: SavedFiles | None = self.__dict__.get("_saved_files")
        if known is None or known.pid != os.getpid():
            known = SavedFiles(lambda: run._files, lambda: os.fspath(run.dir))
            self.__dict__["_saved_files"] = known
        return known

    def save(
        self,
        glob: str | os.PathLike[str],
        base_path: str | os.PathLike[str] | None = None,
        policy: Policy = "live",
    ) -> list[str]:
        """Keep the files that match a pattern (``**``: any folders) with the run; where their copies are, or will be.

        A file's path in the run is the one below `base_path`, which is the current folder for a relative pattern and
        the folder before the first wildcard for an absolute one. `policy`: ``now`` copies once, ``live`` also whenever
        a file changes or a new one matches, ``end`` when the run ends. Warns when nothing matches.
        Raises: UsageError for a pattern outside of `base_path`; InvalidPathError.
        """
        self._demand_running("save files")
        run: Any = self
        found = self._saved.add(os.fspath(glob), base_path, policy)
        return [os.path.join(os.fspath(run.dir), path) for path in found]

    def restore(
        self,
        name: str,
        run_path: str | None = None,
        replace: bool = False,
        root: str | os.PathLike[str] | None = None,
    ) -> IO[str]:
        """Fetch a file of this run, or of ``[[entity/]project/]run``, below `root`; the local file, open for reading.

        `root` is the run's own folder by default. A file that is there already is taken as it is unless `replace`.
        Raises: NotFoundError with the nearest names; InvalidPathError; StoreError, CommError.
        """
        run: Any = self
        place = os.fspath(run.dir) if root is None else root
        path = f"{self._project.name}/{self.id}" if run_path is None else run_path
        return restore_file(self._workspace, name, path, replace=replace, root=place)

    def log_code(
        self,
        root: str | os.PathLike[str] = ".",
        name: str | None = None,
        include_fn: Callable[[str], bool] | Callable[[str, str], bool] | None = None,
        exclude_fn: Callable[[str], bool] | Callable[[str, str], bool] | None = None,
    ) -> Artifact | None:
        """Log the code below `root` as an artifact of type ``code``; None when there is none.

        By default that is all Python files and notebooks that git does not ignore, without virtual environments.
        `include_fn` and `exclude_fn` are asked for a file's absolute path, or for that and the absolute root.
        Raises: NotFoundError, InvalidNameError; those of `log_artifact`.
        """
        self._demand_running("log code")
        chosen = check_name(name, "artifact name") if name is not None else self._code_name()
        artifact = Artifact(chosen, "code")
        for path, full in code_files(os.fspath(root), include_fn, exclude_fn):
            artifact.add_file(full, path)
        if not artifact.files():
            return None
        run: Any = self  # `RunArtifacts` has it
        logged: Artifact = run.log_artifact(artifact)
        run._capture.note_code(chosen, os.fspath(root))
        return logged

    def _code_name(self) -> str:
        program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
        return artifact_name(
            "-".join(part for part in ("source", self._project.name.project, program) if part)
        )


def artifact_name(text: str) -> str:
    """`text` as it may name an artifact: other characters become ``-``, what is too long loses its middle.

    >>> artifact_name("run-1-my model (2).bin")
    'run-1-my-model--2-.bin'
    """
    name = re.sub(r"[^A-Za-z0-9_.\-]", "-", text)
    return name if len(name) <= 128 else f"{name[:63]}-{name[-64:]}"


def restore_file(
    workspace: Workspace,
    name: str,
    run_path: str,
    *,
    replace: bool = False,
    root: str | os.PathLike[str] = ".",
) -> IO[str]:
    """See `Run.restore`. Raises: NotFoundError, InvalidPathError, StoreError, CommError."""
    target = Path(os.path.abspath(root)) / check_path(name)
    if target.is_file() and not replace:
        return target.open(encoding="utf-8")
    project, run = parse_run_path(workspace, run_path)
    files = files_of_run(workspace, project, run)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.open(name) as source:
            handle, temporary = tempfile.mkstemp(prefix=".lineart-", suffix=".part", dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as written:
                    shutil.copyfileobj(source, written, 256 * 1024)
                os.chmod(temporary, 0o644)
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise target_error(str(target), error) from error
    return target.open(encoding="utf-8")


def parse_run_path(workspace: Workspace, text: str) -> tuple[ProjectName, str]:
    """Read ``[[entity/]project/]run``, also with ``runs/`` before the run. Raises: InvalidNameError."""
    parts = text.strip("/").split("/")
    if len(parts) > 2 and parts[-2] == "runs":
        del parts[-2]
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidNameError(f"run path {text!r}: expected [[entity/]project/]run")
    default = workspace.project_name
    project = ProjectName.parse("/".join(parts[:-1]), default) if len(parts) > 1 else default
    return project, check_name(parts[-1], "run id")


def files_of_run(workspace: Workspace, project: ProjectName, run: str) -> RunFiles:
    """The files of a run, running or ended. Raises: NotFoundError when there is no such run."""
    from .run_files import RunFiles
    from .run_folder import RunFolder
    from .run_log import read_run

    record = read_run(workspace.project(project), run)
    if record is None:
        raise NotFoundError(f"run {project}/{run} does not exist; check entity, project and id")
    folder = RunFolder.of(workspace.store, project, run, workspace.data)
    return RunFiles(workspace.store, project, run, list(record.files), folder)
