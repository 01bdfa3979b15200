"""Backend wrapper that repeats what failed for a reason that may pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from .backend import Backend, Stat, check_key, check_prefix
from .errors import CommError, NotFoundError
from .wrapper import BackendWrapper

__all__ = ["Retries", "RetryingBackend"]

_Result = TypeVar("_Result")


class Retries:
    """When to try again what raised `CommError`, and when to give up: exponential backoff with full jitter.

    A call is tried `attempts` times at most, and not again once `timeout_s` has passed since its beginning. Before
    the n-th repetition it sleeps a random part of ``min(longest_delay_s, first_delay_s * 2**(n-1))``.
    """

    def __init__(
        self,
        *,
        attempts: int = 6,
        first_delay_s: float = 0.1,
        longest_delay_s: float = 10.0,
        timeout_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._attempts = attempts
        self._first_delay_s = first_delay_s
        self._longest_delay_s = longest_delay_s
        self._timeout_s = timeout_s
        self.clock = clock
        self._sleep = sleep
        self._uniform = uniform

    def run(self, call: Callable[[], _Result]) -> _Result:
        """What `call` returns in the end. Raises: CommError when it was tried often and long enough."""
        begin_s = self.clock()
        failures = 0
        while True:
            try:
                return call()
            except CommError as error:
                failures += 1
                self.wait(error, failures, begin_s)

    def wait(self, error: CommError, failures: int, begin_s: float) -> None:
        """Sleep before the next attempt. Raises: CommError when there is to be none."""
        elapsed_s = self.clock() - begin_s
        # 2.0**1023 is the largest a float holds; at 64 doublings every delay has long reached its limit.
        longest_s = min(self._longest_delay_s, self._first_delay_s * 2.0 ** min(failures - 1, 64))
        delay_s = longest_s * self._uniform()
        if failures >= self._attempts or elapsed_s + delay_s > self._timeout_s:
            raise CommError(f"{error} (gave up after {failures} attempts in {elapsed_s:.1f} s)") from error
        self._sleep(delay_s)


class RetryingBackend(BackendWrapper):
    """Repeats a call that raised `CommError`; passes on all else. The options are those of `Retries`.

    `create` is repeated too. When the first answer was lost after the store had committed, the repetition meets
    our own value, and its `ConflictError` is passed on: only the caller can tell whether what is there is its own.
    The log does so by transaction id. Without a retry the caller would be left with the same question.

    A listing goes on behind the last key that was given, and each key that it gives starts the count afresh.
    """

    def __init__(self, inner: Backend, **options: Any) -> None:  # spelled out once, in `Retries`
        super().__init__(inner)
        self._retries = Retries(**options)

    def _around(self, method: str, key: str, call: Callable[[], _Result]) -> _Result:
        return self._retries.run(call)

    def write_file(self, key: str, path: Path) -> None:
        check_key(key)
        size_bytes = path.stat().st_size if path.exists() else None
        begin_s = self._retries.clock()
        failures = 0
        while True:
            try:
                return self._inner.write_file(key, path)
            except CommError as error:
                if size_bytes is not None and not path.exists():
                    return self._confirm(key, size_bytes, error)
                failures += 1
                self._retries.wait(error, failures, begin_s)

    def _confirm(self, key: str, size_bytes: int, error: CommError) -> None:
        """Accept a lost answer: a file that is consumed was in place, and cannot be sent a second time."""
        try:
            arrived = self.stat(key).size_bytes == size_bytes
        except NotFoundError:
            arrived = False
        if not arrived:
            raise CommError(f"{error}; the file is consumed and not under {key!r}: write it anew") from error

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        return self._resume(check_prefix(prefix), start_after)

    def _resume(self, prefix: str, start_after: str) -> Iterator[Stat]:
        begin_s = self._retries.clock()
        failures = 0
        while True:
            try:
                for found in self._inner.list(prefix, start_after):
                    yield found
                    start_after = found.key
                    begin_s = self._retries.clock()
                    failures = 0
                return
            except CommError as error:
                failures += 1
                self._retries.wait(error, failures, begin_s)
