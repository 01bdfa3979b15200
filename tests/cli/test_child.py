"""A child between our streams and its own: pipes, terminals, signals."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

DRIVER = """
import json, os, shutil, sys
from pathlib import Path
from lineart.cli.child import run_plain, run_shown
report, how, *command = sys.argv[1:]
taken = []
program = shutil.which(command[0])
if how == "plain":
    ended = run_plain(program, command, os.environ)
else:
    ended = run_shown(program, command, os.environ, lambda name, data: taken.append((name, data.decode())))
Path(report).write_text(json.dumps({"status": ended.status, "signal": ended.signal_name, "taken": taken}))
"""


def driver(report: Path, *command: str, how: str = "shown") -> list[str]:
    """The command line of a process that runs `command` and reports how that went."""
    return [sys.executable, "-c", DRIVER, str(report), how, *command]


def python(code: str) -> tuple[str, str, str]:
    """A Python child."""
    return sys.executable, "-c", code


def text_of(taken: list[list[str]], name: str) -> str:
    return "".join(text for stream, text in taken if stream == name)


def on_terminal(
    command: list[str], keys: list[tuple[str, bytes]], stdout: int | None = None
) -> tuple[str, int]:
    """Run `command` on a terminal, type keys when a text has appeared; what was shown, and its exit status."""
    child, controller = pty.fork()
    if child == 0:
        if stdout is not None:
            os.dup2(stdout, 1)
        os.execv(command[0], command)
    shown = b""
    waiting = list(keys)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([controller], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(controller, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        shown += data
        if waiting and waiting[0][0].encode() in shown:
            os.write(controller, waiting.pop(0)[1])
    _, status = os.waitpid(child, 0)
    os.close(controller)
    return shown.decode(), os.waitstatus_to_exitcode(status)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def read(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_output_is_shown_and_taken_by_stream(report: Path) -> None:
    script = "echo one; echo two >&2; printf 'three\\nno newline'; exit 3"
    done = subprocess.run(driver(report, "sh", "-c", script), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("one\nthree\nno newline", "two\n")
    found = read(report)
    assert (found["status"], found["signal"]) == (3, None)
    assert text_of(found["taken"], "stdout") == done.stdout
    assert text_of(found["taken"], "stderr") == "two\n"


def test_order_is_kept_where_stdout_and_stderr_are_one_file(report: Path) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    command = driver(report, "sh", "-c", script)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    assert done.stdout == "".join(f"out {i}\nerr {i}\n" for i in range(1, 10))
    assert "".join(text for _, text in read(report)["taken"]) == done.stdout


def test_nothing_of_a_large_output_is_lost(report: Path) -> None:
    command = driver(report, *python("import sys\nfor i in range(200_000): sys.stdout.write(f'{i}\\n')"))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = "".join(f"{i}\n" for i in range(200_000))
    assert done.stdout == wanted
    assert text_of(read(report)["taken"], "stdout") == wanted


def test_bytes_that_are_no_text_go_through(report: Path) -> None:
    command = driver(report, "sh", "-c", "printf '\\377\\000x'")
    command[2] = command[2].replace("data.decode()", "data.hex()")
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"\xff\0x"
    assert "".join(text for _, text in read(report)["taken"]) == "ff0078"


def test_input_reaches_the_child(report: Path) -> None:
    done = subprocess.run(driver(report, "cat"), input=b"typed\n", capture_output=True, check=True)
    assert done.stdout == b"typed\n"


@pytest.mark.parametrize("how", ["shown", "plain"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signal_goes_on_to_the_child_and_what_it_started(
    number: signal.Signals, how: str, report: Path, tmp_path: Path
) -> None:
    code = f"""
import pathlib, signal, subprocess, sys, time
name = sys.argv[1]
def stop(number, frame):
    pathlib.Path(name + ".got").write_text(str(number))
    sys.exit(7)
signal.signal({int(number)}, stop)
if name == "child":
    grandchild = subprocess.Popen([sys.executable, sys.argv[2], "grandchild"])
else:
    pathlib.Path("ready").touch()
time.sleep(60)
"""
    (tmp_path / "code.py").write_text(code)
    command = driver(
        report, sys.executable, str(tmp_path / "code.py"), "child", str(tmp_path / "code.py"), how=how
    )
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as parent:
        for _ in range(300):
            if (tmp_path / "ready").exists():
                break
            time.sleep(0.1)
        time.sleep(0.2)
        parent.send_signal(number)
        parent.communicate(timeout=30)
    assert read(report)["status"] == 7
    assert parent.returncode == 0
    for _ in range(100):
        if (tmp_path / "grandchild.got").exists():
            break
        time.sleep(0.1)
    assert (
        (tmp_path / "child.got").read_text() == (tmp_path / "grandchild.got").read_text() == str(int(number))
    )


def test_killed_child_has_the_status_of_its_signal(report: Path) -> None:
    subprocess.run(driver(report, "sh", "-c", "kill -9 $$"), check=True)
    assert (read(report)["status"], read(report)["signal"]) == (137, "SIGKILL")


def test_grandchild_that_keeps_the_pipe_does_not_keep_us(report: Path) -> None:
    begin = time.monotonic()
    with subprocess.Popen(
        driver(report, "sh", "-c", "echo done; sleep 30 &"), stdout=subprocess.PIPE
    ) as parent:
        assert parent.wait(20) == 0
        assert time.monotonic() - begin < 15
    assert text_of(read(report)["taken"], "stdout") == "done\n"


def test_reader_that_stops_stops_the_child(report: Path) -> None:
    with subprocess.Popen(driver(report, "yes"), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.stdout.close()
        parent.wait(30)
    assert read(report)["signal"] == "SIGPIPE"


def test_ignored_signal_stays_ignored(report: Path) -> None:
    code = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *driver(report, *python(code))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


LOOK = """
import os, sys
print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), os.ctermid() and open("/dev/tty").isatty())
"""


def test_child_of_a_terminal_has_a_terminal(report: Path) -> None:
    shown, status = on_terminal(driver(report, *python(LOOK)), [])
    assert "True True True True" in shown
    assert status == 0
    assert "True True True True" in text_of(read(report)["taken"], "stdout")


def test_terminal_gets_only_what_is_no_pipe(report: Path) -> None:
    reading, writing = os.pipe()
    shown, _ = on_terminal(
        driver(report, *python(LOOK + "\nprint('to the terminal', file=sys.stderr)")), [], writing
    )
    os.close(writing)
    assert os.read(reading, 1000) == b"True False True True\n"
    os.close(reading)
    assert "to the terminal" in shown
    assert "to the terminal" in text_of(read(report)["taken"], "stderr")


def test_questions_are_answered_and_interrupts_reach_the_child(report: Path) -> None:
    code = """
import getpass, time
print("hello", input("name? "))
print(len(getpass.getpass("secret? ")))
try:
    print("sleeping")
    time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(5)
"""
    keys = [("name? ", b"ann\r"), ("secret? ", b"12345\r"), ("sleeping", b"\x03")]
    shown, status = on_terminal(driver(report, *python(code)), keys)
    assert status == 0
    assert "hello ann" in shown
    assert "12345" not in shown
    assert read(report)["status"] == 5


def test_terminal_is_left_as_it_was(report: Path) -> None:
    code = f"""
import subprocess, sys, termios
before = termios.tcgetattr(0)
subprocess.run({driver(report, "true")!r}, check=True)
print("same" if termios.tcgetattr(0) == before else "changed")
"""
    assert "same" in on_terminal([*python(code)], [])[0]


def test_size_of_the_terminal_is_ours(report: Path) -> None:
    code = f"""
import fcntl, struct, subprocess, termios
fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
subprocess.run({driver(report, *python("import os; print(*os.get_terminal_size())"))!r}, check=True)
"""
    assert "77 33" in on_terminal([*python(code)], [])[0]


def test_plain_child_shares_our_terminal(report: Path) -> None:
    code = """
import time
try:
    print("sleeping", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(5)
"""
    _, status = on_terminal(driver(report, *python(code), how="plain"), [("sleeping", b"\x03")])
    assert (status, read(report)["status"]) == (0, 5)
