"""What is true of a local folder only: system calls that fail, processes that race and die."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from lineart.storage.backend import Backend
from lineart.storage.errors import CommError, ConflictError, NotFoundError, StoreError
from lineart.storage.local import LocalBackend

SPAWN = multiprocessing.get_context("spawn")  # real processes, that share nothing with the test
HANG_S = 120.0


def keys(backend: Backend, prefix: str = "", start_after: str = "") -> list[str]:
    return [found.key for found in backend.list(prefix, start_after)]


def fail_with(number: int) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


# Processes


def create_all(root: str, caller: int, names: list[str], start: Barrier) -> None:
    backend = LocalBackend(Path(root))
    start.wait(HANG_S)
    for name in names:
        try:
            backend.create(name, f"{caller}".encode() * 10_000)
        except ConflictError:
            continue  # another one won
        backend.write(f"won/{name}/{caller}", b"")


def test_processes_create_one_key_twice_or_never(tmp_path: Path) -> None:
    names = [f"log/{number // 50:06}/{number:012}" for number in range(150)]
    start = SPAWN.Barrier(8)
    racers = [
        SPAWN.Process(target=create_all, args=(str(tmp_path), caller, names, start)) for caller in range(8)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(HANG_S)
        assert racer.exitcode == 0
    backend = LocalBackend(tmp_path)
    assert keys(backend, "log/") == names
    for name in names:
        (winner,) = keys(backend, f"won/{name}/")
        assert backend.read(name) == winner.rpartition("/")[2].encode() * 10_000
    assert list((tmp_path / ".staging").iterdir()) == []


def write_without_end(root: str) -> None:
    backend = LocalBackend(Path(root))
    for number in range(1_000_000):
        value = bytes([number % 256]) * 700_000
        backend.create(f"created/{os.getpid()}-{number:06}", value)
        backend.write("written/one", value)
        staged = backend.staging() / f"{os.getpid()}-file"
        staged.write_bytes(value)
        backend.write_file("moved/one", staged)


def test_kill_leaves_part_of_a_value(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    for round_number in range(4):
        before = len(keys(backend, "created/"))
        writers = [SPAWN.Process(target=write_without_end, args=(str(tmp_path),)) for _ in range(2)]
        for writer in writers:
            writer.start()
        give_up_s = time.monotonic() + HANG_S
        while len(keys(backend, "created/")) < before + 4 + round_number and time.monotonic() < give_up_s:
            time.sleep(0.001)
        for writer in writers:
            writer.kill()
            writer.join()
            assert writer.exitcode == -signal.SIGKILL
        found = keys(backend)
        assert len(found) >= before + 4
        for key in found:
            value = backend.read(key)
            assert len(value) == 700_000
            assert value == value[:1] * 700_000


CALLS = ["open", "write", "fsync", "close", "link", "replace", "unlink"]


def put_and_die(root: str, method: str, call: str, nth: int) -> None:
    """Do one write, and die by SIGKILL instead of making the nth system call of a kind."""
    backend = LocalBackend(Path(root))
    staged = backend.staging() / "file"
    staged.write_bytes(b"new" * 1000)
    real, count = getattr(os, call), 0

    def die(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(os, call, die)
    if method == "write_file":
        backend.write_file("a/b", staged)
    else:
        getattr(backend, method)("a/b", b"new" * 1000)


@pytest.mark.parametrize("method", ["create", "write", "write_file"])
@pytest.mark.parametrize("call", CALLS)
def test_kill_at_a_system_call_leaves_part_of_a_value(tmp_path: Path, method: str, call: str) -> None:
    fork = multiprocessing.get_context("fork")  # cheap, and the test has no threads
    for nth in range(1, 6):
        root = tmp_path / str(nth)
        backend = LocalBackend(root)
        allowed = {None, b"new" * 1000}
        if method != "create":
            backend.write("a/b", b"old")
            allowed = {b"old", b"new" * 1000}
        child = fork.Process(target=put_and_die, args=(str(root), method, call, nth))
        child.start()
        child.join(HANG_S)
        assert child.exitcode in (0, -signal.SIGKILL)
        try:
            value = backend.read("a/b")
        except NotFoundError:
            value = None
        assert value in allowed
        if child.exitcode == 0:
            assert value == b"new" * 1000
        assert set(keys(backend)) <= {"a/b"}
        backend.write("a/b", b"after")  # what the dead one left is in nobody's way
        assert backend.read("a/b") == b"after"


# System calls


def test_lost_reply_to_link_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: str, target: str) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)

    monkeypatch.setattr(os, "link", link)
    backend = LocalBackend(tmp_path)
    backend.create("a", b"ours")
    assert backend.read("a") == b"ours"


def test_conflict_counts_as_success_when_the_winner_still_has_its_temporary_name(tmp_path: Path) -> None:
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".staging" / "winner").write_bytes(b"theirs")
    (tmp_path / "a").hardlink_to(tmp_path / ".staging" / "winner")
    backend = LocalBackend(tmp_path)
    with pytest.raises(ConflictError):
        backend.create("a", b"ours")
    assert backend.read("a") == b"theirs"


@pytest.mark.parametrize(
    "number, error, message",
    [
        (errno.ENOSPC, StoreError, "is full"),
        (errno.EDQUOT, StoreError, "is full"),
        (errno.EROFS, StoreError, "refuses to write"),
        (errno.EACCES, StoreError, "refuses to write"),
        (errno.EIO, CommError, "did not write"),
        (errno.ESTALE, CommError, "did not write"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_failed_write_leaves_traces_or_another_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type, message: str
) -> None:
    backend = LocalBackend(tmp_path)
    backend.write("old", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_with(number))
        for put in (backend.create, backend.write):
            with pytest.raises(error, match=message) as caught:
                put("old" if put == backend.write else "new", b"value")
            assert str(tmp_path) in str(caught.value)
            assert isinstance(caught.value.__cause__, OSError)
    assert keys(backend) == ["old"]
    assert backend.read("old") == b"old"
    assert list((tmp_path / ".staging").iterdir()) == []


@pytest.mark.parametrize(
    "number, error", [(errno.EACCES, StoreError), (errno.EIO, CommError), (errno.ESTALE, CommError)]
)
def test_failed_read_gives_another_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type
) -> None:
    backend = LocalBackend(tmp_path)
    backend.write("a/b", b"x")
    with monkeypatch.context() as patch:
        for name in ("open", "stat", "scandir"):
            patch.setattr(os, name, fail_with(number))
        for look in (
            lambda: backend.read("a/b"),
            lambda: backend.stat("a/b"),
            lambda: list(backend.list("")),
            lambda: backend.folders("a/"),
        ):
            with pytest.raises(error):
                look()


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_file_system_without_hard_links_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def link(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number), source, None, target)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(StoreError, match="hard links"):
        LocalBackend(tmp_path).create("a", b"x")
    assert keys(LocalBackend(tmp_path)) == []


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder with the file ``a`` that this process may read and not write, also when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="lineart-read-only-"))  # root's tmp_path is closed to others
    (folder / "a").write_bytes(b"x")
    (folder / "a").chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_read_only_folder_is_called_unreachable(read_only_folder: Path) -> None:
    backend = LocalBackend(read_only_folder)
    assert backend.read("a") == b"x"
    assert keys(backend) == ["a"]
    with pytest.raises(StoreError, match="refuses"):
        backend.create("b", b"x")
    with pytest.raises(StoreError, match="refuses"):
        backend.delete(["a"])
    with pytest.raises(StoreError, match="refuses"):
        backend.staging()


def test_write_file_from_another_device_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LocalBackend(tmp_path)
    path = backend.staging() / "file"
    path.write_bytes(b"x" * 1000)
    real = os.replace

    def replace(source: str, target: str) -> None:
        if source == str(path):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
        # The copy lies beside its target, and must not be listed meanwhile.
        assert os.path.dirname(source) == os.path.dirname(target)
        assert keys(backend) == []
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    backend.write_file("a/b", path)
    assert backend.read("a/b") == b"x" * 1000
    assert not path.exists()
    assert os.listdir(tmp_path / "a") == ["b"]


def test_failed_copy_from_another_device_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LocalBackend(tmp_path)
    path = backend.staging() / "file"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "replace", fail_with(errno.EXDEV))
    monkeypatch.setattr(shutil, "copyfile", fail_with(errno.ENOSPC))
    with pytest.raises(StoreError, match="is full"):
        backend.write_file("a/b", path)
    assert path.exists()
    assert os.listdir(tmp_path / "a") == []


# Folders


def test_second_create_in_a_folder_looks_at_folders_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(tmp_path)
    backend.create("log/000000/1", b"x")
    for name in ("mkdir", "stat"):
        monkeypatch.setattr(os, name, fail_with(errno.EIO))
    backend.create("log/000000/2", b"x")
    monkeypatch.undo()
    assert keys(backend) == ["log/000000/1", "log/000000/2"]


@pytest.mark.parametrize("removed", ["log", "log/000000", ".staging", "."])
def test_removed_folder_stays_remembered(tmp_path: Path, removed: str) -> None:
    backend = LocalBackend(tmp_path / "store")
    backend.create("log/000000/1", b"x")
    for put in (backend.create, backend.write):
        shutil.rmtree(tmp_path / "store" / removed)
        put("log/000000/2", b"x")
        assert backend.read("log/000000/2") == b"x"
        backend.delete(["log/000000/2"])
    shutil.rmtree(tmp_path / "store" / removed)
    path = backend.staging() / "file"
    path.write_bytes(b"x")
    backend.write_file("log/000000/2", path)
    assert backend.read("log/000000/2") == b"x"


def test_folder_is_not_flushed_in_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("the system does not tell the name of a descriptor")
    root = tmp_path / "store"
    LocalBackend(root).create("a/b/1", b"x")  # another process, that may not have flushed the folders it made
    monkeypatch.setattr(os, "fsync", fsync)
    backend = LocalBackend(root)
    backend.create("a/b/2", b"x")
    assert {str(root), str(root / "a"), str(root / "a/b")} <= set(flushed)
    flushed.clear()
    backend.create("a/b/3", b"x")
    assert flushed[1:] == [str(root / "a/b")]
    assert len(flushed) == 2  # the value and the folder of its name


def test_listing_reads_folders_before_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LocalBackend(tmp_path)
    for number in range(5):
        backend.create(f"log/{number:06}/x", b"")
    read: list[str] = []
    real = os.scandir

    def scandir(path: str) -> Any:
        read.append(os.path.relpath(path, tmp_path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert keys(backend, "log/", "log/000003/a") == ["log/000003/x", "log/000004/x"]
    assert read == ["log", "log/000003", "log/000004"]
    read.clear()
    assert keys(backend, "log/", "log/000003/x") == ["log/000004/x"]
    assert keys(backend, "log/000002/", "log/000003/") == []
    assert read == ["log", "log/000003", "log/000004"]


def test_file_that_vanishes_during_listing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(tmp_path)
    for key in ("a", "b/1", "b/2", "c/1"):
        backend.write(key, b"x")
    listing = backend.list("")
    assert next(listing).key == "a"
    (tmp_path / "b" / "1").unlink()
    shutil.rmtree(tmp_path / "c")
    assert [found.key for found in listing] == ["b/2"]


def test_foreign_file_is_listed(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    backend.write("a/b", b"x")
    for name in ("a/b~", "a/with space", "a/.nfs000000000123", "lost+found"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder with space").mkdir()
    (tmp_path / "folder with space" / "a").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert keys(backend) == ["a/b"]
    assert backend.folders("") == ["a"]


def test_key_below_a_file_is_called_unreachable(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    backend.write("log/000000", b"a folder that a file has replaced")
    for put in (backend.create, backend.write):
        with pytest.raises(StoreError, match="log/000000/1"):
            put("log/000000/1", b"x")
    with pytest.raises(StoreError, match="folder"):
        backend.create("log", b"x")
    for look in (backend.read, backend.stat):
        with pytest.raises(NotFoundError):
            look("log/000000/1")
    backend.delete(["log/000000/1", "log"])
    assert keys(backend) == ["log/000000"]


def test_too_long_name_is_called_unreachable(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    with pytest.raises(StoreError, match="cannot hold"):
        backend.create("a" * 300, b"x")
    with pytest.raises(NotFoundError):
        backend.read("a" * 300)


def test_store_moves_with_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend(Path("store"))
    backend.write("a", b"x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert backend.read("a") == b"x"
    assert backend.url == f"file://{tmp_path}/store"
    assert backend.local_path("a") == tmp_path / "store" / "a"


def test_looking_makes_the_store(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "store")
    assert keys(backend) == []
    assert backend.folders("") == []
    with pytest.raises(NotFoundError):
        backend.read("a")
    assert os.listdir(tmp_path) == []


def test_value_is_hidden_from_the_team(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "store")
    before = os.umask(0o002)
    try:
        backend.create("a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "store" / "a").stat().st_mode & 0o777 == 0o664
