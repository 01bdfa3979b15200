"""Repairing a store: packs, transactions and what runs have left, from copies; what is advisory, from the log."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts.log_check import LogCheck
from ..artifacts.log_repair import renew_copies, repair_log
from ..storage.backend import Backend
from ..storage.bounded import FRAME_LIMIT_BYTES, read_bounded
from ..storage.codec import decompress_whole
from ..storage.digest import parse_hex
from ..storage.errors import Error, IntegrityError, NotFoundError, UsageError
from ..storage.gc_check import repair_plan
from ..storage.inventory import Inventory
from ..storage.pack import PackedObject
from ..storage.pack_check import read_pieces, uncached
from ..storage.pack_index import decode_index
from ..storage.pack_repair import FolderSource, PackRepairer, Source, StoreSource
from ..storage.problem import Problem
from ..storage.sealed import seal
from ..storage.store import SETTINGS_KEY, SETTINGS_LIMIT_BYTES, Store, StoreSettings, open_backend
from ..storage.transaction import canonical_json
from .metrics.pieces import MARKER_LIMIT_BYTES, PART_KEY, SEGMENT_KEY, SEGMENT_LIMIT_BYTES, Part
from .run_log import FORMAT, decode_claim
from .run_verification import RunFacts
from .store_verification import StoreCheck, directly

_FROM_COPY = "put back from a copy"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where copies may lie."""

    stores: Sequence[StoreSource] = ()
    folders: Sequence[FolderSource] = ()

    @property
    def all(self) -> list[Source]:
        """Stores first: they have packs as they were."""
        return [*self.stores, *self.folders]


def open_sources(places: Iterable[str], store: Store, options: Mapping[str, Any] | None = None) -> Sources:
    """What `places` name: other stores, which are reached with the same `options`, or folders of files.

    Raises: UsageError for one that is neither, or the store itself; FormatError, StoreError, CommError.
    """
    stores, folders = [], []
    for place in places:
        backend = open_backend(place, options)
        if backend.url == store.url:
            raise UsageError(f"--repair-from {place}: is the store that is to be repaired")
        try:
            data = read_bounded(backend, SETTINGS_KEY, SETTINGS_LIMIT_BYTES)
            settings = StoreSettings.decode(data, backend.url)
        except NotFoundError as error:
            folder = Path(place).expanduser()
            if not folder.is_dir():
                raise UsageError(
                    f"--repair-from {place}: expected a store, or a folder with files"
                ) from error
            folders.append(FolderSource(folder, store.settings.chunker))
        else:
            stores.append(StoreSource(backend, settings.store))
    return Sources(stores, folders)


def repair_store(
    store: Store, check: StoreCheck, sources: Sources, progress: Callable[[int], None] = lambda count: None
) -> int:
    """Repair what `check` has found, noting at each problem how; how many are repaired.

    Raises: CommError, StoreError.
    """
    backend = uncached(store.backend)
    inventory = Inventory(store.cache / "stores" / store.settings.store)
    try:
        done = _repair_packs(store, backend, check, sources, inventory, progress)
        with directly(store) as direct:
            for log in check.logs.values():
                if log.problems:
                    done |= _repair_log(direct, log, sources, inventory)
        copies = [source.backend for source in sources.stores if source.store == store.settings.store]
        runs = _RunRepair(backend, sources.stores, store.settings.store)
        for problem in check.findings.problems:
            if problem.kind == "run":
                prefix = _run_prefix(problem.key)
                facts = check.runs[prefix[: prefix.index("runs/")]].runs.get(prefix.split("/")[-2])
                done |= runs.repair(problem, prefix, facts)
            elif problem.kind == "plan":
                how = repair_plan(backend, problem.key, copies, times=check.plan_times)
                done |= {problem.key: how} if how else {}
            elif problem.kind == "catalog":
                folder = problem.key.removesuffix(".json") + "/"
                backend.delete([problem.key, *(stat.key for stat in backend.list(folder))])
                done[problem.key] = "removed; the next reader makes it again"
    finally:
        inventory.close()
    store.forget_notes()
    repaired = [problem for problem in check.findings.problems if problem.key in done]
    for problem in repaired:
        problem.repaired = done[problem.key]
    return len(repaired)


def _repair_log(store: Store, log: LogCheck, sources: Sources, inventory: Inventory) -> dict[str, str]:
    done: dict[str, str] = {}
    if store.settings.log is None:  # a database is restored from its own backup
        done |= repair_log(store.backend, log, sources.stores, store.settings.store)
    parts = log.prefix.split("/")
    project = f"{parts[1]}/{parts[2]}" if log.prefix.startswith("projects/") else None
    now, renewed = renew_copies(store, log, project, inventory)
    done |= renewed
    left = {problem.key for problem in now.problems}
    if not now.bad:  # a lost end is one problem of many entries
        told = {problem.key for problem in log.problems if problem.kind == "log"}
        done |= dict.fromkeys(told - left - done.keys(), _FROM_COPY)
    return done


def _repair_packs(
    store: Store,
    backend: Backend,
    check: StoreCheck,
    sources: Sources,
    inventory: Inventory,
    progress: Callable[[int], None],
) -> dict[str, str]:
    def indexes(pack: bytes) -> Iterator[Sequence[PackedObject]]:
        yield inventory.rows_of(pack)
        name = pack.hex()
        for need in check.needs:
            if need.index is None or (need.packs_object is None and name not in need.packs):
                continue
            try:
                content = store.objects.read(parse_hex(need.index), [parse_hex(p) for p in need.meta_packs])
                yield from (rows for digest, _, rows in decode_index(content) if digest == pack)
            except Error:
                continue  # damaged, too, or in a pack that is not repaired yet

    repairer = PackRepairer(backend, sources.all, indexes, progress)
    done = {}
    keys = [problem.key for problem in check.findings.problems if problem.key.startswith("packs/")]
    for key in dict.fromkeys(keys):
        pack = bytes.fromhex(key.rpartition("/")[2].removesuffix(".pack"))
        how = repairer.repair(pack)
        if how:
            done[key] = how
            store.objects.forget_kept([pack])
    return done


def _run_prefix(key: str) -> str:
    return "/".join(key.split("/")[:5]) + "/"


class _RunRepair:
    """Puts back what lies below ``runs/<run>/``."""

    def __init__(self, backend: Backend, stores: Sequence[StoreSource], store: str) -> None:
        self._backend = backend
        self._stores = stores
        self._copies = [source for source in stores if source.store == store]  # of this very store

    def repair(self, problem: Problem, prefix: str, facts: RunFacts | None) -> dict[str, str]:
        """How the thing is repaired, by key; empty when it is not."""
        key = problem.key
        if key.endswith("/run.json") and not self._bring(key, prefix):
            if facts is None:
                return {}
            run = prefix.split("/")[-2]
            self._backend.write(key, _claim(run, facts))
            return {key: "made again from the log"}
        if key.endswith("/run.json"):
            return {key: _FROM_COPY}
        if key.endswith("/"):  # something of what lies below is missing: whatever a copy has and is whole
            names = {stat.key for source in self._copies for stat in _listed(source.backend, key)}
            have = {stat.key for stat in self._backend.list(key)}
            brought = [name for name in sorted(names - have) if self._bring(name, prefix)]
            return {key: _FROM_COPY} if brought else {}
        return {key: _FROM_COPY} if self._bring(key, prefix) else {}

    def _bring(self, key: str, prefix: str) -> bool:
        digests = self._digests(prefix).get(key) if key.endswith(".parquet") else None
        sources = self._copies if digests is None else self._stores
        return any(self._copy(source, key, prefix, digests) for source in sources)

    def _copy(self, source: StoreSource, key: str, prefix: str, digests: Any) -> bool:
        path = self._backend.staging() / f"{os.getpid()}~{secrets.token_hex(8)}.copy"
        try:
            with path.open("xb") as file:
                for piece in read_pieces(source.backend, key):
                    file.write(piece)
            if digests is not None:
                digests.check_file(path)
            else:
                _demand_whole(key[len(prefix) :], path)
            self._backend.write_file(key, path)
            return True
        except (IntegrityError, NotFoundError):
            return False  # damaged or missing in the copy, too
        finally:
            path.unlink(missing_ok=True)

    def _digests(self, prefix: str) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for stat in self._backend.list(f"{prefix}history/"):
            match = PART_KEY.match(stat.key[len(prefix) :])
            if match:
                try:
                    data = self._backend.read(stat.key, 0, MARKER_LIMIT_BYTES)
                    found |= Part.decode(int(match["number"]), data).digests
                except Error:
                    continue  # a problem of its own
        return found


def _listed(backend: Backend, prefix: str) -> Iterator[Any]:
    try:
        yield from backend.list(prefix)
    except Error:
        return  # a copy that does not answer is no help


def _demand_whole(name: str, path: Path) -> None:
    """Raises: IntegrityError when a copied value does not prove itself."""
    if not name.endswith(".parquet") and path.stat().st_size > FRAME_LIMIT_BYTES:
        raise IntegrityError("it is longer than any that a client writes")
    if match := PART_KEY.match(name):
        Part.decode(int(match["number"]), path.read_bytes())
    elif match := SEGMENT_KEY.match(name):
        data = decompress_whole(path.read_bytes(), SEGMENT_LIMIT_BYTES)
        if len(data) != int(match["end"]) - int(match["start"]):
            raise IntegrityError("its length is not that of its name")
    elif name == "run.json":
        decode_claim(path.read_bytes())
    elif not name.endswith(".parquet"):  # one that no marker names says nothing
        raise IntegrityError("it is nothing that proves itself")


def _claim(run: str, facts: RunFacts) -> bytes:
    value = {
        "format": FORMAT,
        "run": run,
        "time": facts.started_at,
        "seq": facts.before.seq,
        "head": facts.before.digest,
    }
    return seal(canonical_json(value))


def restore_settings(url: str, options: Mapping[str, Any] | None, places: Iterable[str]) -> bool:
    """Put a damaged or missing `lineart.json` back from a copy of the store; whether that was done.

    A copy is one whose logs begin with the same transactions. Raises: CommError, StoreError.
    """
    backend = open_backend(url, options)
    try:
        StoreSettings.decode(read_bounded(backend, SETTINGS_KEY, SETTINGS_LIMIT_BYTES), backend.url)
        return False
    except Error:
        pass  # that is why we are here; a store that does not answer is told below
    begins = [
        stat.key for stat in backend.list("projects/") if stat.key.endswith("/log/000000/000000000000.json")
    ]
    for place in places:
        copy = open_backend(place, options)
        try:
            data = read_bounded(copy, SETTINGS_KEY, SETTINGS_LIMIT_BYTES)
            StoreSettings.decode(data, copy.url)
            if begins and all(copy.read(key) == backend.read(key) for key in begins):
                backend.write(SETTINGS_KEY, data)
                return True
        except Error:
            continue  # no store, or a copy that is damaged, too
    return False
