"""From a draft to stored content: read the files, build the manifest, put both into packs. The commit comes after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from ..storage.digest import parse_hex
from ..storage.errors import IntegrityError, NotFoundError
from ..storage.snapshot import Progress
from ..storage.store import Store
from ..storage.transaction import canonical_json
from .decisions import Content
from .draft import Draft, LocalFile
from .manifest import Entry, Kind, Manifest
from .paths import check_portable, check_together

_INLINE_PACKS = 64  # a version record with more names an object that lists them

_LISTED_REFERENCES = 100  # in the version record, so that the catalog can search them; the manifest has all


def publish(
    store: Store,
    draft: Draft,
    *,
    base_packs: Iterable[str] = (),
    portable: bool = False,
    progress: Progress | None = None,
) -> tuple[Manifest, Content]:
    """Store all bytes of `draft` and its manifest; nothing refers to them until a commit does.

    `base_packs` are the packs of the version that the draft starts from, or of the collection's newest: what they hold
    is not stored again. With `portable`, paths that differ only in case are refused.
    Raises: InvalidPathError, NotFoundError, UsageError, SourceChangedError, StoreError, CommError.
    """
    finished: list[Entry] = []
    paths: list[str] = []
    sources: list[str] = []
    for path, item in draft.items():
        if isinstance(item, LocalFile):
            paths.append(path)
            sources.append(item.source)
        else:
            finished.append(item)
    check_together({path for path, _ in draft.items()})  # refuse bad paths before any byte is read
    if portable:
        check_portable([path for path, _ in draft.items()])
    bases = list(map(parse_hex, base_packs))
    try:
        store.objects.learn(bases)
    except (NotFoundError, IntegrityError):
        # That version is damaged, which must not hinder the next. What it would have saved is stored anew; what the
        # draft needs of it is asked for below.
        pass
    inherited = {parse_hex(entry.digest) for entry in finished if entry.digest is not None}
    with store.snapshot(progress) as snapshot:
        for path, stored in zip(paths, snapshot.add_files(sources), strict=True):
            kind: Kind = "executable" if stored.executable else "file"
            finished.append(Entry(path, kind, stored.digest.hex(), stored.size_bytes))
        snapshot.require(inherited, bases)
        manifest = Manifest.of_checked(finished)
        digest = snapshot.add_metadata(manifest.encode())
        packed = snapshot.finish()
    packs, meta_packs, packs_object = listed_packs(store, packed.packs, packed.meta_packs)
    content = Content(
        digest=digest.hex(),
        size_bytes=manifest.size_bytes,
        file_count=sum(entry.digest is not None for entry in manifest.values()),
        reference_count=sum(entry.kind == "reference" for entry in manifest.values()),
        packs=packs,
        meta_packs=meta_packs,
        packs_object=packs_object,
        index=packed.index,
        references=listed_references(manifest),
        new_bytes=packed.new_bytes,
    )
    return manifest, content


def listed_references(manifest: Manifest) -> list[tuple[str, str]]:
    """(path, URI) of the references that stand in the version record itself."""
    found = ((entry.path, entry.target or "") for entry in manifest.values() if entry.kind == "reference")
    return list(islice(found, _LISTED_REFERENCES))


def listed_packs(
    store: Store, packs: Sequence[str], meta_packs: Sequence[str]
) -> tuple[Sequence[str], Sequence[str], str | None]:
    """`packs`, `meta_packs` and `packs_object` of a version record: of many packs a list is stored."""
    if len(packs) + len(meta_packs) <= _INLINE_PACKS:
        return packs, meta_packs, None
    with store.snapshot() as snapshot:
        digest = snapshot.add_metadata(canonical_json({"meta_packs": list(meta_packs), "packs": list(packs)}))
        return [], snapshot.finish().meta_packs, digest.hex()
