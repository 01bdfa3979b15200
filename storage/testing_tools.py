"""What the suite of backends is written with: threads and forks that hand their failures on."""

from __future__ import annotations

import multiprocessing
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from .backend import Backend, Stat

__all__ = ["HANG_S", "keys_of", "run_in_fork", "run_in_threads", "stage"]

HANG_S = 120.0  # ends a test that hangs; says nothing about speed


def run_in_threads(works: list[Callable[[], object]]) -> None:
    """Run all at once and raise the first failure; a thread's own would only be printed."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # raised again below, by the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


def run_in_fork(work: Callable[[], None]) -> None:
    """Run in a forked child and fail when it does; its traceback goes to standard error."""
    child = multiprocessing.get_context("fork").Process(target=work)
    with warnings.catch_warnings():
        # From 3.12 on a fork beside threads warns, since it may deadlock; that it does not is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    child.join(HANG_S)
    if child.is_alive():
        child.kill()
        child.join()
    assert child.exitcode == 0, f"the forked child ended with {child.exitcode}; its traceback is above"


def stage(backend: Backend, value: bytes) -> Path:
    """A file in `staging()` with `value`, to be given to `write_file`."""
    path = backend.staging() / f"suite-{secrets.token_hex(8)}"
    path.write_bytes(value)
    return path


def keys_of(listing: Iterator[Stat]) -> list[str]:
    """The keys, in the order in which they come."""
    return [found.key for found in listing]
