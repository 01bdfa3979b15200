"""What a run captures by itself, put together: facts and files of the process, console, machine, alerts.

All of it may fail without anybody being hurt; what could not be had is named in the facts.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .capture import Console, SystemSampler, gather, is_notebook, main_code, quick_facts
from .observing import Observer, look_at_held
from .run_files import FolderSink
from .run_settings import Settings

if TYPE_CHECKING:
    from .alerts import AlertRecord, Alerts
    from .run import Run
    from .settings import RunEnvironment
    from .workspace import Workspace

_log = logging.getLogger("lineart")


class RunCapture:
    """The captured side of one run."""

    def __init__(
        self, settings: Settings, folder: Path, environment: RunEnvironment | None, *, quiet: bool
    ) -> None:
        """With `quiet` nothing is captured: a child of a run whose parent does it."""
        self._settings = settings
        self._folder = folder
        self._environ: Mapping[str, str] = environment.variables if environment is not None else {}
        self._quiet = quiet
        self._argv = list(sys.argv)
        self._console: Console | None = None
        self._alerts: Alerts | None = None
        self._sink: FolderSink | None = None
        self._observer: Observer | None = None
        self._noted: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.quick: dict[str, Any] = {} if quiet else quick_facts(settings, folder, self._argv, self._environ)

    def gather(self, sink: FolderSink) -> None:
        """Find out what takes longer, and put its files into the run's. Called in the background."""
        if self._quiet:
            return
        self._sink = sink
        found = gather(self._settings, self._folder, self._argv, self._environ)
        for path, data in found.files.items():
            sink.put_at(data, path)
        self.facts = {**self.quick, **found.facts}

    def note(self, **facts: Any) -> None:
        """Add facts that only the caller knows, in place of those of the same names."""
        self._noted |= facts

    def note_code(self, name: str, root: str) -> None:
        """Note where the code lay that was logged as an artifact: below the working folder of the run, if it can be."""
        if not self._quiet:
            place = {"name": name, "root": Path(os.path.relpath(root, self._folder)).as_posix()}
            self._noted["code_roots"] = [*self._noted.get("code_roots", ()), place]

    @property
    def last_facts(self) -> dict[str, Any]:
        """All that is known when the run ends; empty when nothing is beside what its start has said."""
        return {**(self.facts or self.quick), **self._noted} if self.facts or self._noted else {}

    def sampler(self) -> Callable[[], Mapping[str, float]] | None:
        """What measures the machine; None when that is switched off."""
        if not self._settings.system or self._quiet:
            return None
        made: list[SystemSampler] = []

        def sample() -> Mapping[str, float]:
            if not made:
                made.append(SystemSampler())
            return made[0].sample()

        return sample

    def start_console(self, path: Path) -> None:
        """Begin to copy what is printed to the file at `path`."""
        if self._settings.console != "off" and not self._quiet:
            self._console = Console(path)
            self._console.start()

    def observe(self, workspace: Workspace, folder: Path, path: str) -> None:
        """Note from now on in `folder` what is read below the data roots, if there are some. Children do so, too."""
        if not self._settings.observe:
            return
        local = workspace.store.backend.local_path("packs")
        without = [workspace.store.cache, workspace.data, *([local.parent] if local is not None else [])]
        try:
            observer = Observer(self._settings.observe, folder, path=path, without=without)
            observer.start()
        except Exception as error:  # a run is worth more than what is noted of it; that nothing is, is told
            said = f"{type(error).__name__}: {error}"
            _log.warning("run %s: its inputs are not observed (%s); going on", path, said)
            return
        self._observer = observer

    def look_at_inputs(self) -> None:
        """A chore: see what native code holds open."""
        if self._observer is not None:
            look_at_held(self._observer)

    def stop_observing(self) -> list[bytes]:
        """What this process and its forks have seen, as `observed_inputs` reads it."""
        if self._observer is None:
            return []
        look_at_held(self._observer)
        return [self._observer.stop()]

    def end(self) -> None:
        """Stop the console and the alerts; of a notebook the cells that were executed meanwhile are kept, too."""
        if self._sink is not None and self._settings.save_code and is_notebook():
            session = self._environ.get("JPY_SESSION_NAME")
            for name, content in main_code(sys.modules.get("__main__"), sys.orig_argv, notebook=session):
                if isinstance(content, bytes):
                    self._sink.put_at(content, f"code/{name}")
        if self._console is not None:
            self._console.stop()
            self._console = None
        if self._alerts is not None:
            self._alerts.close()
            self._alerts = None

    def forget(self) -> None:
        """After a fork: what is captured belongs to the parent."""
        self._quiet = True

    def alert(
        self, run: Run, title: str, text: str, level: Any, wait_duration: Any, targets: Sequence[str]
    ) -> AlertRecord | None:
        """Send an alert; its record, None when the same was sent a moment ago. Raises: UsageError."""
        from .alerts import AlertLevel, Alerts

        if self._alerts is None:
            self._alerts = Alerts(targets, run_path=run.path, run_name=run.name)
        return self._alerts.send(
            title,
            text,
            level if level is not None else AlertLevel.INFO,
            60 if wait_duration is None else wait_duration,
            time.time(),
        )
