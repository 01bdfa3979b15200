"""`ApiRun`: one run, read back; some of what is said about it can be changed."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..artifacts.names import check_name, nearest
from ..artifacts.paths import check_path
from ..artifacts.recorded import shown
from ..storage.errors import NotFoundError, UsageError
from .api_files import RunFile
from .run_query import RunReader
from .run_records import RUNNING, RunRecord, document, parse_time
from .values import DELETED, plain

if TYPE_CHECKING:
    from ..lineage.untracked import UntrackedInputs
    from .artifact import Artifact
    from .metrics.history import RunHistory

Stream = Literal["default", "system"]
_POLL_S = 1.0
_HEADS = ("_step", "_timestamp", "_runtime")


class SummaryView(dict[str, Any]):
    """A run's results; what is changed here is written by `update`, of this or of the run."""

    def __init__(self, values: Mapping[str, Any], commit: Callable[[], None]) -> None:
        super().__init__(values)
        self._commit = commit

    def update(self, values: Any = (), /) -> None:  # type: ignore[override]
        """Set these values and write all changes, as the W&B SDK does. Raises: UsageError, StoreError, CommError."""
        super().update(values)
        self._commit()


class ApiRun:
    """A run as a reader of the store sees it; made by `Api.run` and `Api.runs`.

    Config, summary, tags, name, notes and group can be changed; `update` writes what was changed.

    >>> import lineart
    >>> with lineart.init(project="docs", id="first", config={"depth": 3}) as run:
    ...     run.log({"accuracy": 0.9})
    >>> found = lineart.Api().run("docs/first")
    >>> found.state, found.config["depth"], found.summary["accuracy"]
    ('finished', 3, 0.9)
    """

    name: str  # the display name
    tags: list[str]
    notes: str | None
    group: str | None

    def __init__(self, reader: RunReader, record: RunRecord) -> None:
        self._reader = reader
        self._workspace = reader.workspace
        self._take(record)

    def _take(self, record: RunRecord) -> None:
        self._record = record
        self.name, self.notes, self.group = record.name, record.notes, record.group
        self.tags = list(record.tags)
        self._config: dict[str, Any] | None = None  # copied when asked for: of a thousand runs most are not
        self._summary: SummaryView | None = None

    # What it is

    @property
    def config(self) -> dict[str, Any]:
        """Its settings; a change is written by `update`."""
        if self._config is None:
            values: dict[str, Any] = _copied(shown(self._record.config))
            self._config = values
        return self._config

    @property
    def summary(self) -> SummaryView:
        """Its results; a change is written by `update`."""
        if self._summary is None:
            self._summary = SummaryView(_copied(shown(self._record.summary)), self.update)
        return self._summary

    @property
    def id(self) -> str:
        """The id, unique in its project."""
        return self._record.id

    @property
    def entity(self) -> str:
        """The entity's name."""
        return self._record.project.entity

    @property
    def project(self) -> str:
        """The project's name."""
        return self._record.project.project

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self.id]

    @property
    def qualified_name(self) -> str:
        """``entity/project/id``."""
        return self._record.path

    @property
    def url(self) -> str:
        """Where the run lies: the store's address and the run's path."""
        return f"{self._workspace.url}#{self.qualified_name}"

    @property
    def display_name(self) -> str:
        """The name, which need not be unique."""
        return self.name

    @display_name.setter
    def display_name(self, name: str) -> None:
        self.name = name

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``failed`` or ``crashed``; as of when it was read, see `load`."""
        return self._record.state

    @property
    def job_type(self) -> str | None:
        """What kind of work it did, such as ``train``."""
        return self._record.job_type

    @property
    def created_at(self) -> str:
        """When it started, RFC 3339 in UTC."""
        return self._record.created_at

    @property
    def finished_at(self) -> str | None:
        """When it ended, RFC 3339 in UTC; None before."""
        return self._record.finished_at

    @property
    def heartbeat_at(self) -> str | None:
        """Its last sign of life, RFC 3339 in UTC."""
        return self._record.heartbeat_at

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end or last sign of life."""
        return self._record.duration_s

    @property
    def user(self) -> str | None:
        """Who ran it."""
        return self._record.user

    @property
    def host(self) -> str | None:
        """The machine that it ran on."""
        return self._record.host

    @property
    def exit_code(self) -> int | None:
        """0 when it finished; None while it runs."""
        return self._record.exit_code

    @property
    def error(self) -> str | None:
        """The traceback of what ended it."""
        return self._record.error

    @property
    def metadata(self) -> dict[str, Any]:
        """What was captured: command, git, Python, host, packages."""
        captured: dict[str, Any] = _copied(self._record.capture)
        return captured

    @property
    def summary_metrics(self) -> dict[str, Any]:
        """The results as a plain dictionary."""
        return dict(self.summary)

    def document(self) -> Mapping[str, Any]:
        """What filters and orders look at: JSON as the log has it."""
        return document(self._record)

    # Its history

    def history(
        self,
        samples: int = 500,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: Stream = "default",
    ) -> Any:
        """Its metrics as a DataFrame or, without `pandas`, as a list of dictionaries.

        With more than `samples` rows they are drawn together to as many. With `keys`, rows that have all of them.
        `stream="system"` gives the measurements of the machine. Rows are in the order of `x_axis`.
        Raises: UsageError when pandas is not installed, and for `samples` below 1.
        """
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise UsageError(f"history samples {samples!r}: expected 1 or more")
        wanted = None if keys is None else _names(keys)
        asked = wanted
        if wanted is not None and x_axis not in (*_HEADS, *wanted):
            asked = [x_axis, *wanted]
        if asked is not None:
            asked = [key for key in asked if key not in _HEADS]
        columns = self.open_history().columns(asked or None, samples, stream=stream)
        if x_axis not in columns:
            hint = nearest(x_axis, columns)
            raise UsageError(f"history of run {self.qualified_name}: there is no x_axis {x_axis!r}{hint}")
        columns = _in_order_of(x_axis, columns)
        if pandas:
            try:
                import pandas as pd
            except ImportError:
                raise UsageError(
                    'history: pandas is not installed; pip install "lineart[media]", or pass pandas=False'
                ) from None
            return pd.DataFrame(columns)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [{key: value for key, value in row.items() if value is not None} for row in rows]

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every row as it was logged, one after the other; with `keys`, rows that have all of them, and only those.

        `min_step` counts in, `max_step` does not. `page_size` is of no effect here: rows are never all in memory.
        """
        wanted = None if keys is None else _names(keys)
        heads = set(_HEADS) if wanted is None else set(_HEADS) & set(wanted)
        metrics = None if wanted is None else [key for key in wanted if key not in _HEADS]
        for row in self.open_history().rows(metrics or None, min_step, max_step):
            if wanted is None:
                yield row
            else:
                yield {key: row[key] for key in (*(k for k in _HEADS if k in heads), *(metrics or ()))}

    @property
    def history_keys(self) -> list[str]:
        """The names of all its metrics, sorted."""
        return self.open_history().keys()

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802 - the W&B SDK's name
        """The greatest step logged; -1 when there is none."""
        last = self.open_history().last_step()
        return -1 if last is None else last

    def open_history(self) -> RunHistory:
        """What reads its metrics, bucket by bucket or row by row."""
        from .metrics.history import RunHistory
        from .run_folder import RunFolder

        workspace, record = self._workspace, self._record
        folder = RunFolder.of(workspace.store, record.project, record.id, workspace.data)
        start_s = parse_time(record.created_at).timestamp()
        return RunHistory(workspace.store, record.project, record.id, folder, start_s, record.history)

    # Its files and artifacts

    def files(self, names: Sequence[str] | None = None, pattern: str | None = None) -> list[RunFile]:
        """The files saved with it: those of these `names`, or whose path matches a shell pattern, or all."""
        from .run_files import RunFiles
        from .run_folder import RunFolder

        if names is not None and pattern is not None:
            raise UsageError("files: pass names or a pattern, not both")
        store, record = self._workspace.store, self._record
        folder = RunFolder.of(store, record.project, record.id, self._workspace.data)
        source = RunFiles(store, record.project, record.id, record.files, folder)
        chosen = None if names is None else set(_names(names))
        return [
            RunFile(source, path)
            for path in sorted(source.paths())
            if (chosen is None or path in chosen) and (pattern is None or fnmatch.fnmatchcase(path, pattern))
        ]

    def file(self, name: str) -> RunFile:
        """One of its files. Raises: NotFoundError with the nearest paths."""
        known = {file.name: file for file in self.files()}
        if name not in known:
            check_path(name)
            raise NotFoundError(f"run {self.qualified_name} has no file {name!r}{nearest(name, known)}")
        return known[name]

    def logged_artifacts(self) -> list[Artifact]:
        """The versions that it produced, in the order of their logging; deleted ones are left out."""
        return self._artifacts("produced")

    def used_artifacts(self) -> list[Artifact]:
        """The versions that it used, in the order of their use; deleted ones are left out."""
        return self._artifacts("used")

    @property
    def untracked_inputs(self) -> UntrackedInputs:
        """What it read below its data roots and did not declare, if that was observed (the setting `observe`)."""
        from ..lineage.untracked import untracked_inputs

        catalog = self._workspace.catalog([self._record.project])
        try:
            return untracked_inputs(catalog, self._record.path)
        finally:
            catalog.close()

    def _artifacts(self, kind: str) -> list[Artifact]:
        from .artifact import Artifact

        catalog = self._workspace.catalog([self._record.project])
        try:
            query = (
                "SELECT version_id FROM edges WHERE run_id = ? AND kind = ? GROUP BY 1 ORDER BY min(position)"
            )
            names = [row[0] for row in catalog.rows(query, [self._record.path, kind])]
        finally:
            catalog.close()
        versions = [self._workspace.version(name, deleted_too=True) for name in names]
        return [Artifact.of(self._workspace, version) for version in versions if not version.state.deleted]

    # Changing it

    def update(self) -> None:
        """Write what was changed here: name, notes, tags, group, and the keys of config and summary.

        Raises: UsageError for a value that has no JSON form; StoreError, CommError.
        """
        record, changes = self._record, dict[str, Any]()
        tags = [check_name(tag, "tag") for tag in _listed(self.tags)]
        new = {"name": self.name, "notes": self.notes, "group": self.group, "tags": tags}
        for key, value in new.items():
            if value != getattr(record, key):
                changes[key] = value if value is not None else ""
        for key, values, old in (
            ("config", self._config, record.config),
            ("summary", self._summary, record.summary),
        ):
            changed = {} if values is None else self._changed(key, values, old)
            if changed:
                changes[key] = changed
        if changes:
            op = {"op": "run.update", "run": self.id, **changes}
            self._workspace.project(record.project).commit(lambda state: [op])
            self.load()

    save = update

    def _changed(self, what: str, values: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: plain(value, f"{what} {key!r}") for key, value in values.items()}
        changed = {k: value for k, value in found.items() if k not in old or not _same(old[k], value)}
        return {**changed, **{key: DELETED for key in old if key not in values}}

    def delete(self, delete_artifacts: bool = False) -> None:
        """Take the run out of every list, for good; its artifacts and their lineage stay.

        With `delete_artifacts` the versions that it produced are deleted, too, with the aliases that point to them.
        Raises: StoreError, CommError.
        """
        if delete_artifacts:
            for artifact in self.logged_artifacts():
                artifact.delete(delete_aliases=True)
        op = {"op": "run.delete", "run": self.id}
        self._workspace.project(self._record.project).commit(lambda state: [op])

    def load(self, force: bool = False) -> ApiRun:
        """Read it again; changes that were not written are lost. Raises: NotFoundError when it was deleted."""
        found = self._reader.record(self._record.project, self.id)
        if found is None:
            raise NotFoundError(f"run {self.qualified_name} was deleted")
        self._take(found)
        return self

    def wait_until_finished(self) -> None:
        """Return when the run has ended, or its process is gone."""
        while self.load().state == RUNNING:
            time.sleep(_POLL_S)

    def __repr__(self) -> str:
        return f"<ApiRun {self.qualified_name} {self.name!r} {self.state}>"


def _copied(value: Any) -> Any:
    """A copy of JSON-like data; a tenth of the time that `copy.deepcopy` takes."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _listed(tags: Any) -> list[Any]:
    if isinstance(tags, str):
        raise UsageError(f"tags {tags!r}: expected a list such as [{tags!r}]")
    return list(tags)


def _names(keys: Sequence[str]) -> list[str]:
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise UsageError(f"keys {keys!r}: expected a list of names such as ['loss']")
    return list(dict.fromkeys(keys))


def _in_order_of(x_axis: str, columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns with `x_axis` first, without the rows that do not have it, sorted by it."""
    if x_axis == "_step":
        return dict(columns)
    axis = columns[x_axis]
    try:
        order = sorted((at for at, value in enumerate(axis) if value is not None), key=lambda at: axis[at])
    except TypeError:
        raise UsageError(f"history x_axis {x_axis!r}: its values are of several kinds") from None
    names = [x_axis, *(name for name in columns if name != x_axis)]
    return {name: [columns[name][at] for at in order] for name in names}


def _same(before: Any, after: Any) -> bool:
    """Equal and of one kind, all through: 1, 1.0 and True differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return type(before) is type(after) and bool(before == after)
