"""Comparing two versions deeply: the question of `lineage.deep_diff`, with the files of runs looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..artifacts.history import parse_full
from ..artifacts.names import ArtifactName
from ..artifacts.version import Version
from ..lineage.deep_diff import DeepDiff, diff_deeply
from ..storage.errors import NotFoundError
from .run_files import RunFiles
from .run_saving import files_of_run
from .workspace import Workspace

_TEXT_LIMIT_BYTES = 10_000_000


class _Saved:
    """What runs have saved, each run looked up once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._files: dict[str, RunFiles | None] = {}

    def paths(self, run: str) -> Sequence[str]:
        """The paths of a run's files; none of a run that is not here."""
        files = self._of(run)
        return [] if files is None else files.paths()

    def text(self, run: str, path: str) -> str:
        """The text of a file, or its beginning."""
        files = self._of(run)
        if files is None:
            return ""
        with files.open(path) as stream:
            return stream.read(_TEXT_LIMIT_BYTES).decode(errors="replace")

    def _of(self, run: str) -> RunFiles | None:
        if run not in self._files:
            project, _, run_id = run.rpartition("/")
            try:
                name = parse_full(f"{project}/x:v0").project
                self._files[run] = files_of_run(self._workspace, name, run_id)
            except NotFoundError:
                self._files[run] = None
        return self._files[run]


def compare_deeply(
    workspace: Workspace, before: Version, after: Version, *, repository: Path | None = None
) -> DeepDiff:
    """Compare two versions in all that is known of them; `repository` is a folder in a git repository, if any.

    Raises: NotFoundError, IntegrityError, CommError.
    """
    saved = _Saved(workspace)

    def version(name: ArtifactName) -> Version:
        return workspace.version(name, deleted_too=True)

    catalog = workspace.catalog()
    try:
        return diff_deeply(
            catalog,
            before,
            after,
            versions=version,
            paths=saved.paths,
            text=saved.text,
            repository=repository,
        )
    finally:
        catalog.close()
