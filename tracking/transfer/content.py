"""What versions and runs need of the source's packs, brought to the target: and where it lies there.

Mostly the packs are the same, under the same names. Not so where the source has compacted one (its successors are
copied instead), or where the target is collecting one (what it holds is stored there in another).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...artifacts.keeping import moved_packs
from ...artifacts.publish import listed_packs
from ...artifacts.version import Version
from ...storage.copying import salted_copy
from ...storage.digest import parse_hex
from ...storage.errors import NotFoundError
from ...storage.pack_copy import PackCopier, Progress
from ...storage.pack_index import FROM_PACKS, encode_index
from ...storage.store import Store

_LOOKS = 5  # each repeat means that the source was compacted meanwhile


@dataclass(frozen=True, slots=True)
class _Source:
    """The packs of a version in the source now, and whether its record names them."""

    data: Sequence[bytes]
    meta: Sequence[bytes]
    is_as_recorded: bool


class ContentCopier:
    """Copies what is needed, each pack once. With `dry_run` it says only how much that would be."""

    def __init__(self, source: Store, target: Store, progress: Progress | None, *, dry_run: bool) -> None:
        self._source = source
        self._target = target
        self._dry_run = dry_run
        self._imagined: set[bytes] = set()  # packs that a dry run would have copied
        self.imagined_bytes = 0
        self.copier = PackCopier(
            source.backend,
            target.backend,
            progress,
            condemned=target.objects.condemned,
            anew=lambda pack: salted_copy(target.objects, source.backend, pack, target.settings.pack),
        )

    def bring(self, versions: Sequence[Version]) -> list[Mapping[str, Any]]:
        """Bring the content of `versions`, and say of each what its record in the target has of `PLACES`.

        Raises: NotFoundError, IntegrityError naming the pack, when the source does not have it or its bytes are
        others; StoreError, CommError.
        """
        looks, found = 0, [self._places_here(version) for version in versions]
        while True:
            packs = {
                pack: version.name.short
                for version, here in zip(versions, found, strict=True)
                for pack in (*here.data, *here.meta)
            }
            if self._dry_run:
                self._imagine(packs)
                return [_recorded(version) for version in versions]
            try:
                self.copier.copy(packs)
                break
            except NotFoundError:
                looks += 1
                self._source.objects.look_at_plans()
                before, found = found, [self._places_here(version) for version in versions]
                if looks == _LOOKS or found == before:
                    raise
        return [self._places_there(version, here) for version, here in zip(versions, found, strict=True)]

    def _places_here(self, version: Version) -> _Source:
        moved = moved_packs(self._source, version.packs)
        if moved is None:
            return _Source(version.packs.data, version.packs.meta, is_as_recorded=True)
        data, meta = (list(map(parse_hex, packs)) for packs in moved)
        return _Source(data, meta, is_as_recorded=False)

    def _places_there(self, version: Version, here: _Source) -> Mapping[str, Any]:
        data = [self.copier.name_of(pack) for pack in here.data]
        meta = [self.copier.name_of(pack) for pack in here.meta]
        is_as_recorded = here.is_as_recorded and data == list(here.data) and meta == list(here.meta)
        lacks_index = self._target.is_remote and len(data) >= FROM_PACKS and version.state.index is None
        if is_as_recorded and not lacks_index:
            return _recorded(version)
        index = None
        if self._target.is_remote and len(data) >= FROM_PACKS:
            index, more = self._index(data)
            meta = [*meta, *(pack for pack in more if pack not in meta)]
        packs, meta_packs, packs_object = listed_packs(
            self._target, sorted(pack.hex() for pack in data), sorted(pack.hex() for pack in meta)
        )
        found = {"packs": list(packs), "meta_packs": list(meta_packs)}
        given = {"packs_object": packs_object, "index": index}
        return {**found, **{key: value for key, value in given.items() if value is not None}}

    def _index(self, packs: Sequence[bytes]) -> tuple[str, list[bytes]]:
        """Give a bucket what a local store does without: one object for the places of all others."""
        trailers = [(pack, self._target.objects.read_trailer(pack)[1]) for pack in packs]
        with self._target.snapshot() as snapshot:
            digest = snapshot.add_metadata(encode_index(trailers))
            return digest.hex(), list(map(parse_hex, snapshot.finish().meta_packs))

    def _imagine(self, packs: Mapping[bytes, str]) -> None:
        wanted = [pack for pack in self.copier.missing(packs) if pack not in self._imagined]
        self._imagined.update(wanted)
        self.imagined_bytes += self.copier.size_of(wanted)


def _recorded(version: Version) -> Mapping[str, Any]:
    state = version.state
    found: dict[str, Any] = {"packs": list(state.packs), "meta_packs": list(state.meta_packs)}
    given = {"packs_object": state.packs_object, "index": state.index}
    return {**found, **{key: value for key, value in given.items() if value is not None}}
