"""Backend wrapper that fails on purpose: lost answers, torn uploads, delays, and a hook to be killed at.

Which call meets which fault is decided by a `Plan`, a function of method and key: `ScriptedFaults` for a test of one
case, `RandomFaults` for many. Both are deterministic as long as the calls come in one order.
"""

from __future__ import annotations

import enum
import itertools
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

from .backend import Backend, Buffer, Stat, check_key, check_prefix
from .errors import CommError
from .wrapper import BackendWrapper

__all__ = ["Fault", "FaultyBackend", "Plan", "RandomFaults", "ScriptedFaults"]

_Result = TypeVar("_Result")


class Fault(enum.Enum):
    """What goes wrong with one call."""

    BEFORE = "before"  # CommError, and nothing was done
    AFTER = "after"  # all was done, then CommError: the answer is lost
    DELAY = "delay"  # all is done, later
    TORN = (
        "torn"  # CommError after half of it: an upload not visible, half of the deletions, half of a listing
    )


class _Torn(CommError):
    """Tells a torn listing, which gives its first half, from one that fails at once."""


Plan: TypeAlias = Callable[[str, str], Fault | None]


class ScriptedFaults:
    """For each method, what happens to its first, second, ... call; nothing after the script's end.

    >>> plan = ScriptedFaults({"create": [None, Fault.AFTER]})
    >>> [plan("create", "a"), plan("read", "a"), plan("create", "b"), plan("create", "c")]
    [None, None, <Fault.AFTER: 'after'>, None]
    """

    def __init__(self, script: Mapping[str, Iterable[Fault | None]]) -> None:
        self._script = {method: iter(list(faults)) for method, faults in script.items()}

    def __call__(self, method: str, key: str) -> Fault | None:
        return next(self._script.get(method, iter(())), None)


class RandomFaults:
    """Each fault with its probability, by a seeded generator; for the given methods, or for all.

    `repeat` bounds how many faults meet the same method and key, so that a caller that retries gets through.
    """

    def __init__(
        self,
        seed: int,
        rates: Mapping[Fault, float],
        *,
        methods: Iterable[str] | None = None,
        repeat: int | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._faults = [*rates, None]
        self._limits = [*itertools.accumulate(rates.values()), 1.0]
        self._methods = None if methods is None else frozenset(methods)
        self._repeat = repeat
        self._met: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def __call__(self, method: str, key: str) -> Fault | None:
        if self._methods is not None and method not in self._methods:
            return None
        with self._lock:
            drawn = self._random.random()
            fault = next(
                fault for fault, limit in zip(self._faults, self._limits, strict=True) if drawn < limit
            )
            met = self._met.get((method, key), 0)
            if fault is None or (self._repeat is not None and met >= self._repeat):
                return None
            self._met[method, key] = met + 1
            return fault


def _no_step(method: str, key: str) -> None:
    """The hook of a test that does not want one."""


class FaultyBackend(BackendWrapper):
    """Does what `inner` does, except where `plan` names a fault.

    `on_step(method, key)` is called before the effect of each call, and again after it with ``"<method>.done"``:
    a test that kills its process there covers every step of what it tests. It may raise, too.
    """

    def __init__(
        self,
        inner: Backend,
        plan: Plan | None = None,
        *,
        on_step: Callable[[str, str], None] = _no_step,
        delay_s: float = 0.01,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._plan: Plan = ScriptedFaults({}) if plan is None else plan
        self._on_step = on_step
        self._delay_s = delay_s
        self._sleep = sleep

    def _around(self, method: str, key: str, call: Callable[[], _Result]) -> _Result:
        return self._meet(method, key, call, half=lambda: None)

    def _meet(self, method: str, key: str, call: Callable[[], _Result], half: Callable[[], None]) -> _Result:
        fault = self._plan(method, key)
        self._on_step(method, key)
        if fault is Fault.BEFORE:
            raise CommError(f"injected: {method} of {key!r} failed before it began")
        if fault is Fault.TORN:
            half()
            raise _Torn(f"injected: {method} of {key!r} was torn")
        if fault is Fault.DELAY:
            self._sleep(self._delay_s)
        result = call()
        self._on_step(f"{method}.done", key)
        if fault is Fault.AFTER:
            raise CommError(f"injected: the answer to {method} of {key!r} is lost")
        return result

    def _litter(self, data: Buffer) -> None:
        """Leave half of an upload where uploads lie before they have a name."""
        half = memoryview(data).cast("B")[: memoryview(data).nbytes // 2]
        (self.staging() / f"torn~{secrets.token_hex(8)}").write_bytes(half)

    def write(self, key: str, data: Buffer) -> None:
        check_key(key)
        self._meet("write", key, lambda: self._inner.write(key, data), lambda: self._litter(data))

    def write_file(self, key: str, path: Path) -> None:
        check_key(key)
        call, half = (lambda: self._inner.write_file(key, path)), (lambda: self._litter(path.read_bytes()))
        self._meet("write_file", key, call, half)

    def create(self, key: str, data: Buffer) -> None:
        check_key(key)
        self._meet("create", key, lambda: self._inner.create(key, data), lambda: self._litter(data))

    def delete(self, keys: Iterable[str]) -> None:
        doomed = [check_key(key) for key in keys]
        half = doomed[: len(doomed) // 2]
        first = doomed[0] if doomed else ""
        self._meet("delete", first, lambda: self._inner.delete(doomed), lambda: self._inner.delete(half))

    def list(self, prefix: str, start_after: str = "") -> Iterator[Stat]:
        return self._torn_list(check_prefix(prefix), start_after)

    def _torn_list(self, prefix: str, start_after: str) -> Iterator[Stat]:
        """A listing meets its fault when it is read, as over a network; a torn one after half of its keys."""
        found: tuple[Stat, ...] = ()
        torn: CommError | None = None
        try:
            found = self._around("list", prefix, lambda: tuple(self._inner.list(prefix, start_after)))
        except _Torn as error:
            torn = error
            found = tuple(self._inner.list(prefix, start_after))
            found = found[: len(found) // 2]
        yield from found
        if torn is not None:
            raise torn
