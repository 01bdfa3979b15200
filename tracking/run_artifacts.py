"""What a run does with artifacts: uses them, logs them, and is recorded as their consumer and producer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ..artifacts.decisions import find_version
from ..artifacts.names import ArtifactName
from ..artifacts.project import Project
from ..artifacts.state import ProjectState
from ..storage.errors import UsageError
from ..storage.transaction import Op
from .artifact import Artifact
from .publishing import log_draft
from .workspace import Workspace

T = TypeVar("T")


class RunArtifacts:
    """The part of `Run` that is about artifacts; `Run` sets the attributes."""

    id: str
    _workspace: Workspace
    _project: Project
    _used: dict[tuple[str, str | None], None]

    def _demand_running(self, what: str) -> None:
        raise NotImplementedError

    def use_artifact(
        self, artifact_or_name: Artifact | str, type: str | None = None, role: str | None = None
    ) -> Artifact:
        """Declare an input, and get it. `role` says what it is to this run (``train``, ``test``, …).

        Raises: NotFoundError with the nearest names; UsageError when its type is not `type`; ArtifactNotLoggedError.
        """
        self._demand_running("use an artifact")
        if isinstance(artifact_or_name, Artifact):
            artifact, name = artifact_or_name, self._workspace.parse(artifact_or_name.qualified_name)
        else:
            version = self._workspace.version(artifact_or_name)
            artifact, name = Artifact.of(self._workspace, version), version.name
        if type is not None and artifact.type != type:
            raise UsageError(f"artifact {artifact.name} has type {artifact.type!r}, expected {type!r}")
        self._record_use(name, role)
        return artifact

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        derived_from: Sequence[Artifact | str] | None = None,
    ) -> Artifact:
        """Make a version of an artifact, or of the file or folder at a path; this run is recorded as its producer.

        `derived_from` names the inputs that this output was made from; without it all that the run has used so far
        count, and the edges are marked as run-level. Content that the collection has already makes no new version.
        Raises: those of `Artifact.add_file` and `add_dir`; UsageError for a type conflict; StoreError, CommError.
        """
        self._demand_running("log an artifact")
        artifact = (
            artifact_or_path
            if isinstance(artifact_or_path, Artifact)
            else _from_path(artifact_or_path, name or f"run-{self.id}-{Path(artifact_or_path).name}", type)
        )
        inputs = None
        if derived_from is not None:
            names = [self._input_name(source) for source in _listed(derived_from, "derived_from")]
            for source in names:
                self._record_use(source, None)
            inputs = [str(source) for source in names]
        log_draft(
            self._workspace,
            artifact,
            project=self._project.name,
            aliases=_listed(aliases, "aliases"),
            tags=_listed(tags, "tags"),
            run=self.id,
            derived_from=inputs,
        )
        return artifact

    def _record_use(self, name: ArtifactName, role: str | None) -> None:
        if (str(name), role) in self._used:
            return
        number = self._workspace.version(name, deleted_too=True).state.number
        version = {"collection": name.collection, "version": number, "role": role}
        project = str(name.project)

        def decide(state: ProjectState) -> list[Op]:
            if name.project == self._project.name:
                find_version(state, name)
            return [{"op": "edge.use", "run": self.id, "project": project, **version}]

        self._project.commit(decide)
        if name.project != self._project.name:
            mirrored = {"op": "edge.used_by", "run": self.id, "project": str(self._project.name), **version}
            self._workspace.project(name.project).commit(lambda state: [mirrored])
        self._used[str(name), role] = None

    def _input_name(self, source: Artifact | str) -> ArtifactName:
        if isinstance(source, Artifact):
            return self._workspace.parse(source.qualified_name)
        return self._workspace.version(source).name


def _from_path(path: str | os.PathLike[str], name: str, type: str | None) -> Artifact:
    if type is None:
        raise UsageError(f"log_artifact({os.fspath(path)!r}): pass type=, for example type='dataset'")
    artifact = Artifact(name, type)
    if os.path.isdir(path):
        artifact.add_dir(path)
    else:
        artifact.add_file(path)
    return artifact


def _listed(given: Sequence[T] | None, what: str) -> Sequence[T]:
    if isinstance(given, str):
        raise UsageError(f"{what} {given!r}: expected a list such as [{given!r}]")
    return given or ()
