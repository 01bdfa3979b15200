"""A store: one folder or bucket with `lineart.json` at its root, and the machine's caches beside it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .backend import Backend
from .cache import BlockCache, CachingBackend
from .chunker import METADATA_CHUNKER, ChunkerParameters
from .errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    InvalidNameError,
    NotFoundError,
    StoreError,
    UsageError,
)
from .local import LocalBackend
from .locations import Locations
from .log import Log
from .memory import MemoryBackend
from .notes import Note, Notes
from .objects import Objects
from .pack import PackLimits
from .probe import probe_conditional_create
from .restore import Progress, Restorer
from .retry import RetryingBackend
from .sealed import check_seal, seal
from .snapshot import Snapshot
from .statcache import StatCache
from .transaction import canonical_json

FORMAT = 1
SETTINGS_KEY = "lineart.json"
_SETTINGS_LIMIT_BYTES = 1 << 20
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

    def encode(self) -> bytes:
        """The bytes of `lineart.json`."""
        value = canonical_json(
            {
                "capabilities": dict(self.capabilities),
                "chunker": asdict(self.chunker),
                "metadata_chunker": asdict(self.metadata_chunker),
                "created": self.created,
                "entity": self.entity,
                "format": FORMAT,
                "pack": asdict(self.pack),
                "store": self.store,
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
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{SETTINGS_KEY} of {url} is not one ({str(error)[:200]!r}); restore it from a copy"
            ) from error


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

    Raises: UsageError for a scheme that nothing serves; StoreError when its package is missing.
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
    from .remote import FsspecBackend

    return FsspecBackend(url, storage_options)


def patient(backend: Backend, cache: BlockCache, store: str) -> Backend:
    """`backend` with retries and a cache if it is remote.

    Not for the first contact: a wrong address should be told at once.
    """
    if backend.local_path(SETTINGS_KEY) is not None or isinstance(backend, (MemoryBackend, CachingBackend)):
        return backend
    return CachingBackend(RetryingBackend(backend), cache, store)


class Store:
    """An open store. Safe to use from several threads, and after `fork`."""

    def __init__(
        self, backend: Backend, settings: StoreSettings, cache: Path, blocks: BlockCache | None = None
    ) -> None:
        self.backend = backend
        self.blocks = blocks or BlockCache(cache)
        self.settings = settings
        self.cache = cache
        self.objects = Objects(backend, Locations(cache / "stores" / settings.store))
        self.stat_cache = StatCache(cache)
        self._notes: Notes | None = None

    @classmethod
    def _of(
        cls,
        backend: Backend,
        settings: StoreSettings,
        cache: Path,
        cache_bytes: int | None,
        notes: Notes | None,
    ) -> Store:
        blocks = BlockCache(cache, cache_bytes)
        made = cls(patient(backend, blocks, settings.store), settings, cache, blocks)
        made._notes = notes
        return made

    @classmethod
    def open(
        cls,
        url: str,
        *,
        cache: Path,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int | None = None,
        trusts: Callable[[Notes], bool] = lambda notes: False,
    ) -> Store:
        """Open the store at `url`; `cache` is the machine's cache folder; `cache_bytes` of what was read stay there.

        Raises: NotFoundError when there is none; FormatError; StoreError, CommError.
        """
        backend = open_backend(url, storage_options)
        return cls.on(backend, cache=cache, cache_bytes=cache_bytes, trusts=trusts)

    @classmethod
    def on(
        cls,
        backend: Backend,
        *,
        cache: Path,
        cache_bytes: int | None = None,
        trusts: Callable[[Notes], bool] = lambda notes: False,
    ) -> Store:
        """Open the store that `backend` holds.

        `trusts` says of what this machine has noted of a remote store whether it will be seen to be true: then its
        settings are not read again. Raises: NotFoundError, FormatError.
        """
        notes = Notes.of(backend, cache)
        noted = notes.settings.read() if notes is not None else None
        if notes is not None and noted is not None and trusts(notes):
            return cls._of(backend, StoreSettings.decode(noted, backend.url), cache, cache_bytes, notes)
        try:
            data = backend.read(SETTINGS_KEY, 0, _SETTINGS_LIMIT_BYTES)
        except NotFoundError as error:
            raise NotFoundError(
                f'there is no store at {backend.url}; make one with "art init {backend.url}"'
            ) from error
        settings = StoreSettings.decode(data, backend.url)
        if notes is not None and noted != data:
            notes.forget()
            notes.settings.write(data)
        return cls._of(backend, settings, cache, cache_bytes, notes)

    @classmethod
    def create(
        cls,
        url: str,
        *,
        cache: Path,
        entity: str,
        created: str,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int | None = None,
    ) -> Store:
        """Make a store at `url`, or open the one that is there; the backend is probed for conditional create.

        Raises: StoreError when the backend refuses, or cannot create a key exactly once; CommError.
        """
        backend = open_backend(url, storage_options)
        try:
            return cls.on(backend, cache=cache, cache_bytes=cache_bytes)
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
        )
        try:
            backend.create(SETTINGS_KEY, settings.encode())
        except ConflictError:
            return cls.on(backend, cache=cache, cache_bytes=cache_bytes)  # another process was first
        return cls._of(backend, settings, cache, cache_bytes, Notes.of(backend, cache))

    @property
    def url(self) -> str:
        """Where the store is, without credentials."""
        return self.backend.url

    @property
    def is_remote(self) -> bool:
        """Whether each read is a request."""
        return self.backend.local_path(SETTINGS_KEY) is None

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
            found = StoreSettings.decode(self.backend.read(SETTINGS_KEY), self.url)
        except NotFoundError as error:
            raise StoreError(f"store {self.url} has vanished; put it back where it was") from error
        if found.store != self.settings.store:
            raise StoreError(
                f"store {self.url} is another one now ({found.store[:12]}); put it back where it was"
            )

    def log(self, prefix: str) -> Log:
        """The log under a key prefix."""
        return Log(self.backend, prefix)

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
        return [
            (entity, project)
            for entity in self.backend.folders("projects/")
            for project in self.backend.folders(f"projects/{entity}/")
        ]

    def close(self) -> None:
        """Release what the store holds open."""
        self.stat_cache.close()
        self.objects.close()
        self.backend.close()


def project_prefix(entity: str, project: str) -> str:
    """The key prefix of a project."""
    for name in (entity, project):
        if not name:
            raise InvalidNameError("a project needs an entity and a name")
    return f"projects/{entity}/{project}/"
