"""How a process ends: what `sys.exit` was given, which exception nobody caught, a signal to terminate.

While a run is current, `sys.exit` notes its argument, and SIGTERM and SIGHUP (where nobody handles them) become a
`SystemExit` of 128 + the signal's number, so that ``with`` blocks and exit handlers run. Both are put back at its end.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_SIGNALS = ("SIGTERM", "SIGHUP")


class Exits:
    """Watches one process for one run."""

    def __init__(self) -> None:
        self.code: Any = None  # the argument of the last `sys.exit`
        self.signal: str | None = None
        self._exit: Callable[[Any], Any] | None = None
        self._handlers: dict[int, Any] = {}

    def watch(self) -> None:
        """Begin. In another thread than the main one signals are left alone: Python allows no handlers there."""
        original = sys.exit

        def noting_exit(status: Any = None, /) -> None:
            if threading.current_thread() is threading.main_thread():  # elsewhere it ends a thread
                self.code = status
            original(status)

        noting_exit.__doc__ = original.__doc__
        noting_exit._lineart = self  # type: ignore[attr-defined]
        self._exit = original
        sys.exit = noting_exit  # type: ignore[assignment]
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                    self._handlers[number] = signal.signal(number, self._terminated)

    def release(self) -> None:
        """Put back what is still ours."""
        if self._exit is not None:
            if getattr(sys.exit, "_lineart", None) is self:
                sys.exit = self._exit  # type: ignore[assignment]
            self._exit = None
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                if signal.getsignal(number) == self._terminated:
                    signal.signal(number, handler)
            self._handlers.clear()

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        self.code = 128 + number
        raise SystemExit(128 + number)

    def outcome(self) -> tuple[int, BaseException | None]:
        """The exit code that the process is ending with, and the exception that ends it."""
        error = getattr(sys, "last_value", None)
        if isinstance(error, BaseException) and not isinstance(error, SystemExit):
            return 1, error
        return exit_code(self.code), None


def exit_code(status: Any) -> int:
    """What the system is told for an argument of `sys.exit`: a number of 32 bits, 0 for None, 1 for else."""
    if status is None:
        return 0
    return max(-(1 << 31), min(int(status), (1 << 31) - 1)) if isinstance(status, int) else 1


def before_thread_pools_end(work: Callable[[], object]) -> None:
    """Run `work` when the interpreter exits, while there may still be threads.

    Functions of `atexit` come after `concurrent.futures` has refused all further work, which storing files needs. The
    hook that it uses itself is not public, but has been the same since Python 3.9.
    """
    import concurrent.futures.thread  # noqa: F401 - its hook has to be there first: they run in reverse order
    import threading

    register = getattr(threading, "_register_atexit", atexit.register)
    register(work)
