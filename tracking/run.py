"""A run: one execution that uses and produces artifact versions.

This is the part that lineage needs: life, config, summary, use and log of artifacts. Metrics logged here are kept
as the summary's last values.
"""

from __future__ import annotations

import os
import secrets
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ..artifacts.names import check_name
from ..artifacts.project import utc_now
from ..storage.errors import UsageError
from .capture import capture_process
from .run_artifacts import RunArtifacts
from .run_names import readable_name
from .values import Config, Summary, plain
from .workspace import Workspace

T = TypeVar("T")


class Run(RunArtifacts):
    """One execution. Made by `lineart.init`, ended by `finish`; a context manager that marks a failure.

    >>> import lineart
    >>> with lineart.init(project="docs", config={"depth": 3}) as run:
    ...     run.log({"accuracy": 0.9})
    >>> run.config.depth, run.summary["accuracy"], run.state
    (3, 0.9, 'finished')
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        id: str | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        notes: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
    ) -> None:
        """Start the run: one transaction. Raises: InvalidNameError, UsageError, StoreError, CommError."""
        self.id = check_name(id, "run id") if id is not None else secrets.token_hex(4)
        self.name = name or readable_name()
        self.tags = tuple(check_name(tag, "tag") for tag in tags)
        self.notes = notes
        self.group = group
        self.job_type = job_type
        self.state = "running"
        self.start_time = utc_now()
        self.exit_code: int | None = None
        self._workspace = workspace
        self._project = workspace.project()
        self._pid = os.getpid()
        self._config_changed = False
        self.config = Config(self._note_config)
        self.summary = Summary()
        self.config.update(config or {})
        self._config_changed = False
        self._used: dict[tuple[str, str | None], None] = {}
        self._commit(
            {
                "op": "run.start",
                "name": self.name,
                "job_type": job_type,
                "group": group,
                "tags": list(self.tags),
                "notes": notes,
                "config": self.config.as_dict(),
                "capture": capture_process(sys.argv, Path.cwd()),
            }
        )

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

    def log(self, data: Mapping[str, Any]) -> None:
        """Keep the values as the newest of their metrics, in the summary; nested names are joined with ``.``.

        Raises: TypeError for anything but a dictionary with text keys; UsageError after `finish`.
        """
        self._demand_running("log")
        if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
            raise TypeError(
                f"log takes a dictionary with text keys, not {type(data).__name__} {str(data)[:80]}"
            )
        for key, value in _flat(data, ""):
            self.summary[key] = value

    def finish(self, exit_code: int | None = None) -> None:
        """End the run: its last config and summary are committed. Calling it again does nothing."""
        self._finish(exit_code or 0, None)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self._finish(0, None)
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the run as failed, with the traceback of `error` and the exit code that it leads to."""
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        self._finish(code or 1, "".join(traceback.format_exception(error)))

    def _finish(self, exit_code: int, error: str | None) -> None:
        if self.state != "running" or os.getpid() != self._pid:
            return
        self.flush()
        state = "finished" if exit_code == 0 else "failed"
        self._commit(
            {
                "op": "run.finish",
                "state": state,
                "exit_code": exit_code,
                "summary": self.summary.as_dict(),
                "error": error,
            }
        )
        self.state, self.exit_code = state, exit_code

    def flush(self) -> None:
        """Commit a config that was changed since the run started."""
        if self._config_changed:
            self._config_changed = False
            self._commit({"op": "run.update", "config": self.config.as_dict()})

    def _note_config(self) -> None:
        self._config_changed = True

    def _commit(self, op: Mapping[str, Any]) -> None:
        self._project.commit(lambda state: [{**op, "run": self.id}])

    def _demand_running(self, what: str) -> None:
        if self.state != "running":
            raise UsageError(
                f"run {self.path} is {self.state}; it cannot {what} any more; start one with lineart.init()"
            )

    def __repr__(self) -> str:
        return f"<Run {self.path} {self.name!r} {self.state}>"


def _flat(data: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", plain(value, f"metric {prefix}{key}")))
    return rows
