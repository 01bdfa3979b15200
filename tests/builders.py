"""What tests of several folders build: stores, files with known bytes, children that are limited or killed."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import random
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lineart.storage.backend import Backend
from lineart.storage.chunker import METADATA_CHUNKER, ChunkerParameters
from lineart.storage.digest import digest_of
from lineart.storage.errors import Error
from lineart.storage.local import LocalBackend
from lineart.storage.memory import MemoryBackend
from lineart.storage.pack import PackLimits
from lineart.storage.restore import FileTarget
from lineart.storage.snapshot import SnapshotPacks, StoredFile
from lineart.storage.store import SETTINGS_KEY, Store, StoreSettings

SPAWN = multiprocessing.get_context("spawn")  # real processes, that share nothing with the test
HANG_S = 120.0
NOBODY = 65534
THEN_NS = 1_700_000_000_000_000_000  # the modification time of what is restored
KIB, MIB = 1024, 1024 * 1024
SMALL_CHUNKS = ChunkerParameters(
    minimum=256, average=1024, maximum=4096
)  # so that small files are large ones
_T = TypeVar("_T")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and changes of user need root")


# Stores


def new_store(
    backend: Backend,
    cache: Path,
    *,
    chunker: ChunkerParameters | None = None,
    limits: PackLimits | None = None,
) -> Store:
    """A store on an empty backend, with settings of the test's choice."""
    settings = StoreSettings(
        store=f"{random.getrandbits(128):032x}",
        entity="default",
        created="2026-01-02T03:04:05.000006Z",
        chunker=chunker or ChunkerParameters(),
        metadata_chunker=METADATA_CHUNKER,
        pack=limits or PackLimits(),
        capabilities={"conditional_create": True},
    )
    backend.create(SETTINGS_KEY, settings.encode())
    return Store.on(backend, cache=cache)


def local_store(folder: Path, **settings: Any) -> Store:
    """A store in `folder`/store with its cache in `folder`/cache."""
    return new_store(LocalBackend(folder / "store"), folder / "cache", **settings)


def memory_store(folder: Path, **settings: Any) -> Store:
    """A store in memory, which is read as a remote one is; its cache lies in `folder`/cache."""
    return new_store(MemoryBackend(), folder / "cache", **settings)


def put_files(store: Store, paths: Iterable[Path]) -> tuple[list[StoredFile], SnapshotPacks]:
    """Store the files; what they became, and the packs."""
    with store.snapshot() as snapshot:
        stored = snapshot.add_files([str(path) for path in paths])
        return stored, snapshot.finish()


def put_bytes(store: Store, folder: Path, *contents: bytes) -> SnapshotPacks:
    """Store byte strings by way of files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number:06}")
        paths[-1].write_bytes(content)
    return put_files(store, paths)[1]


def packs_of(packs: SnapshotPacks) -> list[bytes]:
    """All packs of a snapshot, as the readers want them."""
    return [bytes.fromhex(pack) for pack in [*packs.meta_packs, *packs.packs]]


def read_back(store: Store, content: bytes, packs: SnapshotPacks) -> bytes:
    """What the store gives for the digest of `content`."""
    return bytes(store.objects.read(digest_of(content), packs_of(packs)))


def targets(folder: Path, contents: dict[str, bytes], executable: Sequence[str] = ()) -> list[FileTarget]:
    """Where the contents are to lie below `folder`."""
    return [
        FileTarget(f"{folder}/{name}", digest_of(content), len(content), name in executable)
        for name, content in contents.items()
    ]


def restore(
    store: Store,
    folder: Path,
    contents: dict[str, bytes],
    packs: Sequence[bytes],
    executable: Sequence[str] = (),
) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return store.restorer(packs).restore(
        targets(folder, contents, executable), str(folder), modified_ns=THEN_NS
    )


def pack_paths(store_folder: Path) -> list[Path]:
    """The pack files of a local store, sorted."""
    return sorted((store_folder / "packs").rglob("*.pack"))


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Change one bit of a file; its times are kept, as by a bad disk."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


# Files


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not shrink, always the same for a seed."""
    return random.Random(seed).randbytes(size)


def prose(size: int, seed: int = 0) -> bytes:
    """Bytes that shrink well and do not repeat themselves."""
    source = random.Random(seed)
    words = [f"{source.getrandbits(40):010x} loss epoch accuracy 0.{n % 10}\n" for n in range(size // 35 + 1)]
    return "".join(words).encode()[:size]


def write_old(path: Path, content: bytes) -> Path:
    """A file that was last modified an hour ago, so that the stat cache may trust it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    age(path)
    return path


def age(path: Path) -> None:
    """Make a file look as if it had been written an hour ago."""
    then = path.stat().st_mtime - 3600
    os.utime(path, (then, then))


def files_below(folder: Path) -> dict[str, bytes | str | None]:
    """Everything below a folder: bytes of files, targets of links, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


# Errors


def one_line(error: BaseException, *parts: str) -> str:
    """The message of an error of ours, which is one line and has all of `parts`."""
    message = str(error)
    assert isinstance(error, Error), f"{type(error).__name__}: {message}"
    assert "\n" not in message
    assert len(message) < 1000
    for part in parts:
        assert part in message
    return message


# Children


def in_child(function: Callable[..., _T], *arguments: Any) -> _T:
    """What `function`, of a module's top level, returns in a new process; an exception there fails the test."""
    here, there = SPAWN.Pipe(duplex=False)
    child = SPAWN.Process(target=_report, args=(there, function, arguments))
    child.start()
    there.close()
    try:
        assert here.poll(HANG_S), "the child hangs"
        failed, value = here.recv()
    except EOFError:
        child.join(HANG_S)
        raise AssertionError(f"the child ended with {child.exitcode} and no answer") from None
    finally:
        child.kill()
        child.join()
    assert not failed, value
    return value


def _report(answer: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    try:
        answer.send((False, function(*arguments)))
    except BaseException:  # whatever it is, the test in the parent shows it
        answer.send((True, traceback.format_exc()))


def become_nobody() -> None:
    """Give up root's powers over files; the modules that are needed must be loaded already."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)


def peak_bytes() -> int:
    """The most memory that this process has had resident so far."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    raise AssertionError("no VmHWM")


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user may write to and reach; pytest's own are closed to all but their owner."""
    with tempfile.TemporaryDirectory(prefix="lineart-test-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o777)
        yield Path(name)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own at `folder`: ``mount -t tmpfs`` with `options`; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "lineart-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    """Change a mount of `mounted`: ``ro`` or ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def has_mounts() -> bool:
    """Whether this process may mount (CAP_SYS_ADMIN); root in a container often may not."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, None):
            return False
        libc.umount(folder.encode())
        return True


def environment(folder: Path) -> Mapping[str, str]:
    """The variables of a process that works with the store in `folder`/store."""
    return {
        "LINEART_STORE": str(folder / "store"),
        "LINEART_CACHE": str(folder / "cache"),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),  # a killed process leaves its drafts there
    }
