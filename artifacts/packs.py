"""Which packs ops name: what the collection of garbage compares with its plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..storage.digest import parse_hex
from ..storage.errors import IntegrityError
from ..storage.store import Store
from ..storage.transaction import Op
from .state import ProjectState

PLACES = (
    "packs",
    "meta_packs",
    "packs_object",
    "index",
)  # the keys of a record that say where its content lies


def packs_named(state: ProjectState, ops: Sequence[Op]) -> tuple[set[str], dict[str, Sequence[str]]]:
    """The packs in `ops`, and the lists of packs (`packs_object`) with the metadata packs that hold them.

    A restored version names what it named when it was made, or what its restoration says.
    """
    packs: set[str] = set()
    lists: dict[str, Sequence[str]] = {}
    for op in ops:
        for record in (op, op.get("files") or {}, _restored(state, op)):
            meta_packs = record.get("meta_packs") or ()
            packs.update(record.get("packs") or ())
            packs.update(meta_packs)
            if record.get("packs_object"):
                lists[record["packs_object"]] = meta_packs
    return packs, lists


def _restored(state: ProjectState, op: Op) -> Mapping[str, Any]:
    if op["op"] != "version.restore" or "meta_packs" in op:
        return {}
    version = state.collections[op["collection"]].versions[op["version"]]
    names = ("packs", "meta_packs", "packs_object")
    return {name: getattr(version, name) for name in names}


def read_pack_list(store: Store, digest: str, meta_packs: Sequence[str]) -> list[str]:
    """All packs in the list that is the object `digest`. Raises: NotFoundError, IntegrityError, CommError."""
    try:
        found = json.loads(bytes(store.objects.read(parse_hex(digest), list(map(parse_hex, meta_packs)))))
        return [str(pack) for pack in (*found["meta_packs"], *found["packs"])]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"list of packs {digest[:12]} is damaged ({error!r})") from error
