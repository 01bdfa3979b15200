"""Whether a file is a pickle or holds one, which can run any code when it is loaded.

A pickle is a program for a stack machine, without a sign at its start in its first two protocols. So the start of a
file is read as such a program: what the machine would take is one. The same for what is compressed, for the members of
zip archives (those of torch, NumPy and Keras) and for arrays of objects. Not looked into: other archives, compressed
files within archives, formats of their own that have a pickle in their middle.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO

PICKLED = (".pkl", ".pickle", ".joblib", ".dill")
_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_HEAD_BYTES = 64 * 1024
_MOST_MEMBERS = 10_000
_UNPACKED: Mapping[bytes, Callable[[IO[bytes]], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)


def holds_pickle(file: IO[bytes]) -> bool:
    """Whether an open file, which can be searched, is a pickle or has one in it; also when that cannot be told.

    Raises: CommError, IntegrityError from reading it.
    """
    head = file.read(_HEAD_BYTES)
    if is_pickle(head):
        return True
    for sign, unpacked in _UNPACKED.items():
        if head.startswith(sign):
            file.seek(0)
            try:
                return is_pickle(unpacked(file).read(_HEAD_BYTES))
            except _BROKEN:
                return False  # it only looked compressed, or is cut off: nobody can load it
    file.seek(0)
    return zipfile.is_zipfile(file) and _has_pickled_member(file)


def is_pickle(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a pickle, or of an array of Python objects.

    >>> import pickle
    >>> [is_pickle(pickle.dumps({"a": 1}, protocol)) for protocol in range(6)]
    [True, True, True, True, True, True]
    >>> is_pickle(b"a,b\\n1,2\\n"), is_pickle(b'{"a": 1}'), is_pickle(b"")
    (False, False, False)
    """
    if head.startswith(_PROTOCOLS):
        return True
    if head.startswith(b"\x93NUMPY"):
        return b"'|O'" in head[:_HEAD_BYTES]
    program = io.BytesIO(head)
    try:
        pickletools.dis(program, out=_Nowhere())
    except (ValueError, IndexError, KeyError, OverflowError):
        # All of it was taken, and the rest of the file would go on; what is none is left at its first wrong sign.
        return len(head) == _HEAD_BYTES == program.tell()
    return True


def _has_pickled_member(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if any(member.filename.lower().endswith(PICKLED) for member in members):
                return True
            if len(members) > _MOST_MEMBERS:
                return True  # more than can be looked at
            for member in members:
                with archive.open(member) as opened:
                    if is_pickle(opened.read(_HEAD_BYTES)):
                        return True
    except zipfile.BadZipFile:
        return False
    except (NotImplementedError, RuntimeError, ValueError, *_BROKEN):
        return True  # encrypted, or in a way that others may be able to read
    return False


class _Nowhere(io.StringIO):
    """Where the listing of a pickle is written to."""

    def write(self, text: str, /) -> int:
        return len(text)
