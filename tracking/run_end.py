"""The end of a run: everything that its process has written comes into the store, then one last op says so.

The order is what makes it safe to kill at any moment: the last op is written to the journal first, then history and
files are stored, then the op is committed, then the folder goes. What is left of an end that was cut short is
finished by `recovery`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ..artifacts.state import ProjectState
from ..storage.errors import Error, StoreError, UsageError
from ..storage.transaction import Op
from .live import writer_lives
from .metrics import RunHistory
from .metrics.compaction import compact
from .metrics.lines import line
from .observed_inputs import inputs_op, observed_logs
from .recovery import files_of, recorded_changes
from .replay import Replay, defined_summary, merged, replay
from .run_files import publish_files
from .run_log import RunRecord
from .values import changes, plain

if TYPE_CHECKING:
    from .metrics.journal import Journal
    from .run import Run
    from .values import Values

_log = logging.getLogger("lineart")


def end_run(run: Run, exit_code: int, error: str | None) -> None:
    """End `run` with an exit code and, if it failed, the traceback.

    A store that cannot be reached is told once; then the run's journal stays on this machine and the next run here
    brings it home. Raises: StoreError when lines could not be written anywhere.
    """
    run._background.stop()
    for last in run._ended:
        _tried(run, last)
    run._capture.end()
    seen = run._capture.stop_observing()
    dispatch = run.__dict__.get("_dispatch")
    if dispatch is not None:
        dispatch.close(f"run {run.path}", run._patience_s)
    if run._role == "attached":
        _leave(run)
        return
    if run._capture.facts and run.settings.system:
        _tried(run, run._background.measure_last)
    state = "finished" if exit_code == 0 else ("preempted" if run._preempting else "failed")
    op: dict[str, Any] = {
        "op": "run.finish",
        "writer": run._writer,
        "state": state,
        "exit_code": exit_code,
        "error": error,
    }
    if not run._journal_here().is_in_place():
        run._rescue()
    with run._recorder.lock:
        # From here on no thread may log: what came after the history was stored would go with the journal.
        op |= _last_words(run)
        journal = run._journal_here()
        journal.append(line("op", op, time.time()))
        run._closed = True
    try:
        _bring_home(run, op, journal, seen)
    except Exception as problem:  # whatever went wrong, all of it lies in the journal: that is told
        _kept(run, journal, str(problem))
    except KeyboardInterrupt:
        _kept(run, journal, "it was interrupted")
        raise
    finally:
        run.state, run.exit_code = state, exit_code
        journal.close()
        overlay = run._workspace.store.overlay
        if dispatch is not None:
            dispatch.release()
        elif overlay is not None:
            overlay.outbox.release()


def _last_words(run: Run) -> dict[str, Any]:
    """What the last op says beside how it ended."""
    said: dict[str, Any] = _changed(run)
    if run._capture.last_facts:
        said["capture"] = run._capture.last_facts
    if run._alerts_sent:
        said["alerts"] = [record.as_json() for record in run._alerts_sent]
    if run._recorder.set_by_user:
        said["summary_set"] = sorted(run._recorder.set_by_user)
    if run._recorder.definitions:
        said["define"] = [definition.as_json() for definition in run._recorder.definitions.all()]
    return said


def _bring_home(run: Run, op: dict[str, Any], journal: Journal, seen: list[bytes]) -> None:
    store, project, folder = run._workspace.store, run._project.name, run._folder
    if not journal.retry():
        raise StoreError("the disk takes nothing")
    if not journal.is_in_place():
        raise StoreError(f"the folder {journal.path.parent} was removed")
    store.demand_presence()
    attached = _attached(run)
    whole = merged(attached)
    op["config"] = {**whole.config, **op["config"]}
    op["summary"] = {**whole.summary, **op["summary"]}
    if whole.set_by_user:
        op["summary_set"] = sorted(whole.set_by_user | run._recorder.set_by_user)
    definitions = [*op.get("define", ()), *whole.definitions]
    for key, value in recorded_changes(whole).items():
        op.setdefault(key, value)
    if whole.alerts:
        op["alerts"] = [*op.get("alerts", ()), *whole.alerts]
    writers = [run._writer, *(part.writer for part in attached)]
    roots = files_of(folder, writers)
    roots[run._files.folder] = ""
    seen = [*seen, *observed_logs(folder, [part.writer for part in attached])]
    inputs = inputs_op(run._workspace, run._project, run.id, seen)

    def stored() -> dict[str, Any]:
        # Files first: when the store goes away in between, the history follows them into the outbox.
        files = publish_files(store, roots)
        found = {**op, "history": compact(store, project, run.id, folder)}
        store.demand_presence()
        if files is not None:
            found["files"] = files
        if not attached:
            return found
        history = RunHistory(
            store, project, run.id, folder
        )  # what several processes have logged is one metric
        defined = defined_summary(history, definitions, set(op.get("summary_set", ())))
        return {**found, "summary": {**op["summary"], **defined}}

    def with_run(state: ProjectState, found: dict[str, Any]) -> list[Op]:
        return [*([inputs] if inputs is not None else []), {**found, "run": run.id}]

    run._project.commit_stored(stored, with_run)
    if run._background.shipper is not None:
        _tried(run, run._background.shipper.end)
    for writer in writers:
        folder.remove(writer)


def _changed(run: Run) -> dict[str, Any]:
    """What this process has changed since it started."""
    return {
        "config": _kept_changes(run, run._base_config, run.config),
        "summary": _kept_changes(run, run._base_summary, run.summary),
        **run._changes,
    }


def _kept_changes(run: Run, base: dict[str, Any], values: Values) -> dict[str, Any]:
    """What changed, also inside of lists, whose changes nobody is told."""
    kept = {}
    for key, value in changes(base, values.as_dict()).items():
        try:
            kept[key] = plain(value, f"{values._what} {key!r}")
        except UsageError as error:
            run._background.say_once(f"{values._what} {key}", f"{error}; it is left out")
    return kept


def _attached(run: Run) -> list[Replay]:
    """What children of this run have left, those that are dead."""
    found = []
    known = RunRecord(run.id, definitions=[d.as_json() for d in run._recorder.definitions.all()])
    for writer in run._folder.writers():
        if writer != run._writer:
            try:
                part = replay(run._folder.journal(writer).read_bytes(), known)
            except FileNotFoundError:
                continue  # another process of the run has ended meanwhile, and taken it home
            if part.head.get("role") == "attached" and not writer_lives(run._folder, writer):
                found.append(part)
    return found


def _leave(run: Run) -> None:
    """A child of a run ends: the journal stays for whoever ends the run."""
    if run._journal_now is not None and run._journal_now.is_open:
        _tried(run, run._journal_now.retry)
        run._journal_now.close()
    run.state, run.exit_code = "finished", 0


def _kept(run: Run, journal: Journal, problem: str) -> None:
    """The store did not take it: say where it is, once. Raises: StoreError when it is nowhere."""
    held = journal.held
    if held:
        place = run._folder.refuge / run._writer
        try:
            journal = run._rescue_into(place)
        except OSError as error:
            count = held.count(b"\n")
            raise StoreError(
                f"run {run.path}: {count} lines could not be written to {journal.path} nor to {place}"
                f" ({error.strerror or error}); free space and log them again"
            ) from error
    if run._background.has_said("rescue"):
        return  # that the store is gone was told, and where everything is
    _log.warning(
        "run %s: the store did not take its end (%s); all that was logged is kept in %s and comes into the store"
        " with the next run on this machine",
        run.path,
        problem,
        journal.path.parent,
    )


def _tried(run: Run, last: Any) -> None:
    """A chore of the end that must not keep the others from being done."""
    try:
        last()
    except (Error, OSError) as error:
        run._background.say_once(f"end {last}", str(error))
    except Exception as error:  # a user's hook or a captured system: told, and the end goes on
        run._background.say_once(f"end {last}", f"{type(error).__name__}: {error}")
