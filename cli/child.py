"""A child process whose output is shown as it comes and handed over as well: what `art exec` stands on.

Where one of our own streams is a terminal, the child gets a terminal for it (a pty), so that progress bars, colours
and questions work as ever. Then keys go to the child unchanged, and Ctrl-C reaches it from its own terminal; but not
where stdout goes elsewhere, since in ``art exec … | less`` the keys are meant for somebody else. Streams that are no
terminal are pipes; one pipe, when our stdout and stderr are the same file, which keeps their order exactly. The child
leads a session of its own: signals that are sent to us go on to its whole process group.
"""

from __future__ import annotations

import fcntl
import os
import select
import selectors
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

STDIN, STDOUT, STDERR = 0, 1, 2
_CHUNK_BYTES = 1 << 16
_POLL_S = 0.25  # silence after which a child that has ended is not waited for: a grandchild keeps its pipe
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")

# A session's leader gets the terminal that it opens first. Done by a program between us and the command, since code
# after a fork is not safe in a process with threads.
_TAKE_TERMINAL = """
import os, signal, sys
os.close(os.open(sys.argv[1], os.O_RDWR))
for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them; the command must not inherit that
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[3:])
"""

Take = Callable[[str, bytes], None]  # name of the stream ("stdout", "stderr"), bytes as they came


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit status as a shell tells it, and the signal that killed it, if one did."""

    status: int
    signal_name: str | None = None

    @classmethod
    def of(cls, returncode: int) -> Ended:
        """From what `subprocess` says: a negative number is a signal.

        >>> Ended.of(3), Ended.of(-15)
        (Ended(status=3, signal_name=None), Ended(status=143, signal_name='SIGTERM'))
        """
        if returncode >= 0:
            return cls(returncode)
        try:
            name = signal.Signals(-returncode).name
        except ValueError:  # a real-time signal has no name
            name = f"signal {-returncode}"
        return cls(128 - returncode, name)


def run_shown(
    file: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    take: Take,
    pause: Callable[[], None] = lambda: None,
) -> Ended:
    """Run `command` (its program lies at `file`), show its output, and give every byte of it to `take`.

    `pause` is called after each piece of output, and four times a second while there is none.
    Raises: OSError when it cannot be started.
    """
    return Relay(file, command, environ, take, pause).run()


def run_plain(file: str, command: Sequence[str], environ: Mapping[str, str]) -> Ended:
    """Run `command` with our own streams. Raises: OSError when it cannot be started.

    On a terminal it stays in our process group, and the keyboard's signals reach both of us: ours are ignored.
    """
    on_terminal = any(map(os.isatty, (STDIN, STDOUT, STDERR)))
    from_keyboard = frozenset({signal.SIGINT, signal.SIGQUIT} if on_terminal else ())
    with Forwarding(grouped=not on_terminal, swallowed=from_keyboard) as forwarding:
        process = subprocess.Popen(command, executable=file, env=environ, start_new_session=not on_terminal)
        forwarding.follow(process)
        return Ended.of(process.wait())


class Forwarding:
    """While it is entered, signals sent to this process go on to the child; those that we ignore stay ignored."""

    def __init__(
        self,
        *,
        grouped: bool,
        swallowed: frozenset[signal.Signals] = frozenset(),
        resumed: Callable[[], None] = lambda: None,
    ) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._grouped = grouped
        self._swallowed = swallowed
        self._resumed = resumed
        self._early: list[int] = []
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Forwarding:
        for name in _FORWARDED:
            number = signal.Signals[name]
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup, or behind "&" in a script
                # Not SIG_IGN for what is swallowed: the child would inherit that.
                self._before.append((number, signal.signal(number, self._forward)))
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """The child that signals go to, those too that came before it was there."""
        self._process = process
        while self._early:
            self._forward(self._early.pop(0), None)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number in self._swallowed:
            return
        if number == signal.SIGCONT:
            self._resumed()
        if self._process is None:
            self._early.append(number)
        elif self._process.returncode is None:  # else its number may be another process's by now
            send = os.killpg if self._grouped else os.kill
            try:
                send(self._process.pid, number)
            except ProcessLookupError:
                pass  # it has ended by itself at this moment


class Relay:
    """The life of one child between our streams and those that it got."""

    def __init__(
        self,
        file: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        take: Take,
        pause: Callable[[], None],
    ) -> None:
        self._command = [file, *command]
        self._environ = dict(environ)
        self._take = take
        self._pause = pause
        self._terminals = {number for number in (STDIN, STDOUT, STDERR) if os.isatty(number)}
        if STDOUT not in self._terminals:
            self._terminals.discard(STDIN)
        self._selector = selectors.DefaultSelector()
        self._sources: dict[int, tuple[str, int]] = {}  # what is read → stream's name, where it is shown
        self._master: int | None = None
        self._typed = b""  # on its way to the child's terminal
        self._cooked: list[Any] | None = None  # our terminal's settings before keys went through unchanged

    def run(self) -> Ended:
        """Start it, pass on what it writes until it has ended, and leave our terminal as it was."""
        sized = signal.getsignal(signal.SIGWINCH)
        try:
            with Forwarding(grouped=True, resumed=self._take_keys) as forwarding:
                process = self._start()
                forwarding.follow(process)
                if self._master is not None:
                    signal.signal(signal.SIGWINCH, lambda *_: self._copy_size())
                    self._take_keys()
                self._pump(process)
                return Ended.of(process.wait())
        finally:
            if self._cooked is not None:
                termios.tcsetattr(STDIN, termios.TCSADRAIN, self._cooked)
            signal.signal(signal.SIGWINCH, sized)
            for source in list(self._sources):
                self._close(source)
            self._selector.close()

    def _start(self) -> subprocess.Popen[bytes]:
        slave = self._open_terminal() if self._terminals else None
        pipe = subprocess.PIPE
        file, *command = self._command
        if slave is not None:
            command = [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, os.ttyname(slave), file, *command]
            file = sys.executable
        same = STDERR not in self._terminals and STDOUT not in self._terminals and _same_file(STDOUT, STDERR)
        process = subprocess.Popen(
            command,
            executable=file,
            env=self._environ,
            stdin=slave if STDIN in self._terminals else None,
            stdout=slave if STDOUT in self._terminals else pipe,
            stderr=slave if STDERR in self._terminals else subprocess.STDOUT if same else pipe,
            bufsize=0,
            start_new_session=True,
        )
        if slave is not None:
            os.close(slave)
        if self._master is not None:
            if STDOUT in self._terminals:
                self._read_from(self._master, "stdout", STDOUT)
            else:
                self._read_from(self._master, "stderr", STDERR)
        for stream, name, target in ((process.stdout, "stdout", STDOUT), (process.stderr, "stderr", STDERR)):
            if stream is not None:
                self._read_from(os.dup(stream.fileno()), name, target)
                stream.close()
        return process

    def _open_terminal(self) -> int:
        """Make a terminal like ours; returns the child's end."""
        self._master, slave = os.openpty()
        termios.tcsetattr(slave, termios.TCSANOW, termios.tcgetattr(min(self._terminals)))
        self._copy_size()
        return slave

    def _copy_size(self) -> None:
        if self._master is not None:
            size = fcntl.ioctl(min(self._terminals), termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _take_keys(self) -> None:
        """Let what is typed go to the child unchanged, if we are the ones that it is typed to."""
        if STDIN not in self._terminals or self._master is None or os.tcgetpgrp(STDIN) != os.getpgrp():
            return
        if self._cooked is None:
            self._cooked = termios.tcgetattr(STDIN)
            self._selector.register(STDIN, selectors.EVENT_READ)
        tty.setraw(STDIN)

    def _read_from(self, source: int, name: str, target: int) -> None:
        self._sources[source] = name, target
        self._selector.register(source, selectors.EVENT_READ)

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        while self._sources:
            events = self._selector.select(_POLL_S)
            for key, mask in events:
                if key.fd not in self._sources:
                    self._read_keys()
                    continue
                if mask & selectors.EVENT_WRITE:
                    self._send_keys()
                if mask & selectors.EVENT_READ:
                    self._pass_on(key.fd)
            self._pause()
            if not events and process.poll() is not None:
                return

    def _read_keys(self) -> None:
        typed = os.read(STDIN, _CHUNK_BYTES)
        self._typed += typed
        if not typed:  # our terminal is gone
            self._selector.unregister(STDIN)
        self._await_keys()

    def _send_keys(self) -> None:
        assert self._master is not None
        sent = os.write(
            self._master, self._typed[:512]
        )  # less than a terminal takes in at once: it never blocks
        self._typed = self._typed[sent:]
        self._await_keys()

    def _await_keys(self) -> None:
        if self._master in self._sources:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._typed else 0)
            self._selector.modify(self._master, wanted)

    def _pass_on(self, source: int) -> None:
        name, target = self._sources[source]
        try:
            data = os.read(source, _CHUNK_BYTES)
        except OSError:  # Linux: a terminal that nobody has open any more
            data = b""
        if not data:
            self._close(source)
            return
        self._take(name, data)
        try:
            _write_all(target, data)
        except BrokenPipeError:  # nobody reads us any more; the child is told the same way
            self._close(source)

    def _close(self, source: int) -> None:
        self._selector.unregister(source)
        del self._sources[source]
        os.close(source)


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:  # one of them is closed
        return False


def _write_all(target: int, data: bytes) -> None:
    """Write to one of our streams, also when whoever gave it to us has made it non-blocking."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:
            select.select([], [target], [])
