"""Reading objects as they are stored, to put them into other packs."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .backend import Backend, Buffer
from .codec import Codec
from .digest import digest_of, short
from .errors import IntegrityError
from .locations import Location
from .objects import Objects, PackGone
from .pack import PackLimits, PackWriter, decode_trailer, new_salt, pack_key, trailer_length
from .planning import Run, plan_runs

_BATCH = 8192
_LOOKS = 8


def copied(
    objects: Objects, digests: Collection[bytes], packs: Collection[bytes]
) -> Iterator[tuple[bytes, Location, Buffer]]:
    """Digest, place and stored payload of each object, verified, pack by pack; of a large one its list of chunks.

    Raises: NotFoundError when one is neither in a known pack nor in one of `packs`; IntegrityError.
    """
    wanted = sorted(digests)
    for start in range(0, len(wanted), _BATCH):
        left = dict.fromkeys(wanted[start : start + _BATCH])
        for look in range(_LOOKS):
            places = objects.locate(left, packs)
            in_order = sorted(places.items(), key=lambda item: (item[1].pack, item[1].offset))
            try:
                for run in plan_runs(in_order):
                    for digest, place, payload in _read_run(objects, run):
                        del left[digest]
                        yield digest, place, payload
                break
            except (
                PackGone
            ):  # it is forgotten, and with it all that were collected: the next look finds other places
                if look + 1 == _LOOKS:
                    raise
                objects.look_at_plans()


def _read_run(objects: Objects, run: Run) -> Iterator[tuple[bytes, Location, Buffer]]:
    payload = objects.read_run(run)
    for digest, place in run.items:
        start = place.offset - run.start
        stored: Buffer = payload[start : start + place.stored_bytes]
        try:
            _demand_sound(objects, digest, place, stored)
        except IntegrityError:
            if not objects.forget_kept([place.pack]):
                raise
            stored = objects.read_payload(digest, place)  # what this machine had kept of it was damaged
            _demand_sound(objects, digest, place, stored)
        yield digest, place, stored


def _demand_sound(objects: Objects, digest: bytes, place: Location, stored: Buffer) -> None:
    if place.codec == Codec.CHUNKS:
        objects.chunks_of(digest, place, stored)
    else:
        objects.opened(digest, place, stored)


def salted_copy(objects: Objects, source: Backend, pack: bytes, limits: PackLimits) -> bytes:
    """Store the pack in `source` under another name, since its own is condemned: the new pack's digest.

    Raises: NotFoundError when `source` has no such pack; IntegrityError when it is damaged; StoreError, CommError.
    """
    data = source.read(pack_key(pack))
    if digest_of(data) != pack:
        raise IntegrityError(f"pack {short(pack)} in {source.url} is damaged; restore it from a copy")
    rows = decode_trailer(memoryview(data)[len(data) - trailer_length(data) :], len(data))
    writer = PackWriter(objects.backend.staging(), limits)
    try:
        salt = new_salt()
        writer.add(digest_of(salt), len(salt), Codec.RAW, salt)
        for row in rows:
            payload = memoryview(data)[row.offset : row.offset + row.stored_bytes]
            writer.add(row.digest, row.raw_bytes, row.codec, payload)
        built = writer.finish()
    except BaseException:
        writer.discard()
        raise
    objects.backend.write_file(pack_key(built.digest), built.path)
    objects.added(built.digest, built.size_bytes, built.objects)
    return built.digest
