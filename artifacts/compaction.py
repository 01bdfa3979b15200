"""Compaction: what is still needed of packs that are mostly dead, and copying it into new ones. No identity changes.

Versions go on naming the old packs; that their objects lie in others now stands in the store's log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ..storage.codec import Codec
from ..storage.digest import parse_hex
from ..storage.errors import Error
from ..storage.store import Store
from .manifest import read_rows
from .marking import Holder
from .packs import read_pack_list
from .publish import listed_packs

_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Copied:
    """What was needed of one pack: the packs that hold it now, and how many bytes were stored anew for it."""

    packs: Sequence[str]
    new_bytes: int


@dataclass(slots=True)
class _Needed:
    """Of one pack: stored bytes of the objects that are needed, those of manifests apart."""

    rows: Mapping[bytes, int]  # all objects of the pack
    data: set[bytes] = field(default_factory=set)
    metadata: set[bytes] = field(default_factory=set)

    @property
    def size_bytes(self) -> int:
        return sum(self.rows[digest] for digest in self.data | self.metadata)


def needed_bytes(
    store: Store, holders: Sequence[tuple[Holder, frozenset[str]]], packs: Collection[str]
) -> dict[str, int]:
    """Of each of `packs` how many bytes are needed by `holders`, which come with all packs that they need.

    A pack that cannot be told about, since something is damaged, is left out.
    """
    return {pack: needed.size_bytes for pack, needed in _needed(store, holders, packs).items()}


def copy_needed(
    store: Store, holders: Sequence[tuple[Holder, frozenset[str]]], packs: Collection[str]
) -> dict[str, Copied]:
    """Store what `holders` need of `packs` in other packs. A pack of which that is not possible is left out.

    The packs must be condemned, so that nothing new comes to rely on them. Raises: StoreError, CommError.
    """
    needed = _needed(store, holders, packs)
    around = {
        pack: sorted({parse_hex(other) for _, others in holders if pack in others for other in others})
        for pack in needed
    }
    copied: dict[str, Copied] = {}
    for group in _groups(needed, store.settings.pack.target_bytes):
        sources = sorted({other for pack in group for other in around[pack]})
        try:
            with store.snapshot() as snapshot:
                snapshot.require_metadata({d for pack in group for d in needed[pack].metadata}, sources)
                snapshot.require({d for pack in group for d in needed[pack].data}, sources)
                packed = snapshot.finish()
        except Error:
            continue  # damaged: the old packs stay as they are, for whoever repairs them
        successors = sorted({*packed.packs, *packed.meta_packs})
        for number, pack in enumerate(group):
            copied[pack] = Copied(successors, packed.new_bytes if number == 0 else 0)
    return copied


def stored_anew(store: Store, holder: Holder) -> dict[str, Any]:
    """`packs`, `meta_packs` and `packs_object` for the content of `holder`, copied out of what is being collected.

    Raises: NotFoundError when something of it is nowhere any more; IntegrityError, StoreError, CommError.
    """
    named = [*holder.packs, *holder.meta_packs]
    if holder.packs_object is not None:
        named += read_pack_list(store, holder.packs_object, holder.meta_packs)
    places = frozenset(named)
    metadata: set[bytes] = set()
    data: set[bytes] = set()
    for digest, is_metadata in _objects_of(store, replace(holder, packs_object=None), places):
        (metadata if is_metadata else data).add(digest)
    sources = sorted(map(parse_hex, places))
    with store.snapshot() as snapshot:
        snapshot.require_metadata(metadata, sources)
        snapshot.require(data - metadata, sources)
        packed = snapshot.finish()
    packs, meta_packs, packs_object = listed_packs(store, packed.packs, packed.meta_packs)
    found: dict[str, Any] = {"meta_packs": list(meta_packs), "packs": list(packs)}
    return found if packs_object is None else {**found, "packs_object": packs_object}


def _groups(needed: Mapping[str, _Needed], target_bytes: int) -> Iterator[list[str]]:
    """Packs whose rest makes about one new pack together."""
    group: list[str] = []
    size_bytes = 0
    for pack in sorted(needed):
        group.append(pack)
        size_bytes += needed[pack].size_bytes
        if size_bytes >= target_bytes:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _needed(
    store: Store, holders: Sequence[tuple[Holder, frozenset[str]]], packs: Collection[str]
) -> dict[str, _Needed]:
    found: dict[str, _Needed] = {}
    for pack in packs:
        try:
            rows = store.objects.read_trailer(parse_hex(pack))[1]
        except Error:
            continue  # gone meanwhile, or damaged
        found[pack] = _Needed({row.digest: row.stored_bytes for row in rows})
    for holder, its_packs in holders:
        mine = [found[pack] for pack in its_packs if pack in found]
        if not mine:
            continue
        try:
            for digest, is_metadata in _objects_of(store, holder, its_packs):
                for needed in mine:
                    if digest in needed.rows:
                        (needed.metadata if is_metadata else needed.data).add(digest)
        except Error:  # whatever of this holder is damaged may lie in any of its packs: they stay
            for pack in its_packs:
                found.pop(pack, None)
    return found


def _objects_of(store: Store, holder: Holder, packs: frozenset[str]) -> Iterator[tuple[bytes, bool]]:
    """Every object that a holder needs, chunks and lists of chunks included, and whether it describes the others."""
    places = [parse_hex(pack) for pack in sorted(packs)]
    described = [holder.digest] if holder.packs_object is None else [holder.digest, holder.packs_object]
    for digest in map(parse_hex, described):
        yield from ((found, True) for found in _with_pieces(store, [digest], places))
    with store.objects.open(parse_hex(holder.digest), places) as stream:
        for rows in read_rows(stream):
            found_here = {parse_hex(row[2]) for row in rows if row[1] in ("f", "x")}
            digests = iter(found_here)
            while batch := list(islice(digests, _BATCH)):
                yield from ((found, False) for found in _with_pieces(store, batch, places))


def _with_pieces(store: Store, digests: Sequence[bytes], packs: Sequence[bytes]) -> Iterator[bytes]:
    for digest, place in store.objects.places(digests, packs):
        yield digest
        if place.codec == Codec.CHUNKS:
            yield from (piece for piece, _ in store.objects.chunks(digest, place))
