"""A store: one folder or bucket with `lineart.json` at its root, and the machine's caches beside it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .backend import Backend
from .cache import BlockCache, CachingBackend
from .chunker import METADATA_CHUNKER, ChunkerParameters
from .digest import digest_of
from .errors import (
    CommError,
    ConflictError,
    FormatError,
    IntegrityError,
    InvalidNameError,
    NotFoundError,
    StoreError,
    UsageError,
)
from .fallback_log import FallbackLogs
from .lanes import LaneBackend, Upload
from .local import LocalBackend
from .locations import Locations
from .log import BackendLogs, Log, Logs
from .memory import MemoryBackend
from .notes import Note, Notes
from .objects import Objects
from .overlay import Outbox, OverlayBackend
from .pack import PackLimits
from .postgres_log import LOG_FORMAT, PostgresLogs, check_address
from .probe import probe_conditional_create
from .restore import Progress, Restorer
from .retry import Retries, RetryingBackend
from .s3_options import split_address
from .sealed import check_seal, seal
from .snapshot import Snapshot
from .statcache import StatCache
from .store_log import PREFIX, StoreLog
from .stored_log import BackendStoredLog, PostgresStoredLog, StoredLog
from .transaction import canonical_json
from .wrapper import BackendWrapper

FORMAT = 2  # the newest that this version reads; a store whose logs lie beside its packs is still of format 1
SETTINGS_KEY = "lineart.json"
_BRIEF_ATTEMPTS, _BRIEF_S = 3, 15.0
_UNSEEN_ENTITY = "default"  # as `art init` has it
SETTINGS_LIMIT_BYTES = 1 << 20
_ID = re.compile(r"[0-9a-f]{1,64}\Z")  # names folders on this machine
_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.\-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What `lineart.json` says (docs/format.md)."""

    store: str
    entity: str
    created: str
    chunker: ChunkerParameters  # of files
    metadata_chunker: ChunkerParameters  # of manifests, which are edited in small places
    pack: PackLimits
    capabilities: Mapping[str, bool]
    log: str | None = None  # the address of the database that has the logs; None: they lie in the store

    @property
    def format(self) -> int:
        """The lowest format number that keeps off clients which would not find the logs."""
        return 1 if self.log is None else 2

    def encode(self) -> bytes:
        """The bytes of `lineart.json`."""
        log = {} if self.log is None else {"log": {"format": LOG_FORMAT, "url": self.log}}
        value = canonical_json(
            {
                "capabilities": dict(self.capabilities),
                "chunker": asdict(self.chunker),
                "metadata_chunker": asdict(self.metadata_chunker),
                "created": self.created,
                "entity": self.entity,
                "format": self.format,
                "pack": asdict(self.pack),
                "store": self.store,
                **log,
            }
        )
        return seal(value)

    @classmethod
    def decode(cls, data: bytes, url: str) -> StoreSettings:
        """Raises: FormatError when this is not a store, or one of a newer format."""
        try:
            found = json.loads(data)
            number = found["format"]
            if number > FORMAT:
                raise FormatError(
                    f"store {url} has format {number}; this version reads format {FORMAT}; upgrade lineart"
                )
            _check_seal(data, url)
            return cls(
                store=_matching(_ID, found["store"]),
                entity=_matching(_NAME, found["entity"]),
                created=str(found["created"]),
                chunker=ChunkerParameters(**_known(ChunkerParameters, found["chunker"])),
                metadata_chunker=ChunkerParameters(**_known(ChunkerParameters, found["metadata_chunker"])),
                pack=PackLimits(**_known(PackLimits, found["pack"])),
                capabilities=dict(found["capabilities"]),
                log=_log_address(number, found.get("log"), url),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{SETTINGS_KEY} of {url} is not one ({str(error)[:200]!r}); restore it from a copy"
            ) from error


def _log_address(number: int, found: Mapping[str, Any] | None, url: str) -> str | None:
    """Raises: FormatError for a log of a newer format; UsageError for an address with a password."""
    if (found is not None) is not (number == 2):  # an address that was lost must not begin a second log
        raise ValueError(f"format {number} {'without' if found is None else 'with'} log")
    if found is None:
        return None
    if found["format"] > LOG_FORMAT:
        raise FormatError(
            f"store {url} has a log of format {found['format']}; this version reads format {LOG_FORMAT};"
            " upgrade lineart"
        )
    return check_address(str(found["url"]))


def _check_seal(data: bytes, url: str) -> None:
    try:
        check_seal(data)
    except IntegrityError as error:
        raise FormatError(
            f"{SETTINGS_KEY} of {url}: {error}; restore it from a copy,"
            ' or take its key "verify" out if you have edited it'
        ) from error


def _matching(form: re.Pattern[str], text: str) -> str:
    if not form.match(text):
        raise ValueError(f"{text[:80]!r}: expected {form.pattern}")
    return text


def _known(kind: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in found.items() if name in names}


def open_backend(url: str, storage_options: Mapping[str, Any] | None = None) -> Backend:
    """The backend for a folder's path or a URL.

    Raises: UsageError for a scheme that nothing serves, a wrong option (`s3_options`) or credentials in the address;
    StoreError when its package is missing.
    """
    if "\0" in url:
        raise UsageError(f"store {url!r}: has a NUL; expected a folder or a URL such as s3://bucket/prefix")
    if "://" not in url:
        return LocalBackend(Path(url).expanduser())
    scheme, _, rest = url.partition("://")
    if scheme in ("file", "local"):
        return LocalBackend(Path(rest))
    if not rest:
        raise UsageError(f"store {url!r}: expected a folder or a URL such as s3://bucket/prefix")
    split_address(url)  # refuses credentials
    from .remote import FsspecBackend

    return FsspecBackend(url, storage_options)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine does about remote stores: its folders, and what happens when a store does not answer."""

    cache: Path
    cache_bytes: int | None = None  # of what was read; None: a tenth of the disk
    data: Path | None = None  # of the outbox; None: there is none
    offline: bool = False  # ask nothing of the store
    falls_back: bool = False  # go on offline when the store does not answer


def _patient(backend: Backend, settings: StoreSettings, machine: Machine, blocks: BlockCache) -> Backend:
    """`backend` with retries, outbox and cache if it is remote.

    Not for the first contact: a wrong address should be told at once.
    """
    if backend.local_path(SETTINGS_KEY) is not None or isinstance(backend, (MemoryBackend, CachingBackend)):
        return backend
    if machine.data is None or not (machine.offline or machine.falls_back):
        return CachingBackend(RetryingBackend(backend), blocks, settings.store)
    # Less patient: whoever waits here is a training run, and what is not sent now is sent later.
    patient = RetryingBackend(backend, attempts=_BRIEF_ATTEMPTS, timeout_s=_BRIEF_S)
    outbox = Outbox.of(backend.url, machine.data)
    overlay = OverlayBackend(patient, outbox, offline=machine.offline, falls_back=machine.falls_back)
    return CachingBackend(overlay, blocks, settings.store, lambda: overlay.is_offline)


def _unseen(url: str) -> StoreSettings:
    """Of a remote store that this machine has never seen: what is packed offline is right for any."""
    return StoreSettings(
        store=digest_of(url.encode()).hex()[:32],
        entity=_UNSEEN_ENTITY,
        created="",
        chunker=ChunkerParameters(),
        metadata_chunker=METADATA_CHUNKER,
        pack=PackLimits(),
        capabilities={},
    )


class Store:
    """An open store. Safe to use from several threads, and after `fork`."""

    def __init__(
        self, backend: Backend, settings: StoreSettings, cache: Path, blocks: BlockCache | None = None
    ) -> None:
        self.backend = backend
        self.blocks = blocks or BlockCache(cache)
        self.settings = settings
        self.cache = cache
        self.stat_cache = StatCache(cache)
        self._notes: Notes | None = None
        self.unreachable: CommError | None = None  # why it is offline, if nobody has asked for that
        self.logs = self._find_logs()
        self.facts = StoreLog(self.logs.log(PREFIX))
        self.objects = Objects(backend, Locations(cache / "stores" / settings.store), self.facts)

    def _find_logs(self) -> Logs:
        beside = BackendLogs(self.backend)
        if self.settings.log is None:
            return beside
        if self.overlay is None:
            return PostgresLogs(self.settings.log, self.settings.store)
        brief = Retries(attempts=100, first_delay_s=0.05, longest_delay_s=2.0, timeout_s=_BRIEF_S)
        there = PostgresLogs(self.settings.log, self.settings.store, brief)
        return FallbackLogs(there, beside, self.overlay)

    @classmethod
    def _of(cls, backend: Backend, settings: StoreSettings, machine: Machine, notes: Notes | None) -> Store:
        blocks = BlockCache(machine.cache, machine.cache_bytes)
        made = cls(_patient(backend, settings, machine, blocks), settings, machine.cache, blocks)
        made._notes = notes
        return made

    @classmethod
    def open(
        cls,
        url: str,
        *,
        cache: Path,
        storage_options: Mapping[str, Any] | None = None,
        machine: Machine | None = None,
        trusts: Callable[[Notes], bool] = lambda notes: False,
    ) -> Store:
        """Open the store at `url`; `cache` is the machine's cache folder, of which `machine` says more.

        Raises: NotFoundError when there is none; FormatError; StoreError, CommError.
        """
        return cls.on(open_backend(url, storage_options), cache=cache, machine=machine, trusts=trusts)

    @classmethod
    def on(
        cls,
        backend: Backend,
        *,
        cache: Path,
        machine: Machine | None = None,
        trusts: Callable[[Notes], bool] = lambda notes: False,
    ) -> Store:
        """Open the store that `backend` holds.

        `trusts` says of what this machine has noted of a remote store whether it will be seen to be true: then its
        settings are not read again. Raises: NotFoundError, FormatError, CommError.
        """
        machine = machine or Machine(cache)
        notes = Notes.of(backend, cache)
        noted = notes.settings.read() if notes is not None else None
        if notes is not None and noted is not None and (machine.offline or trusts(notes)):
            settings = StoreSettings.decode(noted, backend.url)
            # A database may have moved, and the old one may still answer: then the address is read again.
            if machine.offline or settings.log is None:
                return cls._of(backend, settings, machine, notes)
        if notes is not None and machine.offline:
            return cls._of(backend, _unseen(backend.url), machine, notes)
        try:
            data = backend.read(SETTINGS_KEY, 0, SETTINGS_LIMIT_BYTES)
        except NotFoundError as error:
            raise NotFoundError(
                f'there is no store at {backend.url}; make one with "art init {backend.url}"'
            ) from error
        except CommError as error:
            if notes is None or not machine.falls_back:
                raise
            made = cls.on(backend, cache=cache, machine=replace(machine, offline=True))
            made.unreachable = error
            return made
        settings = StoreSettings.decode(data, backend.url)
        if notes is not None and noted != data:
            notes.forget()
            notes.settings.write(data)
        return cls._of(backend, settings, machine, notes)

    @classmethod
    def create(
        cls,
        url: str,
        *,
        cache: Path,
        entity: str,
        created: str,
        storage_options: Mapping[str, Any] | None = None,
        machine: Machine | None = None,
        log: str | None = None,
    ) -> Store:
        """Make a store at `url`, or open the one that is there; the backend is probed for conditional create.

        `log` is the address of a PostgreSQL database that is to have the logs, without a password.
        Raises: UsageError when the address has one, or the store that is there has its logs elsewhere; StoreError when
        the backend or the database refuses, or cannot create a key exactly once; CommError.
        """
        if log is not None:
            check_address(log)
        backend = open_backend(url, storage_options)
        try:
            return cls._on_with(backend, cache, machine, log)
        except NotFoundError:
            probe_conditional_create(backend)
        settings = StoreSettings(
            store=uuid.uuid4().hex,
            entity=entity,
            created=created,
            chunker=ChunkerParameters(),
            metadata_chunker=METADATA_CHUNKER,
            pack=PackLimits(),
            capabilities={"conditional_create": True},
            log=log,
        )
        if log is not None:  # before the store: one that is there can be used
            logs = PostgresLogs(log, settings.store)
            logs.create(created)
            logs.close()
        try:
            backend.create(SETTINGS_KEY, settings.encode())
        except ConflictError:
            return cls._on_with(backend, cache, machine, log)  # another process was first
        return cls._of(backend, settings, machine or Machine(cache), Notes.of(backend, cache))

    @classmethod
    def _on_with(cls, backend: Backend, cache: Path, machine: Machine | None, log: str | None) -> Store:
        store = cls.on(backend, cache=cache, machine=machine)
        if log is not None and log != store.settings.log:
            raise UsageError(
                f"store {store.url} has its logs in {store.settings.log or 'itself'}, not in {log}; a store's logs stay"
                " where they are: make a new store"
            )
        return store

    @property
    def url(self) -> str:
        """Where the store is, without credentials."""
        return self.backend.url

    @property
    def is_remote(self) -> bool:
        """Whether each read is a request."""
        return self.backend.local_path(SETTINGS_KEY) is None

    @property
    def overlay(self) -> OverlayBackend | None:
        """Over a remote store: where writes go while it does not answer."""
        if isinstance(self.backend, OverlayBackend):
            return self.backend
        found = getattr(self.backend, "_inner", None)
        return found if isinstance(found, OverlayBackend) else None

    def in_lane(self, lane: Outbox, upload: Upload) -> LaneStore:
        """This store with `lane` over it, for one commit. It needs no closing."""
        return LaneStore(self, LaneBackend(self.backend, lane, upload))

    @property
    def is_offline(self) -> bool:
        """Whether nothing is asked of the store any more."""
        return self.overlay is not None and self.overlay.is_offline

    def note(self, prefix: str) -> Note | None:
        """Where this machine notes what it has folded of a log; None for a local store."""
        return None if self._notes is None else self._notes.of_log(prefix)

    def forget_notes(self) -> None:
        """Drop what this machine has noted of the store."""
        if self._notes is not None:
            self._notes.forget()

    def demand_presence(self) -> None:
        """See that the store is still where it was: writing into a folder that was moved away would make a stump.

        Raises: StoreError when it is gone, or another one lies there; CommError.
        """
        if self.backend.local_path(SETTINGS_KEY) is None:
            return  # a bucket does not vanish without an error of its own
        try:
            found = StoreSettings.decode(self.backend.read(SETTINGS_KEY, 0, SETTINGS_LIMIT_BYTES), self.url)
        except NotFoundError as error:
            raise StoreError(f"store {self.url} has vanished; put it back where it was") from error
        if found.store != self.settings.store:
            raise StoreError(
                f"store {self.url} is another one now ({found.store[:12]}); put it back where it was"
            )

    def log(self, prefix: str) -> Log:
        """The log under a key prefix."""
        return self.logs.log(prefix)

    def stored_log(self, prefix: str) -> StoredLog:
        """The entries of a log as they lie, for verification. Of a store that is not offline."""
        if isinstance(self.logs, PostgresLogs):
            return PostgresStoredLog(self.logs, prefix)
        return BackendStoredLog(self.backend, prefix)

    def snapshot(self, progress: Progress | None = None) -> Snapshot:
        """A way in for the bytes of one commit."""
        return Snapshot(
            self.objects,
            self.stat_cache,
            chunker=self.settings.chunker,
            metadata_chunker=self.settings.metadata_chunker,
            limits=self.settings.pack,
            progress=progress,
        )

    def restorer(self, packs: Iterable[bytes], progress: Progress | None = None) -> Restorer:
        """A way out for objects in `packs`."""
        return Restorer(self.objects, self.stat_cache, packs, progress=progress)

    def projects(self) -> list[tuple[str, str]]:
        """(entity, project) of every project that has a log, sorted."""
        return self.logs.projects()

    def pack_sizes(self) -> dict[str, int]:
        """Every pack (hexadecimal) and its size in bytes."""
        found = self.backend.list("packs/")
        return {stat.key.rpartition("/")[2].removesuffix(".pack"): stat.size_bytes for stat in found}

    def drop_unfinished(self, before_s: float) -> int:
        """Drop what uploads that began before `before_s` (seconds since the epoch) have left in the bucket; how many.

        Values stay as they are. Raises: StoreError where that is not allowed, CommError.
        """
        from .remote import FsspecBackend

        inner = self.backend
        while isinstance(inner, BackendWrapper):
            inner = inner._inner
        return inner.drop_unfinished(before_s) if isinstance(inner, FsspecBackend) else 0

    def close(self) -> None:
        """Release what the store holds open."""
        self.stat_cache.close()
        self.objects.close()
        self.logs.close()
        self.backend.close()


class LaneStore(Store):
    """A store with a lane over it; see `storage.lanes`."""

    def __init__(self, store: Store, backend: LaneBackend) -> None:
        super().__init__(backend, store.settings, store.cache, store.blocks)
        self.ahead = backend.ahead
        self.facts, self.stat_cache, self.objects = store.facts, store.stat_cache, store.objects.over(backend)

    def _find_logs(self) -> Logs:
        return BackendLogs(self.backend)


def project_prefix(entity: str, project: str) -> str:
    """The key prefix of a project."""
    for name in (entity, project):
        if not name:
            raise InvalidNameError("a project needs an entity and a name")
    return f"projects/{entity}/{project}/"
