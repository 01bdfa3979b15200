"""`art://[[entity/]project/]name:alias/path`: artifacts as an fsspec file system, for pandas, pyarrow, DuckDB, polars.

Read-only. Only the bytes asked for are fetched, and verified. What is opened inside a run is recorded as its input.
fsspec finds the class by an entry point, so that nothing has to be imported. A name without alias or version means
``:latest``.

======  ==========================================================================================================
pandas  ``pd.read_csv("art://digits:latest/train.csv")``
pyarrow ``pq.read_table("digits:latest/t.parquet", filesystem=fsspec.filesystem("art"))``, or ``fsspec+art://…``
DuckDB  ``connection.register_filesystem(fsspec.filesystem("art"))``, then ``read_csv('art://…')``
polars  takes no file system that it does not know: ``pl.read_parquet(fsspec.open("art://…").open())``
======  ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsspec.spec import AbstractFileSystem

from ..artifacts.manifest import Entry
from ..artifacts.names import split_path
from ..artifacts.version import Version
from ..storage.errors import InvalidNameError, NotFoundError, UsageError
from .artifact import Artifact
from .settings import StoreChoice, find_settings
from .workspace import Workspace

_Info = dict[str, Any]


class ArtifactFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is published without types
    """Versions as folders of files.

    `store` and `project` are as for `lineart.init`; by default the current run's, else what the settings say.
    Raises: FileNotFoundError for what is not there; UsageError for an attempt to write.
    """

    protocol = "art"
    cachable = False  # what the settings say may change while a process runs
    root_marker = ""

    def __init__(self, store: str | None = None, project: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._store = store
        self._project = project
        self._opened: tuple[StoreChoice, Workspace] | None = None

    # What fsspec asks for

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What lies in a version, or in a folder of it; of the empty path the artifacts of the project in use."""
        path = _stripped(path)
        if not path:
            collections = self._workspace().project().state().collections
            found = [_folder(f"{name}:latest") for name in sorted(collections) if collections[name].aliases]
        else:
            name, version, inside = self._resolve(path)
            found = _children(name, version, inside)
            if not found:
                raise FileNotFoundError(f"{path}: is not in {version.name}")
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **options: Any) -> _Info:
        """Name, size, type and BLAKE3 digest of a file, or that it is a folder."""
        path = _stripped(path)
        if not path:
            return _folder("")
        name, version, inside = self._resolve(path)
        if not inside:
            return _folder(name)
        entry = version.manifest.get(inside)
        if entry is not None and entry.kind != "directory":
            return _file(name, entry)
        if entry is None and not any(other.startswith(f"{inside}/") for other in version.manifest):
            raise FileNotFoundError(f"{path}: is not in {version.name}")
        return _folder(f"{name}/{inside}")

    def checksum(self, path: str) -> int:
        """A number that differs when the content does."""
        info = self.info(path)
        return int(info["digest"][:15], 16) if info.get("digest") else hash(str(info))

    def created(self, path: str) -> Any:
        """When the version was logged."""
        import datetime

        _, version, _ = self._resolve(_stripped(path))
        return datetime.datetime.fromisoformat(version.state.created_at)

    modified = created

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **options: Any,
    ) -> Any:
        if mode != "rb":
            raise UsageError(f"art://{path}: mode {mode!r}; a version is immutable, log a new one instead")
        _, version, inside = self._resolve(path)
        if not inside:
            raise IsADirectoryError(f"art://{path}: names a version; expected a file in it")
        return self._artifact(version).open(self._checked(version, inside))

    # Names

    def _resolve(self, path: str) -> tuple[str, Version, str]:
        """The version's name as it was given, the version, and the path in it. Raises: FileNotFoundError."""
        workspace = self._workspace()
        try:
            name, inside = split_path(path)
            if ":" in path:
                return name, workspace.version(name), (inside or "").strip("/")
            parts = path.split("/")
            for end in range(1, min(len(parts), 3) + 1):  # the shortest name that there is
                name = "/".join(parts[:end])
                wanted = workspace.parse(name)
                if wanted.collection in workspace.project(wanted.project).state().collections:
                    return name, workspace.version(wanted), "/".join(parts[end:]).strip("/")
            return name, workspace.version(parts[0]), ""
        except (NotFoundError, InvalidNameError) as error:
            raise FileNotFoundError(f"art://{path}: {error}") from error

    def _checked(self, version: Version, inside: str) -> str:
        try:
            entry = version.entry(inside)
        except NotFoundError as error:
            raise FileNotFoundError(str(error)) from error
        if entry.kind == "directory":
            raise IsADirectoryError(f"{inside!r} of {version.name} is a folder; expected a file")
        return inside

    # The store

    def _workspace(self) -> Workspace:
        if self._store is None:
            run = _running()
            if run is not None:
                workspace: Workspace = run._workspace
                return (
                    workspace if self._project is None else Workspace(workspace.store, self._named(workspace))
                )
        settings = find_settings(store=self._store, project=self._project)
        if self._opened is None or self._opened[0] != settings:
            self._opened = settings, Workspace.open(settings)
        return self._opened[1]

    def _named(self, workspace: Workspace) -> Any:
        from ..artifacts.names import ProjectName

        return ProjectName.parse(self._project or "", workspace.project_name)

    def _artifact(self, version: Version) -> Artifact:
        """The handle to read from, recorded as used by the run that goes on in this store."""
        run = _running()
        if run is None or self._store is not None:
            return Artifact.of(self._workspace(), version)
        used: Artifact = run.use_artifact(str(version.name))
        return used


def _running() -> Any:
    """The current run while it can still use something."""
    from .session import current_run

    run = current_run()
    return run if run is not None and run.state == "running" else None


def _stripped(path: str) -> str:
    return str(ArtifactFileSystem._strip_protocol(path))


def _folder(name: str) -> _Info:
    return {"name": name, "size": 0, "type": "directory"}


def _file(name: str, entry: Entry) -> _Info:
    return {
        "name": f"{name}/{entry.path}",
        "size": entry.size_bytes,
        "type": "link" if entry.kind == "symlink" else "file",
        "digest": entry.digest,
    }


def _children(name: str, version: Version, inside: str) -> list[_Info]:
    """What stands directly below the folder `inside`; of a file the file itself."""
    manifest: Mapping[str, Entry] = version.manifest
    entry = manifest.get(inside)
    if entry is not None and entry.kind != "directory":
        return [_file(name, entry)]
    prefix = f"{inside}/" if inside else ""
    found: dict[str, _Info] = {}
    for path, below in manifest.items():
        if not path.startswith(prefix):
            continue
        child, slash, _ = path[len(prefix) :].partition("/")
        if slash or below.kind == "directory":
            found.setdefault(child, _folder(f"{name}/{prefix}{child}"))
        else:
            found[child] = _file(name, below)
    return list(found.values())
