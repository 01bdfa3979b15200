"""A run: one execution that logs metrics, uses and produces artifact versions, and says how it ended.

`Run` ties the parts together: `metrics.Recorder` says what `log` means, `metrics.Journal` keeps it, `Background` does
the chores, `run_end` brings all of it into the store.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import secrets
import socket
import threading
import time
import traceback
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ..artifacts.names import check_name
from ..storage.actor import utc_now
from ..storage.errors import StoreError, UsageError
from ..storage.transaction import Op
from .background import Background, Shipper
from .exits import exit_code as code_of
from .metrics.definitions import Definition
from .metrics.journal import Journal
from .metrics.lines import encoded, line
from .metrics.recorder import Recorder
from .run_artifacts import RunArtifacts
from .run_capture import RunCapture
from .run_files import FolderSink
from .run_folder import FILES, JOURNAL, RunFolder
from .run_log import RunRecord
from .run_names import checked_tags, readable_name
from .run_saving import RunSaving
from .run_settings import Settings, data_roots
from .values import Config, Summary, changes, checked_text
from .workspace import Workspace

if TYPE_CHECKING:
    import datetime

    from .alerts import AlertLevel, AlertRecord
    from .settings import RunEnvironment

Role = Literal["main", "joined", "attached"]
_log = logging.getLogger("lineart")
_OPEN: weakref.WeakSet[Run] = weakref.WeakSet()
_registered = False


class Run(RunArtifacts, RunSaving):
    """One execution. Made by `lineart.init`, ended by `finish`; a context manager that marks a failure.

    >>> import lineart
    >>> with lineart.init(project="docs", config={"depth": 3}) as run:
    ...     for accuracy in (0.7, 0.9):
    ...         run.log({"accuracy": accuracy})
    >>> run.config.depth, run.summary["accuracy"], run.step, run.state
    (3, 0.9, 2, 'finished')
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        id: str,
        role: Role = "main",
        record: RunRecord | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        dir: Path | None = None,
        settings: Settings | None = None,
        environment: RunEnvironment | None = None,
        allow_val_change: bool = False,
        offline: bool = False,
        step: int = 0,
        alerts: Sequence[str] = (),
    ) -> None:
        """Start the run, or join it: one transaction. `record` is what the log has of it already, `step` its next step.

        Raises: InvalidNameError, UsageError, StoreError, CommError.
        """
        self.id = check_name(id, "run id")
        known = record or RunRecord(id)
        self.resumed = record is not None and role == "joined"
        self.offline = offline
        self.disabled = False
        self.settings = settings or Settings()
        self.state = "running"
        self.exit_code: int | None = None
        self.start_time = time.time()
        self.started_at = known.claimed_at or utc_now()
        self._role: Role = role
        self._name = name or known.name or readable_name()
        self._tags = checked_tags(known.tags if tags is None else tags)
        self._notes = known.notes if notes is None else notes
        self._group = known.group if group is None else group
        self.job_type = known.job_type if job_type is None else job_type
        self._workspace = workspace
        self._project = workspace.project()
        self._folder = RunFolder.of(workspace.store, self._project.name, self.id, workspace.data)
        self._pid = os.getpid()
        self._given_dir = dir
        self._alerts_to = tuple(alerts)
        self._finishing = threading.RLock()
        self._is_ending = False
        self._patience_s: float | None = None  # of `finish`
        self._changes: dict[str, Any] = {}  # what was set since the start: name, notes, tags, group
        self._preempting = False
        self._closed = False  # for all threads, before the history is stored
        self._alerts_sent: list[AlertRecord] = []
        self.ending_well = False
        self._used: dict[tuple[str, str | None], None] = {}
        self._watched: list[Any] = []
        self._ended: list[Any] = [self._saved.finish]  # called at the end, before anything is stored
        self.summary = Summary(self._note_summary)
        self.summary.load(known.summary)
        self._base_summary = copy.deepcopy(self.summary.as_dict())
        self.config = Config(self._note_config, self._config_artifact, allow_val_change=allow_val_change)
        self.config.load(known.config)
        self._writer = secrets.token_hex(6)
        self._recorder = Recorder(self._journal_here, self.summary, media=self._media_value, step=step)
        for definition in known.definitions:
            self._recorder.definitions.add(Definition.of_json(definition))
        self._recorder.set_by_user |= known.set_by_user
        self._begin(config or {}, environment)

    def _begin(self, config: Mapping[str, Any], environment: RunEnvironment | None) -> None:
        self._capture = RunCapture(self.settings, Path.cwd(), environment, quiet=self._role == "attached")
        self._journal_now: Journal | None = None
        fresh = Config(convert=self._config_artifact)
        fresh.update(config)  # refuse before anything is written
        self.config._check(fresh.as_dict())
        start: Op = {
            "op": "run.start",
            "name": self._name,
            "job_type": self.job_type,
            "group": self._group,
            "tags": list(self._tags),
            "notes": self._notes,
            "config": fresh.as_dict(),
            "capture": self._capture.quick,
            "writer": self._writer,
        }
        if self._role == "joined":
            start = {**start, "op": "run.join"}
            del start["capture"]
        try:
            self._journal_now = self._open_journal(self._folder.new(self._writer), start)
            self._files = self._files_sink()
            if self._role != "attached":
                self._commit(start)
        except BaseException:
            self._forget_journal()
            raise
        self.config.load(fresh.as_dict())
        self._base_config = copy.deepcopy(self.config.as_dict())
        self._start_chores()
        _keep_after_fork(self)

    def _forget_journal(self) -> None:
        """Nothing was logged: nothing stays of a run that could not start."""
        if self._journal_now is not None:
            self._journal_now.close()
        self._folder.remove(self._writer)

    def _start_chores(self) -> None:
        remote = self._workspace.store.is_remote and not self._workspace.store.is_offline
        shipper = (
            Shipper(self._workspace.store, self._project.name, self.id, self._writer) if remote else None
        )
        self._background = Background(
            self._journal_here,
            path=self.path,
            shipper=shipper,
            sample=self._capture.sampler() if self._role != "attached" else None,
            sample_interval_s=self.settings.system_interval_s,
            rescue=self._rescue,
            chores=(self._saved.refresh, self._capture.look_at_inputs),
            first=lambda: self._capture.gather(self._files),
        )
        self._capture.observe(self._workspace, self._folder.new(self._writer), self.path)
        self._background.start()
        self._record_config_uses()
        if self._role != "attached":
            self._capture.start_console(self._files.folder / "output.log")

    # What it is

    @property
    def project(self) -> str:
        """The project's name."""
        return self._project.name.project

    @property
    def entity(self) -> str:
        """The entity's name."""
        return self._project.name.entity

    @property
    def path(self) -> str:
        """``entity/project/id``."""
        return f"{self._project.name}/{self.id}"

    @property
    def url(self) -> str:
        """Where the run lies: the store's address and the run's path."""
        return f"{self._workspace.url}#{self.path}"

    @property
    def dir(self) -> str:
        """A local folder whose files are saved with the run when it ends."""
        return str(self._files.folder)

    @property
    def step(self) -> int:
        """The step that the next call of `log` has when it gives none."""
        return self._recorder.step

    @property
    def name(self) -> str:
        """A name for people; setting it renames the run."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._set("name", checked_text(name, "run name"))
        self._name = name

    @property
    def notes(self) -> str | None:
        """What the user says of the run; may be set."""
        return self._notes

    @notes.setter
    def notes(self, notes: str | None) -> None:
        self._set("notes", None if notes is None else checked_text(notes, "run notes"))
        self._notes = notes

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels; may be set, also as ``run.tags += ("baseline",)``."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        checked = checked_tags(tags)
        self._set("tags", list(checked))
        self._tags = checked

    @property
    def group(self) -> str | None:
        """The group of runs that it belongs to."""
        return self._group

    @property
    def sweep_id(self) -> str | None:
        """The sweep that it belongs to; None outside of one."""
        return None

    # Logging

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Write one row of values: numbers, text, media, dictionaries of them (joined with ``.``).

        Without `step` the row is the next one; any order of steps is kept. With ``commit=False`` the next call goes on
        with the same row. When it returns, the row outlives the process. `sync` has no meaning here.
        Raises: TypeError for anything but a dictionary with text keys; UsageError for a value that cannot be kept, and
        after `finish`.
        """
        if self.state != "running":
            self._demand_running("log")
        self._recorder.log(data, step, commit)

    def define_metric(
        self,
        name: str,
        step_metric: str | Definition | None = None,
        summary: str | None = None,
        goal: str | None = None,
        hidden: bool | None = None,
        step_sync: bool | None = None,
        overwrite: bool | None = None,
    ) -> Definition:
        """Say what metrics are drawn against and what of them stands in the summary. `name` may have ``*``.

        `summary` is one of min, max, mean, best, last, first, none, or several joined by commas: then the summary has a
        dictionary of them. `goal` (minimize, maximize) says what is best. `overwrite` has no meaning here.
        Raises: UsageError naming the argument that is wrong.
        """
        self._demand_running("define a metric")
        definition = Definition.checked(
            name,
            step_metric=step_metric.name if isinstance(step_metric, Definition) else step_metric,
            summary=summary,
            goal=goal,
            hidden=hidden,
            step_sync=step_sync,
        )
        self._recorder.define(definition)
        return definition

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: Literal["gradients", "parameters", "all"] | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> Any:
        """Log histograms of a torch model's gradients or parameters every `log_freq` batches; see `tracking.watch`."""
        from .watch import watch

        self._demand_running("watch a model")
        return watch(
            self, models, criterion=criterion, log=log, log_freq=log_freq, idx=idx, log_graph=log_graph
        )

    def unwatch(self, models: Any = None) -> None:
        """Stop watching `models`, or all."""
        from .watch import unwatch

        unwatch(self, models)

    def alert(
        self,
        title: str,
        text: str = "",
        level: AlertLevel | str | None = None,
        wait_duration: int | float | datetime.timedelta | None = None,
    ) -> None:
        """Tell people: sent to the addresses in the settings, and kept with the run.

        The same title is sent again only after `wait_duration` (seconds, default 60). Raises: UsageError.
        """
        self._demand_running("send an alert")
        record = self._capture.alert(self, title, text, level, wait_duration, self._alerts_to)
        if record is not None:
            with self._recorder.lock:
                self._journal_here().append(line("alert", record.as_json(), time.time()))
                self._alerts_sent.append(record)

    def mark_preempting(self) -> None:
        """Say that the process is about to be taken away: if it fails now, the run is shown as preempted."""
        self._preempting = True
        self._journal_here().append(line("set", {"preempting": True}, time.time()))

    def status(self) -> Mapping[str, Any]:
        """Whether all that was logged is safe, and where: ``{"synced": …, "pending_bytes": …, "folder": …}``."""
        held = len(self._journal_here().held) if self.state == "running" else 0
        return {"synced": held == 0, "pending_bytes": held, "folder": str(self._folder.path)}

    def flush(self) -> None:
        """Commit a config that was changed since the run started, so that others see it before the end."""
        changed = changes(self._base_config, self.config.as_dict())
        if changed:
            self._commit({"op": "run.update", "config": changed})
            self._base_config = copy.deepcopy(self.config.as_dict())

    # Its end

    def finish(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> None:
        """End the run: what was logged is compacted, config and summary committed. A second call does nothing.

        Artifacts that are on their way to a remote store are waited for, at most `timeout` seconds (default: no limit);
        what is left then is told, and sent by the next run on this machine or ``art sync``.
        """
        self._patience_s = timeout
        self._finish(code_of(exit_code), None)

    def fail(self, error: BaseException) -> None:
        """End the run as failed, with the traceback of `error` and the exit code that it leads to."""
        code = code_of(error.code) if isinstance(error, SystemExit) else 1
        self._finish(code or 1, "".join(traceback.format_exception(error)))

    def end(self, exit_code: int, error: str | None) -> None:
        """End the run with an exit code and, if it failed, the reason in words."""
        self._finish(exit_code, error)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self._finish(0, None)
        else:
            self.fail(error)

    def _finish(self, exit_code: int, error: str | None) -> None:
        from .run_end import end_run

        if self._pid != os.getpid() and self._role != "attached":
            return  # a fork: the parent's run is not its to end
        with self._finishing:
            if self.state != "running" or self._is_ending:
                return  # from a signal handler, in the middle of its end
            self._is_ending = True
            self.ending_well = exit_code == 0
            end_run(self, exit_code, error)

    # Inside

    def _journal_here(self) -> Journal:
        """The journal of this process: after a fork a new one."""
        journal = self._journal_now
        if self._closed:
            raise UsageError(
                f"run {self.path} is ending; it cannot log any more; start one with lineart.init()"
            )
        if journal is None or not journal.is_open:
            journal = self._reopen()
        return journal

    def _reopen(self) -> Journal:
        if self.state != "running":
            self._demand_running("log")
        self._role = "attached"
        self._writer = secrets.token_hex(6)
        folder = self._folder.new(self._writer)
        self._journal_now = journal = self._open_journal(folder, None)
        self._files = FolderSink(folder / FILES)
        return journal

    def _open_journal(self, folder: Path, start: Op | None) -> Journal:
        """Raises: StoreError when the folder cannot be written."""
        head: dict[str, Any] = {
            "writer": self._writer,
            "role": self._role,
            "run": self.path,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.time(),
        }
        if start is not None and start["op"] == "run.start":
            head["start"] = start
        try:
            journal = Journal(folder / JOURNAL, self._journal_fault)
            journal.append(encoded(head) + b"\n")
        except OSError as error:
            where = f"{folder}: {error.strerror or error}"
            raise StoreError(f"run {self.path} cannot keep its journal in {where}; check the disk") from error
        return journal

    def _journal_fault(self, error: OSError) -> None:
        _log.warning(
            "run %s: its journal cannot be written (%s); going on, what is logged is kept in memory until it can",
            self.path,
            error.strerror or error,
        )

    def _rescue(self) -> None:
        """The journal's folder is gone: go on in the user's data folder, with all that was written so far."""
        place = self._folder.refuge / self._writer
        with self._recorder.lock:
            if self._journal_now is None or self._journal_now.is_in_place():
                return
            self._rescue_into(place)
        self._background.say_once(
            "rescue",
            f"the store at {self._workspace.url} has vanished; going on, what is logged is kept in {place}"
            " and comes into the store with the next run after it is back",
        )

    def _rescue_into(self, place: Path) -> Journal:
        """Raises: OSError."""
        with self._recorder.lock:
            old = self._journal_now or self._journal_here()
            (place / f"{JOURNAL}.new").unlink(missing_ok=True)  # of a try for which there was no room
            moved = Journal(place / f"{JOURNAL}.new", self._journal_fault)
            moved.append(old.content())
            if moved.fault is not None:
                moved.close()
                raise moved.fault
            moved.rename(place / JOURNAL)  # readers see it whole or not at all
            self._journal_now = moved
            old.close()
            self._files = FolderSink(place / FILES)
            return moved

    def _files_sink(self) -> FolderSink:
        if self._given_dir is None:
            return FolderSink(self._folder.new(self._writer) / FILES)
        folder = self._given_dir / "lineart" / f"run-{self.id}" / FILES
        try:
            return FolderSink(folder)
        except OSError as error:
            raise UsageError(
                f"init dir {str(self._given_dir)!r}: the folder {str(folder)!r} cannot be made"
                f" ({error.strerror or error}); choose one that can be written"
            ) from error

    def _media_value(self, value: Any) -> Any:
        """The JSON of a media value, or of a list of them; None for anything else."""
        from .run_media import media_value

        try:
            return media_value(value, self._sink)
        except FileNotFoundError:
            self._rescue()  # the store has vanished; if it was something else, it fails again
            return media_value(value, self._sink)

    @property
    def _sink(self) -> FolderSink:
        return self._files

    def _note_config(self, values: Mapping[str, Any]) -> None:
        if self.state == "running" and getattr(self, "_journal_now", None) is not None:
            with self._recorder.lock:
                self._journal_here().append(line("config", values, time.time()))

    def _note_summary(self, values: Mapping[str, Any]) -> None:
        if self.state == "running":
            self._recorder.set_summary(values)

    def _set(self, key: str, value: Any) -> None:
        self._demand_running(f"change its {key}")
        with self._recorder.lock:
            self._journal_here().append(line("set", {key: value}, time.time()))
            self._changes[key] = value

    def _commit(self, op: Mapping[str, Any]) -> None:
        self._workspace.store.demand_presence()
        self._project.commit(lambda state: [{**op, "run": self.id}])

    def _demand_running(self, what: str) -> None:
        if self.state != "running":
            raise UsageError(
                f"run {self.path} is {self.state}; it cannot {what} any more; start one with lineart.init()"
            )

    def _after_fork(self) -> None:
        """In the child: no thread of the parent runs here, and its locks may be held by nobody."""
        self._recorder.lock = threading.RLock()
        self._finishing = threading.RLock()
        self._role = "attached"
        self._capture.forget()
        self.__dict__.pop("_dispatch", None)

    def __reduce__(self) -> tuple[Any, ...]:
        from .attach import attach_pickled

        return attach_pickled, (
            self._workspace.url,
            str(self._workspace.data),
            self.path,
            self._recorder.step,
            data_roots(self.settings),
        )

    def __repr__(self) -> str:
        return f"<Run {self.path} {self.name!r} {self.state}>"

    def _repr_html_(self) -> str:
        from .notebook import run_as_html

        return run_as_html(self)


def _keep_after_fork(run: Run) -> None:
    global _registered  # noqa: PLW0603 - once a process
    _OPEN.add(run)
    if not _registered:
        _registered = True
        with contextlib.suppress(AttributeError):  # not POSIX: there is no fork
            os.register_at_fork(after_in_child=_in_child)


def open_runs() -> list[Run]:
    """The runs of this process that have not ended."""
    return [run for run in list(_OPEN) if run.state == "running"]


def _in_child() -> None:
    for run in list(_OPEN):
        run._after_fork()
