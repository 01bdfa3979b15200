"""References: files that stay where they are, and whether they are still what was logged.

Any fsspec scheme works; what identifies the bytes is taken from what the file system says about them:

| scheme | recorded |
|---|---|
| `s3`, `gs`, `az` | size, ETag, version id (on versioned buckets), a real checksum where the service gives one |
| `http`, `https` | size and ETag of a HEAD request |
| `file` and any other without ETag | size and the BLAKE3 of the bytes |
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from blake3 import blake3

from ..storage.errors import CommError, Error, NotFoundError, ReferenceChangedError, UsageError
from .manifest import Entry
from .paths import check_path

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What a file system says about one file."""

    uri: str
    size_bytes: int | None
    etag: str | None
    version_id: str | None
    checksum: str | None


class References:
    """Looks references up and fetches them. `storage_options` go to fsspec, by scheme."""

    def __init__(self, storage_options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._options = storage_options or {}

    def resolve(
        self, uri: str, name: str | None, *, checksum: bool, max_objects: int | None
    ) -> Iterator[Entry]:
        """Entries for the file at `uri`, or for each file under the folder or prefix `uri`.

        `name` is the path in the artifact (of the file, or the folder for a prefix; default: the file's own name, or
        the root). Without `checksum` only the URI is recorded and nothing is asked.
        Raises: NotFoundError, CommError; UsageError when there are more than `max_objects`.
        """
        if not checksum:
            _scheme(uri)
            yield Entry(check_path(name or _base_name(uri)), "reference", target=uri)
            return
        system, path = self._open(uri)
        with _reading(uri):
            info = system.info(path)
        if info.get("type") != "directory":
            found = self._remote_file(system, uri, info)
            yield _entry(check_path(name or _base_name(uri)), found)
            return
        # `find` lists what lies under the folder, never what merely starts with its name, and pages to the end.
        with _reading(uri):
            listed = system.find(path, detail=True)
        if not listed:
            raise NotFoundError(f"reference {uri!r}: nothing is there")
        if max_objects is not None and len(listed) > max_objects:
            raise UsageError(
                f"reference {uri!r}: {len(listed)} files, more than max_objects={max_objects};"
                " raise it or narrow the URI"
            )
        root = str(info["name"]).rstrip("/") + "/"
        for key in sorted(listed):
            relative = key[len(root) :] if key.startswith(root) else key
            child = uri.rstrip("/") + "/" + relative
            full = f"{name.rstrip('/')}/{relative}" if name else relative
            yield _entry(check_path(full), self._remote_file(system, child, listed[key]))

    def fetch(self, entry: Entry, target: Path) -> None:
        """Copy what `entry` points to into the file `target`.

        Raises: ReferenceChangedError, NotFoundError, CommError.
        """
        uri = entry.target or ""
        system, path = self._open(uri)
        with _reading(uri):
            now = self._remote_file(system, uri, system.info(path, **_version(system, entry)), cheap=True)
            self._compare(entry, now)
            hasher, size = blake3(), 0
            with system.open(path, "rb", **_version(system, entry)) as stream, target.open("wb") as out:
                while data := stream.read(_READ_BYTES):
                    hasher.update(data)
                    size += len(data)
                    out.write(data)
        checksum = (
            f"blake3:{hasher.hexdigest()}" if (entry.checksum or "").startswith("blake3:") else now.checksum
        )
        self._compare(entry, RemoteFile(uri, size, now.etag, now.version_id, checksum))

    def open(self, entry: Entry) -> IO[bytes]:
        """A seekable reader of what `entry` points to, which is compared with what was logged as far as that is known.

        Raises: ReferenceChangedError, NotFoundError, CommError.
        """
        uri = entry.target or ""
        system, path = self._open(uri)
        with _reading(uri):
            now = self._remote_file(system, uri, system.info(path, **_version(system, entry)), cheap=True)
            self._compare(entry, now)
            stream: IO[bytes] = system.open(path, "rb", **_version(system, entry))
        return stream

    def check(self, entry: Entry) -> None:
        """Raises: ReferenceChangedError, NotFoundError, CommError when `entry` is not what was logged any more."""
        uri = entry.target or ""
        system, path = self._open(uri)
        with _reading(uri):
            info = system.info(path, **_version(system, entry))
            now = self._remote_file(system, uri, info, cheap=entry.checksum is None)
        self._compare(entry, now)

    @staticmethod
    def _compare(entry: Entry, now: RemoteFile) -> None:
        for what, logged, found in (
            ("size", entry.size_bytes, now.size_bytes),
            ("ETag", entry.etag, now.etag),
            ("version id", entry.version_id, now.version_id),
            ("checksum", entry.checksum, now.checksum),
        ):
            if logged is not None and found is not None and logged != found:
                raise ReferenceChangedError(
                    f"reference {entry.path!r} to {entry.target} changed since it was logged:"
                    f" {what} was {logged}, is {found};"
                    " log it again, or download with allow_missing_references=True to leave it out"
                )

    def _open(self, uri: str) -> tuple[Any, str]:
        import fsspec
        from fsspec.core import url_to_fs

        scheme = _scheme(uri)
        try:
            system, path = url_to_fs(uri, **self._options.get(scheme, {}))
        except (ValueError, ImportError) as error:
            known = (
                "s3 needs lineart[s3]"
                if scheme == "s3"
                else "fsspec lists its schemes in fsspec.available_protocols()"
            )
            raise UsageError(f"reference {uri!r}: {error}; {known}") from error
        assert isinstance(system, fsspec.AbstractFileSystem)
        system.invalidate_cache()  # what a listing said an hour ago is not what is there
        return system, path

    def _remote_file(
        self, system: Any, uri: str, info: Mapping[str, Any], *, cheap: bool = False
    ) -> RemoteFile:
        etag = info.get("ETag") or info.get("etag")
        version_id = info.get("VersionId") or info.get("version_id") or info.get("generation")
        size = info.get("size")
        checksum = _given_checksum(info)
        if checksum is None and etag is None and not cheap:
            checksum = f"blake3:{_hash(system, info['name'])}"
        return RemoteFile(
            uri=uri,
            size_bytes=None if size is None else int(size),
            etag=None if etag is None else str(etag).strip('"'),
            version_id=None if version_id in (None, "null") else str(version_id),
            checksum=checksum,
        )


def _given_checksum(info: Mapping[str, Any]) -> str | None:
    for field, name in (
        ("ChecksumSHA256", "sha256"),
        ("ChecksumCRC64NVME", "crc64nvme"),
        ("md5Hash", "md5"),
        ("crc32c", "crc32c"),
    ):
        if info.get(field):
            return f"{name}:{info[field]}"
    return None


def _hash(system: Any, path: str) -> str:
    hasher = blake3()
    with system.open(path, "rb") as stream:
        while data := stream.read(_READ_BYTES):
            hasher.update(data)
    return hasher.hexdigest()


def _version(system: Any, entry: Entry) -> dict[str, str]:
    """Ask for the very version that was logged where the file system can (versioned buckets)."""
    return (
        {"version_id": entry.version_id}
        if entry.version_id and getattr(system, "version_aware", False)
        else {}
    )


def _entry(path: str, found: RemoteFile) -> Entry:
    return Entry(
        path, "reference", None, found.size_bytes, found.uri, found.etag, found.version_id, found.checksum
    )


def _scheme(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    if not separator:
        raise UsageError(
            f"reference {uri!r}: expected a URI such as s3://bucket/key, https://… or file:///path"
        )
    return scheme


def _base_name(uri: str) -> str:
    return os.path.basename(uri.partition("?")[0].rstrip("/")) or uri.partition("://")[0]


class _reading:  # noqa: N801  # reads like a statement: with _reading(uri):
    """Turns what any fsspec file system may raise into one of our errors."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if error is None or isinstance(error, Error) or not isinstance(error, Exception):
            return
        if isinstance(error, FileNotFoundError) and not self._is_refusal(error):
            raise NotFoundError(f"reference {self._uri!r}: nothing is there") from error
        reason = error.__cause__ if isinstance(error, FileNotFoundError) else error
        text = " ".join(f"{type(reason).__name__}: {reason}".split())
        raise CommError(f"reference {self._uri!r}: {text}; check address and access") from error

    def _is_refusal(self, error: FileNotFoundError) -> bool:
        """Whether fsspec's HTTP client says "not found" for a server that is down, or answers otherwise than 404."""
        cause = error.__cause__
        return (
            self._uri.startswith("http")
            and cause is not None
            and getattr(cause, "status", 0) not in (404, 410)
        )
