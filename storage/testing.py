"""The suite that every backend joins; each sentence of the `Backend` docstring has its test here.

A backend joins by a subclass with a fixture that gives it empty::

    class TestMyBackend(BackendSuite):
        @pytest.fixture
        def backend(self):
            backend = MyBackend()
            yield backend
            backend.close()

For readable failures let pytest rewrite the assertions, in a `conftest.py`::

    pytest.register_assert_rewrite("lineart.storage.testing", "lineart.storage.testing_listing")
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pytest

from .backend import Backend
from .errors import ConflictError, InvalidNameError, NotFoundError
from .testing_listing import ListingSuite
from .testing_tools import HANG_S, keys_of, run_in_fork, run_in_threads, stage

__all__ = ["BackendSuite"]

_BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "./a",
    "a/.",
    "a b",
    "a\n",
    "a\x00",
    "ä",
    "a\\b",
]
_BAD_KEYS += ["a~", "a:b", "a*", "a?b", "a@b", ".staging", ".staging/a"]
_BAD_PREFIXES = ["a", "/", "a/b", "//", "../", "a//", "a b/", ".staging/"]

_METHODS: dict[str, Callable[[Backend, str], object]] = {
    "read": lambda backend, key: backend.read(key),
    "write": lambda backend, key: backend.write(key, b"x"),
    "write_file": lambda backend, key: backend.write_file(key, stage(backend, b"x")),
    "create": lambda backend, key: backend.create(key, b"x"),
    "stat": lambda backend, key: backend.stat(key),
    "delete": lambda backend, key: backend.delete([key]),
    "local_path": lambda backend, key: backend.local_path(key),
}


class BackendSuite(ListingSuite):
    """Tests of one backend; a subclass gives the fixture `backend` and says what does not apply."""

    races: ClassVar[int] = 50  # keys in the race of creates
    forks_share: ClassVar[bool] = True  # whether what a forked child writes is there for its parent

    def test_backend_lacks_a_method(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)

    def test_url_shows_credentials(self, backend: Backend) -> None:
        scheme, _, rest = backend.url.partition("://")
        assert scheme
        assert rest
        assert "@" not in rest

    # Keys

    @pytest.mark.parametrize("method", _METHODS)
    def test_malformed_key_is_accepted(self, backend: Backend, method: str) -> None:
        refused = []
        for key in _BAD_KEYS:
            try:
                _METHODS[method](backend, key)
            except InvalidNameError:
                refused.append(key)
        assert refused == _BAD_KEYS
        assert keys_of(backend.list("")) == []

    def test_malformed_prefix_is_accepted(self, backend: Backend) -> None:
        for prefix in _BAD_PREFIXES:
            with pytest.raises(InvalidNameError):
                backend.list(prefix)  # by the call itself, not only by the first key that is taken from it
            with pytest.raises(InvalidNameError):
                backend.folders(prefix)

    @pytest.mark.parametrize("method", ["read", "stat"])
    def test_missing_key_is_found(self, backend: Backend, method: str) -> None:
        backend.write("a/b/c", b"x")
        for key in ("a/b/d", "a/b", "a", "x/y", "a/b/c2"):
            with pytest.raises(NotFoundError):
                _METHODS[method](backend, key)
        with pytest.raises(NotFoundError):
            backend.read("a", 0, 0)  # an empty range needs its key, too

    # Values

    @pytest.mark.parametrize("value", [b"", b"\x00", b"12345", bytes(range(256)) * 1000])
    @pytest.mark.parametrize("method", ["write", "create", "write_file"])
    def test_value_is_altered(self, backend: Backend, method: str, value: bytes) -> None:
        if method == "write_file":
            backend.write_file("a/b", stage(backend, value))
        else:
            getattr(backend, method)("a/b", value)
        assert backend.read("a/b") == value
        assert backend.stat("a/b").size_bytes == len(value)

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_buffer_is_refused_or_still_referred_to(self, backend: Backend, kind: type) -> None:
        for put, key, value in ((backend.write, "w", b"12345"), (backend.create, "c", b"67890")):
            owner = bytearray(value)
            put(key, kind(owner))
            owner[:] = b"other"
        assert (backend.read("w"), backend.read("c")) == (b"12345", b"67890")

    def test_write_keeps_what_was_there(self, backend: Backend) -> None:
        backend.write("a", b"a long first value")
        backend.write("a", b"second")
        assert backend.read("a") == b"second"
        backend.write_file("a", stage(backend, b"3"))
        assert backend.read("a") == b"3"

    @pytest.mark.parametrize(
        "start, length, expected",
        [
            (0, None, b"0123456789"),
            (0, 10, b"0123456789"),
            (3, 4, b"3456"),
            (3, None, b"3456789"),
            (9, 1, b"9"),
            (0, 0, b""),
            (4, 0, b""),
            (8, 100, b"89"),  # ends behind the value: cut short
            (10, None, b""),  # starts behind it
            (10, 5, b""),
            (1000, 5, b""),
            (1000, None, b""),
            (-3, None, b"789"),
            (-3, 2, b"78"),
            (-3, 100, b"789"),
            (-10, None, b"0123456789"),
            (-1000, None, b"0123456789"),  # a suffix longer than the value is the whole value
            (-1000, 4, b"0123"),
        ],
    )
    def test_range_gives_other_bytes(
        self, backend: Backend, start: int, length: int | None, expected: bytes
    ) -> None:
        backend.write("a", b"0123456789")
        assert backend.read("a", start, length) == expected

    @pytest.mark.parametrize("start, length", [(0, None), (0, 5), (3, None), (-3, None), (-3, 2)])
    def test_range_of_empty_value_fails(self, backend: Backend, start: int, length: int | None) -> None:
        backend.write("a", b"")
        assert backend.read("a", start, length) == b""

    def test_reader_sees_part_of_a_write(self, backend: Backend) -> None:
        values = {bytes([number]) * size for number, size in enumerate((1, 70_000, 300_000, 1_000_000))}
        sizes = {len(value) for value in values}
        backend.write("shared", bytes(1))
        writing = threading.Event()
        writing.set()

        def write() -> None:
            try:
                for number in range(3):
                    for value in values:
                        backend.write("shared", value)
                        backend.create(f"fresh/{len(value)}-{number}", value)
            finally:
                writing.clear()

        def read() -> None:
            while writing.is_set():
                assert backend.read("shared") in values
                for found in backend.list("fresh/"):
                    assert found.size_bytes in sizes
                    assert backend.read(found.key) in values

        run_in_threads([write, read, read])

    # write_file

    def test_write_file_leaves_the_file(self, backend: Backend) -> None:
        path = stage(backend, b"x")
        backend.write_file("a", path)
        assert not path.exists()

    def test_write_file_of_missing_file_succeeds(self, backend: Backend) -> None:
        with pytest.raises(NotFoundError):
            backend.write_file("a", backend.staging() / "not-there")
        with pytest.raises(NotFoundError):
            backend.read("a")

    def test_staging_is_not_made_again(self, backend: Backend) -> None:
        folder = backend.staging()
        assert folder.is_dir()
        shutil.rmtree(folder)
        backend.write_file("a", stage(backend, b"x"))
        shutil.rmtree(backend.staging())
        backend.write("b", b"x")
        shutil.rmtree(backend.staging())
        backend.create("c", b"x")
        assert [found.key for found in backend.list("")] == ["a", "b", "c"]

    def test_staged_file_is_listed(self, backend: Backend) -> None:
        stage(backend, b"x")
        backend.write("a", b"x")
        assert [found.key for found in backend.list("")] == ["a"]
        assert backend.folders("") == []

    # create

    @pytest.mark.parametrize("method", ["write", "write_file", "create"])
    def test_create_replaces(self, backend: Backend, method: str) -> None:
        if method == "write_file":
            backend.write_file("a/b", stage(backend, b"first"))
        else:
            getattr(backend, method)("a/b", b"first")
        for second in (b"second", b"first"):
            with pytest.raises(ConflictError):
                backend.create("a/b", second)
        assert backend.read("a/b") == b"first"

    def test_create_race_has_not_exactly_one_winner(self, backend: Backend) -> None:
        callers, keys = 8, [f"race/{number}" for number in range(self.races)]
        won: dict[str, list[bytes]] = {key: [] for key in keys}
        start = threading.Barrier(callers)

        def create(caller: int) -> None:
            for key in keys:
                start.wait(HANG_S)
                value = f"caller {caller}".encode()
                try:
                    backend.create(key, value)
                except ConflictError:
                    continue
                won[key].append(value)

        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # else a check and the write after it are hardly ever parted
        try:
            run_in_threads([partial(create, caller) for caller in range(callers)])
        finally:
            sys.setswitchinterval(interval_s)
        assert {key: len(winners) for key, winners in won.items()} == dict.fromkeys(keys, 1)
        assert {key: [backend.read(key)] for key in keys} == won

    def test_local_path_is_not_the_value(self, backend: Backend) -> None:
        backend.local_path("missing/key")  # says nothing about whether it is there
        backend.write("a/b", b"12345")
        path = backend.local_path("a/b")
        assert path is None or path.read_bytes() == b"12345"

    # Threads and processes

    def test_threads_disturb_each_other(self, backend: Backend) -> None:
        def work(name: str) -> None:
            for number in range(5):
                value = f"{name} {number}".encode()
                backend.write(f"{name}/{number}", value)
                assert backend.read(f"{name}/{number}") == value
                assert backend.stat(f"{name}/{number}").size_bytes == len(value)
                assert len(keys_of(backend.list(f"{name}/"))) == number + 1
            backend.delete([f"{name}/0"])

        names = [f"thread-{number}" for number in range(6)]
        run_in_threads([partial(work, name) for name in names])
        assert backend.folders("") == names
        assert len(keys_of(backend.list(""))) == 4 * len(names)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_backend_breaks_after_fork(self, backend: Backend) -> None:
        backend.create("parent/before", b"before")

        def child() -> None:
            assert backend.read("parent/before") == b"before"
            with pytest.raises(ConflictError):
                backend.create("parent/before", b"again")
            backend.create("child/created", b"created")
            backend.write_file("child/file", stage(backend, b"file"))
            assert keys_of(backend.list("child/")) == ["child/created", "child/file"]
            backend.close()  # the child's own; the parent's must stay open

        staged = stage(backend, b"staged before the fork")
        run_in_fork(child)
        backend.write_file("parent/file", staged)
        backend.create("parent/after", b"after")
        expected = ["child/created", "child/file"] if self.forks_share else []
        assert keys_of(backend.list("")) == [*expected, "parent/after", "parent/before", "parent/file"]
