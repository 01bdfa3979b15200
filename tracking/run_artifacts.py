"""What a run does with artifacts: uses them, logs them, links them, and is recorded as their consumer and producer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..artifacts.decisions import find_version
from ..artifacts.names import ArtifactName
from ..artifacts.state import ProjectState
from ..storage.errors import UsageError
from ..storage.transaction import Op
from .artifact import Artifact
from .links import link_version, parse_target, registered_model
from .publishing import log_draft
from .run_saving import RunSaving, artifact_name
from .upsert import checked_distributed_id, contribute, finish, new_writer

if TYPE_CHECKING:
    from .dispatch import Dispatch

T = TypeVar("T")

MODEL_TYPE = "model"


class RunArtifacts(RunSaving):
    """The part of `Run` that is about artifacts; `Run` sets the attributes."""

    _used: dict[tuple[str, str | None], None]

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
            self._flush()
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
        """Make a version of an artifact, or of the file, folder or URI; this run is recorded as its producer.

        `derived_from` names the inputs that this output was made from; without it all that the run has used so far
        count, and the edges are marked as run-level. Content that the collection has already makes no new version.
        On a remote store this returns when the snapshot is safe on this machine: upload and commit follow, and what
        needs them (`Artifact.version`, `use_artifact`, `finish`) waits. What a crash leaves here is sent by the next
        run or ``art sync``.
        Raises: those of `Artifact.add_file` and `add_dir`; UsageError for a type conflict; StoreError, CommError.
        """
        self._demand_running("log an artifact")
        artifact = self._given_or_made(artifact_or_path, name, type, "log_artifact")
        inputs = None
        if derived_from is not None:
            names = [self._input_name(source) for source in _listed(derived_from, "derived_from")]
            for source in names:
                self._record_use(source, None)
            inputs = [str(source) for source in names]
        labels: dict[str, Any] = {
            "project": self._project.name,
            "aliases": _listed(aliases, "aliases"),
            "tags": _listed(tags, "tags"),
            "run": self.id,
            "derived_from": inputs,
            "step": self._last_step(),
        }
        if self._dispatch is not None:
            self._dispatch.log(artifact, **labels)
        else:
            log_draft(self._workspace, artifact, **labels)
        return artifact

    @cached_property
    def _dispatch(self) -> Dispatch | None:
        """Sends what is logged; None for a store that takes it at once."""
        if not self._workspace.store.is_remote:
            return None
        from .dispatch import Dispatch

        return Dispatch(self._workspace) if Dispatch.serves(self._workspace) else None

    def _flush(self) -> None:
        """Wait for what is on its way: a name may mean it."""
        if self.__dict__.get("_dispatch") is not None:
            self.__dict__["_dispatch"].flush()

    # One version from many workers

    def upsert_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Add files to a version that several runs make together; `finish_artifact` makes it, this stays a draft.

        Contributions of all runs of this project with the same artifact name and `distributed_id` (default: the run's
        group) become one version. When this returns, no crash loses the contribution. Calling it again adds to what
        this run object has contributed, and replaces paths of its own.
        Raises: UsageError without group and `distributed_id`, or for a type conflict; those of `log_artifact`.
        """
        self._demand_running("upsert an artifact")
        gathered = self._distributed_id(distributed_id)
        artifact = self._given_or_made(artifact_or_path, name, type, "upsert_artifact")
        self._contribute(artifact, gathered, _listed(aliases, "aliases"))
        return artifact

    def finish_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Make the version of all that `upsert_artifact` calls have contributed, and of the files given here.

        Every run that contributed is recorded as its producer. What is contributed later makes a new version when that
        is finished; when nothing was since the last call, the version made then is returned.
        Raises: UsageError when nothing was contributed, or one path with different bytes (naming both).
        """
        self._demand_running("finish an artifact")
        gathered = self._distributed_id(distributed_id)
        artifact = self._given_or_made(artifact_or_path, name, type, "finish_artifact")
        labels = _listed(aliases, "aliases")
        if len(artifact.draft):
            self._contribute(artifact, gathered, ())
        finish(
            self._workspace,
            artifact,
            project=self._project,
            distributed_id=gathered,
            run=self.id,
            aliases=labels,
            step=self._last_step(),
        )
        return artifact

    def _contribute(self, artifact: Artifact, distributed_id: str, aliases: Sequence[str]) -> None:
        pid = os.getpid()
        contribute(
            self._workspace,
            artifact,
            project=self._project,
            distributed_id=distributed_id,
            run=self.id,
            writer=self._writers.setdefault(pid, new_writer()),
            aliases=aliases,
        )

    @cached_property
    def _writers(self) -> dict[int, str]:
        """By process: a fork of this run's process is a worker of its own."""
        return {}

    def _distributed_id(self, given: str | None) -> str:
        run: Any = self  # `Run` says what `group` is
        return checked_distributed_id(given, run.group, self.id)

    # Links and models

    def link_artifact(
        self, artifact: Artifact | str, target_path: str, aliases: Sequence[str] | None = None
    ) -> Artifact:
        """Show a version in another collection, ``[[entity/]project/]name``, with aliases of its own there; that link.

        A draft is logged first. The collection is made when it is missing; linking the same version again only moves
        `aliases`.
        Raises: NotFoundError; UsageError for a collection of another type or its own; InvalidNameError.
        """
        self._demand_running("link an artifact")
        labels = _listed(aliases, "aliases")
        parse_target(self._workspace, target_path)  # a bad name is told before anything is logged
        if isinstance(artifact, Artifact):
            if artifact.is_draft():
                self.log_artifact(artifact)
            name = self._workspace.parse(artifact.qualified_name)
        else:
            self._flush()
            name = self._workspace.version(artifact).name
        link = link_version(self._workspace, name, target_path, labels, run=f"{self._project.name}/{self.id}")
        return Artifact.of(self._workspace, link)

    def log_model(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Log the file or folder at `path` as an artifact of type ``model``, by default ``run-<id>-<file name>``."""
        return self.log_artifact(path, name=name, type=MODEL_TYPE, aliases=aliases)

    def use_model(self, name: str) -> str:
        """Declare a model as an input and download it: the path of its file, or of its folder when it has several.

        Raises: NotFoundError; UsageError when its type is not a kind of model; those of `Artifact.download`.
        """
        self._demand_running("use a model")
        self._flush()
        version = self._workspace.version(name)
        if MODEL_TYPE not in version.type:
            raise UsageError(
                f"artifact {version.name.short} has type {version.type!r}, expected one with {MODEL_TYPE!r} in it;"
                " use_artifact() takes any"
            )
        artifact = self.use_artifact(str(version.name))
        folder, files = artifact.download(), artifact.files()
        return os.path.join(folder, files[0]) if len(files) == 1 else folder

    def link_model(
        self,
        path: str | os.PathLike[str],
        registered_model_name: str,
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Log the file or folder at `path` as a model, and link it as ``model-registry/<registered_model_name>``.

        `aliases` are those of the link, which is returned. Raises: those of `log_model` and `link_artifact`.
        """
        self._demand_running("link a model")
        target = registered_model(self._project.name.entity, registered_model_name)
        parse_target(self._workspace, target)
        return self.link_artifact(self.log_model(path, name), target, aliases)

    # What was used

    def _config_artifact(self, value: Any) -> dict[str, Any] | None:
        """The JSON of an artifact in the config, whose use is recorded once the run has begun; None for anything else.

        Raises: ArtifactNotLoggedError for a draft.
        """
        if not isinstance(value, Artifact):
            return None
        name = self._workspace.parse(value.qualified_name)
        self._config_uses.append(name)
        if "_files" in self.__dict__:  # set when the run has begun
            self._record_config_uses()
        return {"_type": "artifactVersion", "name": str(name), "digest": value.digest}

    def _record_config_uses(self) -> None:
        """Record the artifacts that were in the config before the run began."""
        while self._config_uses:
            self._record_use(self._config_uses.pop(0), None)

    @cached_property
    def _config_uses(self) -> list[ArtifactName]:
        return []

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
        self._flush()
        return self._workspace.version(source).name

    def _last_step(self) -> int | None:
        step = getattr(self, "step", 0)  # of the next row of the history
        return step - 1 if step else None

    def _given_or_made(
        self, given: Artifact | str | os.PathLike[str], name: str | None, type: str | None, what: str
    ) -> Artifact:
        if isinstance(given, Artifact):
            return given
        path = os.fspath(given)
        if type is None:
            raise UsageError(f"{what}({path!r}): pass type=, for example type='dataset'")
        last = Path(path.rstrip("/") if "://" in path else os.path.abspath(path)).name
        artifact = Artifact(name or artifact_name(f"run-{self.id}-{last}"), type)
        if "://" in path:
            artifact.add_reference(path)
        elif os.path.isdir(path):
            artifact.add_dir(path)
        else:
            artifact.add_file(path)
        return artifact


def _listed(given: Sequence[T] | None, what: str) -> Sequence[T]:
    if isinstance(given, str):
        raise UsageError(f"{what} {given!r}: expected a list such as [{given!r}]")
    return given or ()
