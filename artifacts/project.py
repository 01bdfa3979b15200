"""A project in a store: its log, the state folded from it, and the commits that change it."""

from __future__ import annotations

import datetime
import getpass
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..storage.codec import compress_whole, decompress_whole
from ..storage.commit import Committer
from ..storage.errors import Error, FormatError, IntegrityError, StoreError
from ..storage.log import LogEntry, Position
from ..storage.store import Store, project_prefix
from ..storage.transaction import Op, canonical_json
from .names import ProjectName
from .state import (
    CollectionState,
    Contribution,
    Gathering,
    ProjectFold,
    ProjectState,
    VersionState,
)

_CHECKPOINT_FORMAT = 1
_TIME = struct.Struct("<d")
_CHECKPOINT_LIMIT_BYTES = 4 << 30


def utc_now() -> str:
    """The time of now as the log writes it: RFC 3339, UTC, microseconds."""
    return log_time(time.time())


def log_time(seconds: float) -> str:
    """A time in seconds since the epoch as the log writes it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def this_actor() -> dict[str, str]:
    """Who commits: user and host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry for its user
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return {"user": user, "host": socket.gethostname()}


class Project:
    """The log of one project and its folded state. Shared by threads; usable after `fork`."""

    def __init__(self, store: Store, name: ProjectName, *, now: Callable[[], str] = utc_now) -> None:
        self.store = store
        self.name = name
        self.prefix = project_prefix(name.entity, name.project)
        self.log = store.log(self.prefix)
        self._now = now
        self._committer: Committer[ProjectState] | None = None

    def state(self) -> ProjectState:
        """The newest state. Raises: CommError, IntegrityError."""
        if self._committer is None:
            return self._open().state  # what was just read
        return self._committer.refresh()

    def demand_understood(self) -> None:
        """See that this client understands all that the log has. Raises: FormatError when a newer one wrote to it."""
        self._check(self.state())

    def _check(self, state: ProjectState) -> None:
        if state.newer is not None:
            raise FormatError(
                f"project {self.name} has {state.newer}, written by a newer lineart; upgrade to write here"
            )

    @property
    def position(self) -> Position:
        """The newest transaction folded so far."""
        return self._open().position

    def commit(self, decide: Callable[[ProjectState], Sequence[Op]]) -> Sequence[Op]:
        """Append the ops that `decide` returns; see `Committer.commit`.

        Raises: what `decide` raises; FormatError when a newer client has written what this one does not know.
        """

        def decide_if_understood(state: ProjectState) -> Sequence[Op]:
            self._check(state)
            return decide(state)

        return self._open().commit(decide_if_understood)

    def _open(self) -> Committer[ProjectState]:
        if self._committer is None:
            state, position = self._newest()
            self._committer = Committer(
                self.log,
                ProjectFold(),
                state,
                position,
                actor=this_actor(),
                now=self._now,
                on_sealed=self._write_checkpoint,
            )
        return self._committer

    def _newest(self) -> tuple[ProjectState, Position]:
        """The state of now. Of a remote store it is noted, so that the next process needs one request for it."""
        note = self.store.note(self.prefix)
        if note is None:
            return self._read_on(*self._checkpoint())
        noted = note.read()
        state, position = ProjectState(), Position()
        if noted is None:
            tail = self.log.read_first_folder()
            if tail is None:
                return self._read_on(*self._checkpoint())
        else:
            state, position = decode_checkpoint(noted[_TIME.size :])
            tail = self.log.continue_from(position, _TIME.unpack(noted[: _TIME.size])[0])
            if tail is None:
                self.store.forget_notes()
                raise StoreError(
                    f"store {self.store.url}: the log of project {self.name} is another one than before; what this"
                    " machine had noted of it is dropped; try again"
                )
        state, position = _folded(state, position, tail.entries)
        if tail.entries:
            note.write(_TIME.pack(tail.modified_s) + encode_checkpoint(state, position))
        return state, position

    def _read_on(self, state: ProjectState, position: Position) -> tuple[ProjectState, Position]:
        state, position = _folded(state, position, self.log.read_after(position))
        self.log.demand_no_hole(position)
        return state, position

    def _checkpoint(self) -> tuple[ProjectState, Position]:
        for name in reversed(self.store.backend.folders(f"{self.prefix}checkpoints/")):
            try:
                data = self.store.backend.read(f"{self.prefix}checkpoints/{name}/state.json.zst")
                return decode_checkpoint(data)
            except Error:
                continue  # advisory: an older one, or the log from its start, says the same
        return ProjectState(), Position()

    def _write_checkpoint(self, state: ProjectState, position: Position) -> None:
        key = f"{self.prefix}checkpoints/{position.seq:012}/state.json.zst"
        self.store.backend.write(key, encode_checkpoint(state, position))


def _folded(
    state: ProjectState, position: Position, entries: Iterable[LogEntry]
) -> tuple[ProjectState, Position]:
    for entry in entries:
        state, position = ProjectFold().apply(state, entry.transaction), entry.position
    return state, position


def encode_checkpoint(state: ProjectState, position: Position) -> bytes:
    """The stored form of a folded state."""
    collections = [
        {
            "name": c.name,
            "type": c.type,
            "description": c.description,
            "created_at": c.created_at,
            "aliases": dict(c.aliases.items()),
            "next_version": c.next_version,
            "versions": [asdict(v) for v in c.versions.values()],
        }
        for c in state.collections.values()
    ]
    value = {
        "format": _CHECKPOINT_FORMAT,
        "seq": position.seq,
        "head": position.digest,
        "newer": state.newer,
        "collections": collections,
        "gatherings": [[*key, asdict(gathering)] for key, gathering in state.gatherings.items()],
    }
    return compress_whole(canonical_json(value))


def decode_checkpoint(data: bytes) -> tuple[ProjectState, Position]:
    """Raises: IntegrityError, FormatError when it cannot be used."""
    try:
        found = json.loads(decompress_whole(data, _CHECKPOINT_LIMIT_BYTES))
        if found["format"] != _CHECKPOINT_FORMAT:
            raise FormatError(
                f"checkpoint of format {found['format']}: this version reads {_CHECKPOINT_FORMAT}"
            )
        state = ProjectState(newer=found["newer"])
        for fields in found["collections"]:
            collection = _collection(fields)
            state = replace(state, collections=state.collections.insert(collection.name, collection))
        for name, distributed_id, fields in found.get("gatherings", ()):
            gathering = Gathering(tuple(map(_contribution, fields["waiting"])), fields["finished"])
            state = replace(state, gatherings=state.gatherings.insert((name, distributed_id), gathering))
        return state, Position(found["seq"], found["head"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"checkpoint: {error!r}") from error


def _tuples(fields: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {**fields, **{key: tuple(fields[key]) for key in keys if key in fields}}


def _contribution(fields: Mapping[str, Any]) -> Contribution:
    return Contribution(**_tuples(fields, "packs", "meta_packs", "aliases", "tags"))


def _collection(fields: Mapping[str, Any]) -> CollectionState:
    collection = CollectionState(fields["name"], fields["type"], fields["description"], fields["created_at"])
    versions, by_digest, aliases = collection.versions, collection.by_digest, collection.aliases
    for row in fields["versions"]:
        version = VersionState(**_tuples(row, "tags", "packs", "meta_packs", "links"))
        versions = versions.insert(version.number, version)
        if not version.deleted:
            by_digest = by_digest.insert(version.digest, version.number)
    for alias, number in fields["aliases"].items():
        aliases = aliases.insert(alias, number)
    return CollectionState(
        collection.name,
        collection.type,
        collection.description,
        collection.created_at,
        versions,
        by_digest,
        aliases,
        fields["next_version"],
    )
