"""A project in a store: its log, the state folded from it, and the commits that change it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

from ..storage.actor import this_actor, utc_now
from ..storage.bounded import FRAME_LIMIT_BYTES, read_bounded
from ..storage.codec import compress_whole, decompress_whole
from ..storage.commit import Committer
from ..storage.condemned import PacksCondemned
from ..storage.errors import CommError, Error, FormatError, IntegrityError, StoreError
from ..storage.log import LogEntry, Position
from ..storage.notes import Note
from ..storage.objects import PackGone
from ..storage.overlay import Outbox, OverlayBackend
from ..storage.store import Store, project_prefix
from ..storage.transaction import Op, canonical_json
from .names import ProjectName
from .packs import packs_named, read_pack_list
from .state import (
    CollectionState,
    Contribution,
    Gathering,
    PolicyText,
    ProjectFold,
    ProjectState,
    Promoted,
    RegistrySettings,
    VersionState,
)

_CHECKPOINT_FORMAT = 4
_READABLE_FORMATS = (2, 3, 4)  # the second form had no seal, the third knew of no protections
_TIME = struct.Struct("<d")
_CHECKPOINT_LIMIT_BYTES = 4 << 30
_LOOKS = 1000  # each repeat means that somebody has made another plan
_STORED_AGAIN = 20
T = TypeVar("T")


class _Unprepared(Exception):
    """What has to be read before a decision can be made, which itself reads nothing; told to `commit` alone."""

    def __init__(
        self,
        *,
        register: bool = False,
        plans: Sequence[str] = (),
        lists: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.register = register
        self.plans = plans
        self.lists = lists or {}


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

        What they name of packs is compared with every plan of the collection that the log knows, and the project's
        first transaction enters it in the store's log (`storage.gc` says what for).
        Raises: what `decide` raises; PacksCondemned when the bytes have to be stored again (`commit_stored` does);
        FormatError when a newer client has written what this one does not know.
        """
        condemned = self.store.objects.condemned
        lists: dict[str, list[str]] = {}
        plans: Sequence[str] | None = None  # of the store's log, once this project stands in it

        def decide_with_care(state: ProjectState) -> Sequence[Op]:
            self._check(state)
            ops = list(decide(state))
            if not ops or self.store.is_offline:  # whoever sends the outbox commits anew, with care
                return ops
            known = state.plans
            if not state.registered:
                if plans is None:
                    raise _Unprepared(register=True)
                ops.append({"op": "project.create", "project": str(self.name), "plans": list(plans)})
                known = (*known, *plans)
            if known:
                named, lists_named = packs_named(state, ops)
                unread = {digest: packs for digest, packs in lists_named.items() if digest not in lists}
                unchecked = condemned.unchecked(known)
                if unchecked or unread:
                    raise _Unprepared(plans=unchecked, lists=unread)
                condemned.demand_free(map(bytes.fromhex, named))
                for digest in lists_named:
                    condemned.demand_free(map(bytes.fromhex, lists[digest]))
            return ops

        refreshed = False
        for _ in range(_LOOKS):
            try:
                committed = self._open().commit(decide_with_care)
                return [op for op in committed if op["op"] != "project.create"]
            except _Unprepared as missing:
                try:
                    if missing.register:
                        plans = self.store.facts.register(str(self.name)).plans
                    condemned.check(missing.plans)
                    for digest, packs in missing.lists.items():
                        lists[digest] = read_pack_list(self.store, digest, packs)
                except CommError:
                    if not self.store.is_offline:  # it is since just now
                        raise
            except PacksCondemned:
                if refreshed:
                    raise
                condemned.refresh()  # a plan may have become final meanwhile, without these packs
                refreshed = True
        raise PacksCondemned(f"project {self.name}: collections are planned all the time; try again later")

    def check_plans(self) -> None:
        """Note the plans that were in the log when it was last read, so that nothing stored now relies on their packs.

        That saves storing it twice, no more: `commit` compares with the plans of the moment.
        """
        plans = self._open().state.plans
        try:
            if not self.store.is_offline:
                self.store.objects.condemned.check(plans)
        except CommError:
            if not self.store.is_offline:  # it is since just now
                raise

    def commit_stored(
        self, store_bytes: Callable[[], T], decide: Callable[[ProjectState, T], Sequence[Op]]
    ) -> tuple[T, Sequence[Op]]:
        """Store some bytes and commit ops that name their packs; both again while those are being collected meanwhile.

        What `store_bytes` returned last, and the ops. Raises: what both raise; those of `commit`.
        """
        left = _STORED_AGAIN
        while True:
            left -= 1
            self.check_plans()
            try:
                stored = store_bytes()
                return stored, self.commit(partial(_with, decide, stored))
            except (
                PacksCondemned,
                PackGone,
            ):  # what the store had already is on its way out, or went a moment ago
                if not left:
                    raise
                self.state()  # with the plans of now

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
        note, overlay = self.store.note(self.prefix), self.store.overlay
        known = None if note is None else _known(note.read())
        if overlay is not None and overlay.is_offline:
            return self._newest_offline(overlay, known)
        if note is None:
            return self._read_on(*self._checkpoint())
        if overlay is None:
            return self._asked(note, known)
        try:
            found = self._asked(note, known)
        except CommError as error:
            if not overlay.falls_back:
                raise
            overlay.go_offline(error)
            return self._newest_offline(overlay, known)
        overlay.on_offline.append(lambda error: self._write_base())
        return found

    def _newest_offline(
        self, overlay: OverlayBackend, known: tuple[ProjectState, Position, float] | None
    ) -> tuple[ProjectState, Position]:
        """What was known of the log, and what was added in the outbox."""
        base = overlay.outbox.base(self.prefix)
        written = base.read()
        if written is None:
            written = encode_checkpoint(*(known or (ProjectState(), Position()))[:2])
            base.keep(written)
        return self._read_on(*decode_checkpoint(written))

    def begin_lane(self, lane: Outbox, collection: str) -> None:
        """Let a commit to `collection` in `lane` go on from the state of now."""
        committer = self._open()
        state, position = committer.state, committer.position
        found = state.collections.get(collection)
        collections = ProjectState().collections
        if found is not None:
            collections = collections.insert(collection, found)
        # Nobody else reads it, and the others of a large project would take their time.
        lane.base(self.prefix).keep(encode_checkpoint(replace(state, collections=collections), position))

    def _write_base(self) -> None:
        """The store does not answer any more: what is committed now goes into the outbox, behind this."""
        overlay = self.store.overlay
        if overlay is not None and self._committer is not None:
            base = overlay.outbox.base(self.prefix)
            if base.read() is None:
                base.keep(encode_checkpoint(self._committer.state, self._committer.position))

    def _asked(
        self, note: Note, known: tuple[ProjectState, Position, float] | None
    ) -> tuple[ProjectState, Position]:
        """Of a remote store that answers."""
        state, position = ProjectState(), Position()
        if known is None:
            tail = self.log.read_first_folder()
            if tail is None:
                return self._read_on(*self._checkpoint())
        else:
            state, position, modified_s = known
            tail = self.log.continue_from(position, modified_s)
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
                key = f"{self.prefix}checkpoints/{name}/state.json.zst"
                data = read_bounded(self.store.backend, key, FRAME_LIMIT_BYTES)
                state, position = decode_checkpoint(data)
                if self.log.holds(position):
                    return state, position
            except Error:
                continue  # advisory: an older one, or the log from its start, says the same
        return ProjectState(), Position()

    def _write_checkpoint(self, state: ProjectState, position: Position) -> None:
        key = f"{self.prefix}checkpoints/{position.seq:012}/state.json.zst"
        frame = encode_checkpoint(state, position)
        if len(frame) <= FRAME_LIMIT_BYTES:  # else nobody would read it
            self.store.backend.write(key, frame)


def _folded(
    state: ProjectState, position: Position, entries: Iterable[LogEntry]
) -> tuple[ProjectState, Position]:
    for entry in entries:
        state, position = ProjectFold().apply(state, entry.transaction), entry.position
    return state, position


def _with(decide: Callable[[ProjectState, T], Sequence[Op]], stored: T, state: ProjectState) -> Sequence[Op]:
    return decide(state, stored)


def _known(noted: bytes | None) -> tuple[ProjectState, Position, float] | None:
    """A noted state, its position, and the time of the newest entry then; None if another version has noted it."""
    if noted is None:
        return None
    try:
        state, position = decode_checkpoint(noted[_TIME.size :])
    except Error:
        return None  # a note, as good as none
    return state, position, _TIME.unpack(noted[: _TIME.size])[0]


def encode_checkpoint(state: ProjectState, position: Position) -> bytes:
    """The stored form of a folded state."""
    collections = [
        {
            "name": c.name,
            "type": c.type,
            "description": c.description,
            "tags": list(c.tags),
            "created_at": c.created_at,
            "aliases": dict(c.aliases.items()),
            "protected": dict(c.protected.items()),
            "promoted": {alias: asdict(last) for alias, last in c.promoted.items()},
            "policy": None if c.policy is None else asdict(c.policy),
            "ignored": list(c.ignored),
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
        "registered": state.registered,
        "plans": list(state.plans),
        "registry": None if state.registry is None else asdict(state.registry),
        "gatherings": [[*key, asdict(gathering)] for key, gathering in state.gatherings.items()],
    }
    return compress_whole(canonical_json(value))


def decode_checkpoint(data: bytes) -> tuple[ProjectState, Position]:
    """Raises: IntegrityError, FormatError when it cannot be used."""
    try:
        found = json.loads(decompress_whole(data, _CHECKPOINT_LIMIT_BYTES))
        # The first form did not know of plans, the first three of promotion; if its log had any, its client did not
        # understand it.
        is_first = found["format"] == 1 and found["newer"] is None
        if found["format"] < _CHECKPOINT_FORMAT and found["newer"] is not None:
            raise FormatError(f"checkpoint of format {found['format']}: it did not understand all of its log")
        if found["format"] not in _READABLE_FORMATS and not is_first:
            raise FormatError(
                f"checkpoint of format {found['format']}: this version reads {_CHECKPOINT_FORMAT}"
            )
        state = ProjectState(
            newer=found["newer"],
            registered=False if is_first else found["registered"],
            plans=() if is_first else tuple(found["plans"]),
            registry=_registry(found.get("registry")),
        )
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
    collection = replace(
        collection,
        versions=versions,
        by_digest=by_digest,
        aliases=aliases,
        next_version=fields["next_version"],
        policy=_policy(fields.get("policy")),
        ignored=tuple(fields.get("ignored", ())),
        tags=tuple(fields.get("tags", ())),
    )
    for alias, since in fields.get("protected", {}).items():
        collection = replace(collection, protected=collection.protected.insert(alias, since))
    for alias, last in fields.get("promoted", {}).items():
        collection = replace(collection, promoted=collection.promoted.insert(alias, Promoted(**last)))
    return collection


def _policy(fields: Mapping[str, Any] | None) -> PolicyText | None:
    return None if fields is None else PolicyText(**fields)


def _registry(fields: Mapping[str, Any] | None) -> RegistrySettings | None:
    if fields is None:
        return None
    return RegistrySettings(fields["description"], tuple(fields["types"]), _policy(fields["policy"]))
