"""What this process knows of packs that a collection wants to delete: the writers' half of the protocol (see `gc`).

A pack of a plan without a final list is not relied upon by what is committed from now on. One in a final list never
is: a collector that was asleep may delete it, and whatever has its name again, at any time.

No locks: what is noted is only added to, and a plan counts as checked after its packs are noted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .backend import Backend
from .digest import short
from .errors import ConflictError
from .gc import read_condemned
from .locations import Locations


class PacksCondemned(ConflictError):
    """What was to be committed names packs that are being collected: store the bytes again, and commit that."""


class Condemned:
    """The packs of all plans that were checked. ``pack in condemned`` tells whether it may not be relied upon."""

    def __init__(self, backend: Backend, locations: Locations) -> None:
        self._backend = backend
        self._locations = locations
        self._remembered = False
        self._open: dict[str, frozenset[bytes]] = {}
        self._collected: set[bytes] = set()  # in final lists
        self._checked: set[str] = set()

    def __contains__(self, pack: object) -> bool:
        return pack in self._collected or any(pack in packs for packs in list(self._open.values()))

    def __bool__(self) -> bool:
        """Whether there was ever a plan, so that a pack may have to differ in name from one that is condemned."""
        return bool(self._checked)

    def is_collected(self, pack: bytes) -> bool:
        """Whether a pack is in a final list that was checked."""
        return pack in self._collected

    def open_plans(self, packs: Iterable[bytes]) -> list[str]:
        """The checked plans without a final list that name one of `packs`."""
        return [plan for plan, named in self._open.items() if not named.isdisjoint(packs)]

    def unchecked(self, plans: Collection[str]) -> list[str]:
        """Those of `plans` that this process has not checked."""
        return [plan for plan in plans if plan not in self._checked]

    def check(self, plans: Iterable[str]) -> None:
        """Note what `plans` condemn. Raises: NotFoundError, IntegrityError, FormatError, CommError."""
        if not self._remembered:
            known, packs = self._locations.collected()
            self._collected |= packs
            self._checked |= known
            self._remembered = True
        self._read([plan for plan in plans if plan not in self._checked or plan in self._open])

    def refresh(self) -> None:
        """Look whether plans have become final; what they spare may be relied upon again."""
        self._read(list(self._open))

    def demand_free(self, packs: Iterable[bytes]) -> None:
        """Raises: PacksCondemned when one of `packs` is condemned."""
        for pack in packs:
            if pack in self:
                raise PacksCondemned(
                    f"pack {short(pack)} is being collected; log again, it will be stored anew"
                )

    def _read(self, plans: list[str]) -> None:
        if not plans:
            return
        found = read_condemned(self._backend, plans)
        final = {plan: packs for plan, (packs, is_final) in found.items() if is_final}
        self._open.update({plan: packs for plan, (packs, is_final) in found.items() if not is_final})
        gone = {pack for packs in final.values() for pack in packs}
        self._collected |= gone
        self._checked |= found.keys()
        for plan in final:
            self._open.pop(plan, None)
        if final:
            self._locations.forget(gone)
            self._locations.note_collected(final, gone)
