"""Where the processes of a run write before it ends: a folder for each of them, on this machine.

In a local store that is ``<store>/.live/<entity>/<project>/<run>/<writer>``, so that whoever sees the store sees the
run; for a remote store, and when a local one vanishes meanwhile, it lies in the user's data folder. A *writer* is
one process (or one fork of it). It holds ``journal.jsonl`` and ``files/``; when the run has ended and all is in the
store, the folder goes.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..artifacts.names import ProjectName, check_name
from ..storage.backend import LIVE
from ..storage.store import Store

JOURNAL = "journal.jsonl"
FILES = "files"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The places of a run's writers: where they write, and where they go on when that place is gone."""

    path: Path
    refuge: Path

    @classmethod
    def of(cls, store: Store, project: ProjectName, run: str, data_home: Path) -> RunFolder:
        """The folder of `run`; it need not exist. Raises: InvalidNameError."""
        first, second = live_roots(store, data_home)
        check_name(run, "run")  # it comes from the log, which anybody who writes to the store has written
        tail = Path(check_name(project.entity, "entity"), check_name(project.project, "project"), run)
        return cls(first / tail, second / tail)

    def new(self, writer: str) -> Path:
        """The folder in which `writer` starts."""
        return self.path / writer

    def places(self, writer: str) -> list[Path]:
        """The folders in which something of a writer lies."""
        return [
            place / writer for place in dict.fromkeys((self.path, self.refuge)) if (place / writer).is_dir()
        ]

    def journal(self, writer: str) -> Path:
        """A writer's journal: the longer one, if it had to move."""
        found = [place / JOURNAL for place in self.places(writer)]
        return max(reversed(found), key=_size, default=self.path / writer / JOURNAL)

    def writers(self) -> list[str]:
        """Those that have a journal here, sorted."""
        names: set[str] = set()
        for place in (self.path, self.refuge):
            try:
                with os.scandir(place) as entries:
                    names |= {e.name for e in entries if os.path.exists(os.path.join(e.path, JOURNAL))}
            except (FileNotFoundError, NotADirectoryError):
                continue
        return sorted(names)

    def remove(self, writer: str) -> None:
        """Remove a writer's folders, and the run's when it was the last. What cannot be removed stays: it is litter."""
        for place in dict.fromkeys((self.path, self.refuge)):
            shutil.rmtree(place / writer, ignore_errors=True)
            for folder in (place, place.parent, place.parent.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break  # others are in it


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def live_roots(store: Store, data_home: Path) -> tuple[Path, Path]:
    """The folders that hold the folders of running runs of a store: the usual one, and the refuge."""
    refuge = data_home / "live" / store.settings.store
    local = store.backend.local_path("x")
    return (local.parent / LIVE if local is not None else refuge), refuge


def runs_in(store: Store, project: ProjectName, data_home: Path) -> list[str]:
    """The runs of a project that have left something on this machine, or are writing it."""
    names: set[str] = set()
    for root in live_roots(store, data_home):
        try:
            with os.scandir(root / project.entity / project.project) as entries:
                names |= {entry.name for entry in entries if entry.is_dir()}
        except (FileNotFoundError, NotADirectoryError):
            continue
    return sorted(names)
