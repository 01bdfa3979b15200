"""Manifests: the sorted list of an artifact's entries, in one canonical form (docs/format.md, "Manifests")."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from json.encoder import encode_basestring
from typing import IO, Any, Literal

from ..storage.digest import is_hex_digest
from ..storage.errors import IntegrityError, InvalidPathError, NotFoundError
from .names import nearest
from .paths import check_link, check_links, check_path, check_together

Kind = Literal["file", "executable", "symlink", "directory", "reference"]
_LETTERS: Mapping[Kind, str] = {
    "file": "f",
    "executable": "x",
    "symlink": "l",
    "directory": "d",
    "reference": "r",
}
_BATCH_LINES = 10_000
_LINE_LIMIT_BYTES = 1024 * 1024  # a path has 4 KiB; a URI may be long


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest. Fields that a kind does not have are None."""

    path: str
    kind: Kind
    digest: str | None = None  # file, executable: BLAKE3 of the bytes
    size_bytes: int | None = None  # file, executable; reference where the store says it
    target: str | None = None  # symlink: relative target; reference: URI
    etag: str | None = None
    version_id: str | None = None
    checksum: str | None = None

    def line(self) -> str:
        """The canonical line, without its newline."""
        path, letter = encode_basestring(self.path), _LETTERS[self.kind]
        if letter in "fx":
            return f'[{path},"{letter}","{self.digest}",{self.size_bytes}]'
        if letter == "l":
            return f'[{path},"l",{_json(self.target)}]'
        if letter == "d":
            return f'[{path},"d"]'
        rest = (self.target, self.size_bytes, self.etag, self.version_id, self.checksum)
        return f'[{path},"r",{",".join(map(_json, rest))}]'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def entry_of(row: Any) -> Entry:
    """The entry in a parsed line, every field checked. Raises: IntegrityError."""
    try:
        match row:
            case [path, ("f" | "x") as letter, digest, int(size)] if is_hex_digest(digest) and _is_size(size):
                return Entry(check_path(path), "file" if letter == "f" else "executable", digest, size)
            case [path, "l", str(target)]:
                target.encode()  # an escaped surrogate is no text that can be written again
                return Entry(check_path(path), "symlink", target=check_link(path, target))
            case [path, "d"]:
                return Entry(check_path(path), "directory")
            case [path, "r", str(uri), size, etag, version_id, checksum] if (
                size is None or _is_size(size)
            ) and all(value is None or isinstance(value, str) for value in (etag, version_id, checksum)):
                "".join(value or "" for value in (uri, etag, version_id, checksum)).encode()  # as above
                return Entry(check_path(path), "reference", None, size, uri, etag, version_id, checksum)
            case _:
                pass
    except (InvalidPathError, UnicodeEncodeError) as error:
        raise IntegrityError(
            f"manifest entry refused: {error}; the manifest was not made by lineart"
        ) from error
    raise IntegrityError(
        f"manifest line {str(row)[:200]!r}: not an entry; the manifest was not made by lineart"
    )


class Manifest(Mapping[str, Entry]):
    """The entries of an artifact by path, in canonical order."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Manifest:
        """Sort and check. Raises: InvalidPathError for a path, or two, that cannot stand in a manifest."""
        ordered = sorted(entries, key=lambda entry: entry.path.encode())
        by_path = {entry.path: entry for entry in ordered}
        if len(by_path) != len(ordered):
            twice = next(a.path for a, b in pairwise(ordered) if a.path == b.path)
            raise InvalidPathError(f"path {twice!r} stands twice in the artifact; remove one")
        check_together(by_path)
        return cls._with_links_checked(by_path)

    @classmethod
    def of_checked(cls, entries: Iterable[Entry]) -> Manifest:
        """Sort entries whose paths differ and have passed `check_together`."""
        ordered = sorted(entries, key=lambda entry: entry.path.encode())
        return cls._with_links_checked({entry.path: entry for entry in ordered})

    @classmethod
    def _with_links_checked(cls, entries: Mapping[str, Entry]) -> Manifest:
        check_links({entry.path: entry.target or "" for entry in entries.values() if entry.kind == "symlink"})
        return cls(entries)

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview) -> Manifest:
        """Read the stored form. Raises: IntegrityError when it is not canonical or an entry is not allowed."""
        entries: dict[str, Entry] = {}
        previous = b""
        for rows in read_rows(io.BytesIO(data)):
            for row in rows:
                entry = entry_of(row)
                key = entry.path.encode()
                if key <= previous:
                    raise IntegrityError(f"manifest: path {entry.path!r} is out of order or stands twice")
                previous = key
                entries[entry.path] = entry
        try:
            check_together(entries)
            check_links(
                {entry.path: entry.target or "" for entry in entries.values() if entry.kind == "symlink"}
            )
        except InvalidPathError as error:
            raise IntegrityError(f"manifest refused: {error}") from error
        manifest = cls(entries)
        if manifest.encode() != data:  # costs a tenth of the parsing
            raise IntegrityError("manifest: its lines are not in canonical form; it was not made by lineart")
        return manifest

    def encode(self) -> bytes:
        """The stored form; its BLAKE3 is the version's digest."""
        return "".join(f"{entry.line()}\n" for entry in self._entries.values()).encode()

    def __getitem__(self, path: str) -> Entry:
        return self._entries[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def under(self, prefix: str | None) -> list[Entry]:
        """The entries at or below the folder `prefix` (all for None). Raises: NotFoundError when there is none."""
        if not prefix:
            return list(self._entries.values())
        folder = prefix.rstrip("/")
        found = [e for p, e in self._entries.items() if p == folder or p.startswith(folder + "/")]
        if not found:
            raise NotFoundError(f"path {prefix!r} is not in the artifact{nearest(prefix, self._entries)}")
        return found

    @property
    def size_bytes(self) -> int:
        """The sizes of all files and references added up."""
        return sum(entry.size_bytes or 0 for entry in self._entries.values())


def read_rows(stream: io.BufferedIOBase) -> Iterator[list[Any]]:
    """Parsed lines, not checked, in lists of ten thousand: five times faster than to parse them one by one.

    Raises: IntegrityError.
    """
    while lines := _lines(stream):
        if not lines[-1].endswith(b"\n"):
            raise IntegrityError("manifest: its last line is cut")
        try:
            yield json.loads(b"[" + b",".join(lines) + b"]")
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"manifest: not JSON lines ({error})") from error


def _lines(stream: io.BufferedIOBase) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) < _BATCH_LINES and (line := _line(stream)):
        lines.append(line)
    return lines


def _line(stream: io.BufferedIOBase | IO[bytes]) -> bytes:
    line = stream.readline(_LINE_LIMIT_BYTES)
    if len(line) == _LINE_LIMIT_BYTES:
        raise IntegrityError(
            f"manifest: a line has more than {_LINE_LIMIT_BYTES} bytes; it was not made by lineart"
        )
    return line


def find_entry(stream: IO[bytes], path: str) -> Entry | None:
    """Look `path` up in a stored manifest by bisection, reading a few of its chunks instead of all.

    Raises: IntegrityError.
    """
    wanted = path.encode(errors="surrogatepass")  # what is not UTF-8 stands in no manifest
    low, high = 0, stream.seek(0, io.SEEK_END)
    while low < high:  # the line wanted, if there is one, starts in [low, high)
        start = middle = (low + high) // 2
        if middle > low:
            stream.seek(middle - 1)
            start += len(_line(stream)) - 1  # the first line that starts at or behind the middle
            if start >= high:
                high = middle
                continue
        stream.seek(start)
        line = _line(stream)
        entry = parse_line(line)
        key = entry.path.encode()
        if key == wanted:
            return entry
        if key < wanted:
            low = start + len(line)
        else:
            high = middle
    return None


def seek_path(stream: IO[bytes], path: str) -> None:
    """Place `stream` at the first line of a stored manifest whose path is not less than `path`, by bisection.

    Raises: IntegrityError.
    """
    wanted = path.encode(errors="surrogatepass")
    low, high = 0, stream.seek(0, io.SEEK_END)
    while low < high:  # what starts before `low` is less, what starts at or behind `high` is not
        start = middle = (low + high) // 2
        if middle > low:
            stream.seek(middle - 1)
            start += len(_line(stream)) - 1
            if start >= high:
                high = middle
                continue
        stream.seek(start)
        line = _line(stream)
        if parse_line(line).path.encode() < wanted:
            low = start + len(line)
        else:
            high = middle
    stream.seek(low)


def parse_line(line: bytes) -> Entry:
    """The entry in one stored line. Raises: IntegrityError."""
    try:
        return entry_of(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"manifest line {line[:200]!r}: not JSON ({error})") from error
