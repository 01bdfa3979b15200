"""Keeping what a collection wants to delete: for a version that is restored, and for links to what is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..storage.digest import parse_hex, short
from ..storage.errors import NotFoundError
from ..storage.gc import Final, closure, create_final
from ..storage.pack_index import PackSet
from ..storage.store import Store
from .decisions import find_version
from .project import Project
from .publish import listed_packs
from .state import VersionState
from .version import Version


def spare(project: Project, packs: Iterable[bytes], why: str) -> None:
    """Cancel the plans that name one of `packs` and are not final: each gets an empty final list.

    What else such a plan would have deleted comes into the next one, without waiting again. Raises: StoreError,
    CommError.
    """
    condemned = project.store.objects.condemned
    project.check_plans()
    if project.store.is_offline:
        return  # whoever sends the outbox sees to it
    for plan in condemned.open_plans(packs):
        create_final(project.store.backend, Final(plan, cancelled=why))
    condemned.refresh()


def demand_kept(store: Store, packs: Iterable[bytes], what: str) -> None:
    """Raises: NotFoundError when one of `packs` is in a final list, or gone."""
    for pack in packs:
        if store.objects.condemned.is_collected(pack) or not store.objects.confirm([pack]):
            raise NotFoundError(
                f"{what} cannot be brought back: its pack {short(pack)} was collected; its name and lineage stay"
            )


def packs_now(store: Store, version: Version) -> VersionState:
    """What a record says that shares the content of a live `version`.

    The packs are those of the version, but for packs that were compacted since: their successors stand in their places.
    Raises: NotFoundError when the version was deleted meanwhile.
    """
    moved = moved_packs(store, version.packs)
    if moved is None:
        return version.state
    # The successors have what was live when the final list was made. What is live after that, was.
    find_version(Project(store, version.project).state(), version.name)
    data, meta, packs_object = listed_packs(store, *moved)
    # The index speaks of the old packs; without one a reader reads the packs themselves.
    return replace(
        version.state, packs=tuple(data), meta_packs=tuple(meta), packs_object=packs_object, index=None
    )


def moved_packs(store: Store, packs: PackSet) -> tuple[list[str], list[str]] | None:
    """Where what lay in `packs` lies now, packs of files and of metadata; None as long as all are what they were."""
    if not any(map(store.objects.condemned.is_collected, packs)):
        return None
    replaced = store.facts.state().replaced
    kept: list[list[str]] = []
    for named in (packs.data, packs.meta):
        now = closure((pack.hex() for pack in named), replaced)
        kept.append(sorted(p for p in now if not store.objects.condemned.is_collected(parse_hex(p))))
    return kept[0], kept[1]
