"""From the wish for a run to the run: which store, which id, a new run or one that goes on."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..artifacts.names import check_name, nearest
from ..storage.actor import utc_now
from ..storage.errors import CommError, Error, UsageError
from .artifact import Artifact
from .attach import attach, next_step, split_run_path
from .exits import before_thread_pools_end
from .metrics import RunHistory
from .recovery import recover_project, recover_run
from .replay import defined_aggregates
from .run import Run
from .run_log import claim_run, read_run
from .run_names import checked_tags
from .run_settings import Settings
from .settings import RunEnvironment, StoreChoice, find_settings
from .syncing import outbox_of, sync
from .values import Config, checked_text
from .workspace import Workspace

_RESUME = ("allow", "must", "never", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What `init` was asked for, with what the environment adds."""

    id: str | None = None
    name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    notes: str | None = None
    group: str | None = None
    job_type: str | None = None
    dir: Path | None = None
    resume: bool | str | None = None
    allow_val_change: bool = False
    offline: bool = False


def start_run(settings: StoreChoice, wish: Wish, captured: Settings, environment: RunEnvironment) -> Run:
    """Start or continue a run. Raises: as `init`."""
    resume = _resume(wish.resume)
    workspace = Workspace.open(settings, create=True, offline=wish.offline, falls_back=not wish.offline)
    if (
        (wish.id is not None or resume is not None)
        and workspace.store.is_remote
        and not workspace.store.is_offline
    ):
        _send_first(workspace, settings)
    project = workspace.project()
    remembered = _Remembered(settings, workspace)
    run = check_name(wish.id, "run id") if wish.id is not None else None
    _check_wish(wish)
    if run is None and resume == "auto":
        run = remembered.read()
    run = run or secrets.token_hex(4)
    record, step = None, 0
    if resume == "must" or not claim_run(project, run, utc_now()):
        record = read_run(project, run)
        if record is not None and record.deleted:
            raise UsageError(f"init: run {project.name}/{run} was deleted; choose another id")
        _check(workspace, run, record is not None, resume, given=wish.id is not None)
        recover_run(workspace, project.name, run)
        record, step = read_run(project, run), next_step(workspace, run)
    made = Run(
        workspace,
        id=run,
        role="main" if record is None or not record.started else "joined",
        record=record,
        name=wish.name,
        config=wish.config,
        tags=wish.tags,
        notes=wish.notes,
        group=wish.group,
        job_type=wish.job_type,
        dir=wish.dir,
        settings=captured,
        environment=environment,
        allow_val_change=wish.allow_val_change or record is not None,
        offline=wish.offline or workspace.store.is_offline,
        step=step,
        alerts=settings.alerts,
    )
    if resume == "auto":
        remembered.write(run)
        made._ended.append(lambda: remembered.forget() if made.ending_well else None)
    if record is not None:
        history = RunHistory(workspace.store, project.name, run, made._folder)
        for metric, (_, aggregate) in defined_aggregates(history, record.definitions).items():
            made._recorder.preset(metric, aggregate)
    _tell_when_offline(made, workspace)
    if not workspace.store.is_offline:
        _Recovery(workspace, settings).start()
    return made


def _send_first(workspace: Workspace, settings: StoreChoice) -> None:
    """A run that goes on needs what waits in the outbox."""
    if outbox_of(workspace).is_empty():
        return
    try:
        sync(Workspace.open(settings))
    except CommError:
        return  # then the run goes on offline, too


def _tell_when_offline(run: Run, workspace: Workspace) -> None:
    """Once, that the store does not answer and what becomes of all that is logged."""
    overlay = workspace.store.overlay

    def tell(error: CommError | None) -> None:
        run.offline = True
        if error is None:
            return  # who has chosen it says so
        run._background.say_once(
            "offline",
            f"the store does not answer ({error}); going on offline: all is kept in {outbox_of(workspace).folder} and"
            ' sent by "art sync" or by the next run on this machine',
        )

    if workspace.store.unreachable is not None:
        tell(workspace.store.unreachable)
    elif overlay is not None and not overlay.is_offline:
        overlay.on_offline.append(tell)


def _check_wish(wish: Wish) -> None:
    """Refuse what cannot be recorded before anything is written. Raises: UsageError, InvalidNameError."""
    Config(convert=lambda value: value.name if isinstance(value, Artifact) else None).update(wish.config)
    for what in ("name", "notes", "group", "job_type"):
        value = getattr(wish, what)
        if value is not None:
            checked_text(value, f"init {what}")
    if wish.tags is not None:
        checked_tags(wish.tags)


class _Recovery(threading.Thread):
    """What dead runs have left on this machine comes home beside the work, not before it."""

    going: ClassVar[set[_Recovery]] = set()
    ends_with: ClassVar[int | None] = None  # the process whose exit ends them

    def __init__(self, workspace: Workspace, settings: StoreChoice) -> None:
        super().__init__(name="lineart-recovery", daemon=True)
        self._workspace = workspace
        self._settings = settings
        self._stop_asked = threading.Event()

    def start(self) -> None:
        """Begin, and see that it ends before the interpreter does: DuckDB in a thread would abort the exit."""
        if _Recovery.ends_with != os.getpid():
            _Recovery.ends_with = os.getpid()
            _Recovery.going.clear()  # those of a parent process
            before_thread_pools_end(_Recovery.end_all)
        _Recovery.going.add(self)
        super().start()

    def run(self) -> None:
        """Send what waits in the outbox, then recover run after run."""
        try:
            workspace = self._workspace
            if workspace.store.is_remote:  # one that raises when the store does not answer
                workspace = Workspace.open(self._settings)
                sync(workspace)
            recover_project(workspace, workspace.project_name, self._stop_asked)
        except (Error, OSError):
            return  # the next run tries again
        finally:
            _Recovery.going.discard(self)

    @classmethod
    def end_all(cls) -> None:
        """Wait until each has finished the run that it is at."""
        for thread in list(cls.going):
            thread._stop_asked.set()
            thread.join()


def attach_by_environment(
    path: str, settings: StoreChoice, wish: Wish, captured: Settings, environment: RunEnvironment
) -> Run:
    """The run that `art exec` has started around this process. Raises: NotFoundError, UsageError."""
    project, run = split_run_path(path)
    found = find_settings(store=settings.store, project=project.project, entity=project.entity)
    made = attach(Workspace.open(found), run, settings=captured, environment=environment)
    made.config.update(wish.config, allow_val_change=True)
    if wish.name is not None:
        made.name = wish.name
    if wish.tags:
        made.tags = (*made.tags, *checked_tags(wish.tags))
    if wish.notes is not None:
        made.notes = wish.notes
    return made


def _resume(given: bool | str | None) -> str | None:
    chosen = {True: "auto", False: None, "": None, "true": "auto", "none": None}.get(given, given)
    if chosen is not None and chosen not in _RESUME:
        raise UsageError(f"init resume {given!r}: expected one of {', '.join(_RESUME)}")
    return chosen if chosen is None else str(chosen)


def _check(workspace: Workspace, run: str, exists: bool, resume: str | None, *, given: bool) -> None:
    """Raises: UsageError when what is there is not what `resume` asks for."""
    path = f"{workspace.project_name}/{run}"
    if not exists and resume == "must":
        if not given:
            raise UsageError('init resume="must": which run? pass id=')
        known = workspace.store.backend.folders(f"projects/{workspace.project_name}/runs/")
        raise UsageError(
            f'init resume="must": there is no run {path} in {workspace.url}{nearest(run, known)};'
            ' resume="allow" would start it'
        )
    if exists and resume == "never":
        raise UsageError(f'init resume="never": run {path} exists; choose another id')
    if exists and resume is None:
        raise UsageError(f'init: run {path} exists; continue it with resume="allow", or choose another id')


class _Remembered:
    """The id of the last run of a folder that is to be resumed by itself, on this machine."""

    def __init__(self, settings: StoreChoice, workspace: Workspace) -> None:
        key = f"{workspace.url}\n{workspace.project_name}\n{Path.cwd()}"
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        self._path = settings.data / "resume" / f"{name}.json"

    def read(self) -> str | None:
        try:
            return check_name(json.loads(self._path.read_text(encoding="utf-8"))["run"], "run id")
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, run: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"run": run}), encoding="utf-8")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)
