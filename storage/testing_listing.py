"""The part of `storage.testing.BackendSuite` about stat, list, folders and delete."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pytest

from .backend import Backend, Stat
from .errors import NotFoundError
from .testing_tools import keys_of, run_in_threads

__all__ = ["ListingSuite"]

# In the order of bytes, in which '-' and '.' come before '/', and '/' before digits and letters.
_ORDERED = ["a-", "a.b", "a/b", "a/b.x", "a/c-d", "a/c/d", "a/c/d.e", "a/cc", "a0", "ab", "b/c", "z"]


class ListingSuite:
    """Tests of what a backend says about its keys."""

    many: ClassVar[int] = 1_005  # keys in the test of long listings: more than a page of S3

    def other(self, backend: Backend) -> Backend:
        """A second backend on the same store, where there can be one: what one writes the other must see."""
        return backend

    def test_stat_differs_from_listing(self, backend: Backend) -> None:
        backend.write("a/b", b"12345")
        found = backend.stat("a/b")
        assert isinstance(found, Stat)
        assert (found.key, found.size_bytes) == ("a/b", 5)
        (listed,) = backend.list("a/")
        assert (listed.key, listed.size_bytes) == ("a/b", 5)
        assert (
            abs(listed.modified_s - found.modified_s) < 1
        )  # S3 gives a header in seconds, a listing in more
        assert found.modified_s > 0

    @pytest.mark.parametrize("prefix", ["", "a/", "a/c/", "b/", "c/", "a/b/"])
    def test_listing_misses_or_misorders_keys(self, backend: Backend, prefix: str) -> None:
        assert sorted(_ORDERED) == _ORDERED
        for key in reversed(_ORDERED):
            backend.write(key, key.encode())
        below = [key for key in _ORDERED if key.startswith(prefix)]
        assert keys_of(backend.list(prefix)) == below
        starts = ["a", "a/", "a/b", "a/b.", "a/c", "a/c/", "a/c/d", "a/c0", "a0", "b/", "b/c/", "c", "~", "-"]
        for start in starts + _ORDERED:
            expected = [key for key in below if key > start]
            assert keys_of(backend.list(prefix, start)) == expected, start

    def test_prefix_ends_within_a_name(self, backend: Backend) -> None:
        for key in ("a/b/c", "a/bc", "a/b.c", "a/bd/e"):
            backend.write(key, b"x")
        assert keys_of(backend.list("a/b/")) == ["a/b/c"]

    def test_listing_of_missing_folder_fails(self, backend: Backend) -> None:
        assert list(backend.list("")) == []
        assert list(backend.list("a/b/")) == []
        assert backend.folders("") == []
        assert backend.folders("a/b/") == []

    def test_listing_comes_from_a_cache(self, backend: Backend) -> None:
        other = self.other(backend)
        for number in range(3):
            backend.create(f"log/{number}", b"x")
            other.create(f"log/{number}-other/x", b"x")
            expected = [key for n in range(number + 1) for key in (f"log/{n}", f"log/{n}-other/x")]
            for one in (backend, other):
                assert keys_of(one.list("log/")) == expected
                assert one.folders("log/") == [f"{n}-other" for n in range(number + 1)]
        other.delete(["log/0", "log/0-other/x"])
        assert keys_of(backend.list("log/")) == ["log/1", "log/1-other/x", "log/2", "log/2-other/x"]
        assert backend.folders("log/") == ["1-other", "2-other"]

    def test_long_listing_is_cut_off(self, backend: Backend) -> None:
        keys = [f"log/{number:012}" for number in range(self.many)]

        def create(part: int) -> None:
            for key in keys[part::4]:
                backend.create(key, b"x")

        run_in_threads([partial(create, part) for part in range(4)])
        assert keys_of(backend.list("log/")) == keys
        assert keys_of(backend.list("log/", keys[-3])) == keys[-2:]
        assert keys_of(backend.list("", keys[self.many // 2])) == keys[self.many // 2 + 1 :]
        backend.delete(key for key in keys)
        assert keys_of(backend.list("")) == []

    def test_deletion_during_listing_loses_other_keys(self, backend: Backend) -> None:
        keys = [f"a/{number // 4}/{number}" for number in range(10, 30)]
        for key in keys:
            backend.write(key, b"x")
        listing = backend.list("a/")
        seen = [next(listing).key]
        backend.delete(keys[1::2])
        seen += keys_of(listing)
        assert seen == sorted(set(seen))
        assert set(keys[::2]) <= set(seen) <= set(keys)

    def test_folders_shows_files_or_grandchildren(self, backend: Backend) -> None:
        for key in ("b/x", "a/c/d/e", "a/c.d", "a/b/x", "a/b.c/y", "a-b"):
            backend.write(key, b"x")
        assert backend.folders("") == ["a", "b"]
        assert backend.folders("a/") == ["b", "b.c", "c"]
        assert backend.folders("a/c/") == ["d"]
        assert backend.folders("a/b/") == []

    def test_folder_outlives_its_last_key(self, backend: Backend) -> None:
        backend.write("a/b/c", b"x")
        backend.write("a/d", b"x")
        backend.delete(["a/b/c"])
        assert backend.folders("a/") == []
        backend.delete(["a/d"])
        assert backend.folders("") == []
        backend.create("a/b/c", b"y")
        assert backend.folders("a/") == ["b"]

    def test_delete_leaves_or_takes_other_keys(self, backend: Backend) -> None:
        for key in ("a/b", "a/bc", "a/c/d", "e"):
            backend.write(key, b"x")
        backend.delete(iter(["a/b", "e", "missing", "a/missing", "a/c"]))
        backend.delete([])
        assert keys_of(backend.list("")) == ["a/bc", "a/c/d"]
        with pytest.raises(NotFoundError):
            backend.read("a/b")
