"""Who needs which packs, as the ops of a log say: live versions, contributions that wait, the files of runs. Pure.

Unlike the fold it goes on behind an op that contradicts the ones before: what is damaged must not hide the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..storage.transaction import Op


@dataclass(frozen=True, slots=True)
class Need:
    """A manifest with its files, and the packs that have them."""

    kind: str  # version, contribution, run
    name: str
    digest: str
    packs: tuple[str, ...]
    meta_packs: tuple[str, ...]
    packs_object: str | None
    index: str | None

    @classmethod
    def of(cls, kind: str, name: str, record: Mapping[str, Any]) -> Need:
        """From the keys of an op. Raises: KeyError, TypeError."""
        return cls(
            kind,
            name,
            record["digest"],
            tuple(record.get("packs") or ()),
            tuple(record.get("meta_packs") or ()),
            record.get("packs_object"),
            record.get("index"),
        )


class Needs:
    """The needs of one project, fed with its ops from the first one."""

    def __init__(self, project: str) -> None:
        """`project` is ``entity/project``."""
        self._project = project
        self._versions: dict[tuple[str, int], Need] = {}
        self._deleted: set[tuple[str, int]] = set()
        self._waiting: dict[tuple[str, str], list[Need]] = {}
        self._runs: dict[str, list[Need]] = {}
        self._deleted_runs: set[str] = set()

    def add(self, op: Op) -> None:
        """Take in one op. Raises: KeyError, TypeError, AttributeError for a malformed one."""
        name = op["op"]
        if name.startswith("run."):
            if name == "run.delete":
                self._deleted_runs.add(op["run"])
            if op.get("files"):
                need = Need.of("run", f"{self._project}/{op['run']}", op["files"])
                self._runs.setdefault(op["run"], []).append(need)
        elif name == "version.create":
            key = op["collection"], op["version"]
            self._versions[key] = Need.of("version", f"{self._project}/{key[0]}:v{key[1]}", op)
        elif name == "version.delete":
            self._deleted.add((op["collection"], op["version"]))
        elif name == "version.restore":
            self._deleted.discard((op["collection"], op["version"]))
        elif name == "artifact.contribute":
            title = f"contribution to {self._project}/{op['collection']}"
            waiting = self._waiting.setdefault((op["collection"], op["distributed_id"]), [])
            waiting.append(Need.of("contribution", title, op))
        elif name == "artifact.finish":
            del self._waiting.get((op["collection"], op["distributed_id"]), [])[: op["count"]]

    def live(self) -> Iterator[Need]:
        """Those whose bytes have to be there, newest versions first."""
        yield from (need for key, need in reversed(self._versions.items()) if key not in self._deleted)
        for waiting in self._waiting.values():
            yield from waiting
        for run, needs in self._runs.items():
            if run not in self._deleted_runs:
                yield from needs
