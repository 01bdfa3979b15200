"""What is printed is copied, and printing stays what it was."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tqdm import tqdm

from lineart.tracking.capture import Console, OutputFile

Captured = pytest.CaptureFixture[str]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# What is copied


def test_both_streams_are_copied_in_order_and_still_shown(capsys: Captured, tmp_path: Path) -> None:
    with Console(tmp_path / "deep/output.log"):
        print("one")
        print("two", file=sys.stderr)
        sys.stdout.writelines(["three\n", "four\n"])
        print("né 🦆 \udcff".encode("utf-8", "replace").decode(), end="")
    assert (tmp_path / "deep/output.log").read_text("utf-8") == "one\ntwo\nthree\nfour\nné 🦆 ?\n"
    assert capsys.readouterr() == ("one\nthree\nfour\nné 🦆 ?", "two\n")


def test_logging_handler_made_before_is_copied(capsys: Captured, tmp_path: Path) -> None:
    handler = logging.StreamHandler()
    logger = logging.Logger("one of the test's own")
    logger.addHandler(handler)
    with Console(tmp_path / "log"):
        logger.warning("loss is NaN")
    assert (tmp_path / "log").read_text() == "loss is NaN\n"


def test_progress_bar_is_one_line_of_the_file(capsys: Captured, tmp_path: Path) -> None:
    with Console(tmp_path / "log"):
        for step in tqdm(range(20), mininterval=0, ncols=60):
            if step % 10 == 0:
                print("step", step)
    lines = (tmp_path / "log").read_text().splitlines()
    assert sum("20/20" in line for line in lines) == 1
    assert [line for line in lines if "/20" not in line] == ["step 0", "step 10"]


def test_unfinished_line_is_in_the_file_while_it_goes_on(capsys: Captured, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Console(log):
        print("10%", end="\r")
        wait_until(lambda: log.exists() and log.read_text() == "10%\n")
        print("20%", end="\r")
        wait_until(lambda: log.read_text() == "20%\n")
        print("done")
    assert log.read_text() == "done\n"


def test_sink_is_given_whole_lines_once(capsys: Captured) -> None:
    given: list[str] = []

    class Sink:
        def write(self, text: str, /) -> None:
            given.append(text)

    with Console(Sink()):
        for number in range(300):
            print(number)
    assert all(text.endswith("\n") for text in given)
    assert "".join(given) == "".join(f"{number}\n" for number in range(300))


def test_second_console_appends_to_the_file_of_the_first(capsys: Captured, tmp_path: Path) -> None:
    for text in ("first", "second"):
        with Console(tmp_path / "log"):
            print(text)
    assert (tmp_path / "log").read_text() == "first\nsecond\n"


def test_nothing_printed_makes_no_file(capsys: Captured, tmp_path: Path) -> None:
    with Console(tmp_path / "log"):
        pass
    assert not (tmp_path / "log").exists()


def test_threads_lose_no_line(capsys: Captured, tmp_path: Path) -> None:
    def speak(name: int) -> None:
        for number in range(500):
            sys.stdout.write(f"{name} {number}\n")

    with Console(tmp_path / "log"):
        threads = [threading.Thread(target=speak, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in range(8) for number in range(500))


# Streams stay what they were


def test_streams_are_the_same_objects_and_are_given_back(capsys: Captured, tmp_path: Path) -> None:
    out = sys.stdout
    console = Console(tmp_path / "log")
    console.start()
    console.start()
    assert sys.stdout is out
    assert not sys.stdout.isatty()
    assert sys.stdout.encoding.lower() == "utf-8"
    with pytest.raises(io.UnsupportedOperation):
        sys.stdout.fileno()
    assert sys.stdout.write("abc") == 3
    with pytest.raises(TypeError):
        sys.stdout.write(b"abc")  # type: ignore[arg-type]
    console.stop()
    console.stop()
    assert "write" not in vars(out)
    print("not copied")
    assert (tmp_path / "log").read_text() == "abc\n"


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_consoles_that_overlap_each_copy_their_time(
    capsys: Captured, tmp_path: Path, first_ends_first: bool
) -> None:
    consoles = [Console(tmp_path / "a"), Console(tmp_path / "b")]
    consoles[0].start()
    print("only a")
    consoles[1].start()
    print("both")
    order = consoles if first_ends_first else consoles[::-1]
    order[0].stop()
    print("the other")
    order[1].stop()
    print("nobody")
    assert (tmp_path / "a").read_text() == "only a\nboth\n" + ("" if first_ends_first else "the other\n")
    assert (tmp_path / "b").read_text() == "both\n" + ("the other\n" if first_ends_first else "")
    assert "write" not in vars(sys.stdout)
    assert capsys.readouterr().out == "only a\nboth\nthe other\nnobody\n"


def test_wrapper_of_somebody_else_below_is_put_back(capsys: Captured, tmp_path: Path) -> None:
    said: list[str] = []
    sys.stdout.write = said.append  # type: ignore[method-assign, assignment]
    before = sys.stdout.write
    with Console(tmp_path / "log"):
        print("x")
    assert sys.stdout.write is before
    assert said == ["x", "\n"]
    assert (tmp_path / "log").read_text() == "x\n"


def test_wrapper_of_somebody_else_above_stays_and_works(capsys: Captured, tmp_path: Path) -> None:
    console = Console(tmp_path / "log")
    console.start()
    ours = sys.stdout.write
    theirs: list[str] = []

    def write(text: str) -> int:
        theirs.append(text)
        return ours(text)

    sys.stdout.write = write  # type: ignore[method-assign, assignment]
    print("during")
    console.stop()
    print("after")
    assert theirs == ["during", "\n", "after", "\n"]
    assert capsys.readouterr().out == "during\nafter\n"
    assert (tmp_path / "log").read_text() == "during\n"


def test_stream_that_takes_no_attributes_is_copied_and_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Narrow:
        __slots__ = ("said",)

        def __init__(self) -> None:
            self.said: list[str] = []

        def write(self, text: str) -> int:
            self.said.append(text)
            return len(text)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return True

    narrow = Narrow()
    monkeypatch.setattr(sys, "stdout", narrow)
    with Console(tmp_path / "log"):
        print("x", flush=True)
        sys.stdout.writelines(["y\n"])
        assert sys.stdout.isatty()
    assert sys.stdout is narrow
    assert "".join(narrow.said) == "x\ny\n"
    assert (tmp_path / "log").read_text() == "x\ny\n"


def test_process_without_streams_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with Console(tmp_path / "log"):
        print("nobody hears")


def test_stream_that_is_both_is_copied_once(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    with Console(tmp_path / "log"):
        print("x", file=sys.stderr)
    assert (tmp_path / "log").read_text() == "x\n"


def test_redirected_output_is_not_copied(capsys: Captured, tmp_path: Path) -> None:
    with Console(tmp_path / "log"):
        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("theirs")
        print("ours")
    assert own.getvalue() == "theirs\n"
    assert (tmp_path / "log").read_text() == "ours\n"


def test_broken_terminal_raises_as_ever_and_is_copied(capsys: Captured, tmp_path: Path) -> None:
    def broken(text: str) -> int:
        raise BrokenPipeError

    sys.stdout.write = broken  # type: ignore[method-assign, assignment]
    with Console(tmp_path / "log"), pytest.raises(BrokenPipeError):
        print("last words")
    assert (tmp_path / "log").read_text() == "last words\n"


# Faults


def test_sink_that_fails_breaks_no_print(capsys: Captured) -> None:
    class Broken:
        def write(self, text: str, /) -> None:
            raise ValueError("no")

    console = Console(Broken())
    with console:
        for number in range(500):
            print(number)
            if number % 200 == 0:
                time.sleep(0.1)
    assert isinstance(console.error, ValueError)
    assert capsys.readouterr().out.count("\n") == 500


def test_folder_that_cannot_be_made_breaks_no_print(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    console = Console(tmp_path / "file/output.log")
    with console:
        print("x")
    assert isinstance(console.error, OSError)
    assert capsys.readouterr().out == "x\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_full_disk_breaks_no_print(capsys: Captured) -> None:
    console = Console(Path("/dev/full"))
    with console:
        print("x")
    assert isinstance(console.error, OSError)
    assert capsys.readouterr().out == "x\n"


def test_output_comes_when_the_disk_takes_it_again(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    output = OutputFile(tmp_path / "folder/log")
    output.write("first\n" * 200)
    output.flush()
    assert output.error is not None
    (tmp_path / "folder").unlink()
    output.write("second\n")
    output.flush()
    assert output.error is None
    assert output.finished_bytes == 101 * len("first\n")
    output.close()
    assert (tmp_path / "folder/log").read_text() == "first\n" * 200 + "second\n"


def test_output_that_a_disk_refuses_for_long_is_counted_not_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    output = OutputFile(tmp_path / "folder/log")
    line = "x" * 999 + "\n"
    for _ in range(5):
        output.write(line * 500)
        output.flush()
    (tmp_path / "folder").unlink()
    output.close()
    text = (tmp_path / "folder/log").read_text()
    assert text.startswith("[")
    assert "bytes of output were lost" in text.splitlines()[0]
    assert len(text) < 1_600_000


SCRIPT = """
import os, pathlib, sys
from lineart.tracking.capture import Console
console = Console(pathlib.Path(sys.argv[1]))
console.start()
print("parent before")
if (child := os.fork()) == 0:
    print("child")
    console.stop()
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print("parent after")
console.stop()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_prints_and_copies_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-c", SCRIPT, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "parent before\nchild\nparent after\n"
    assert (tmp_path / "log").read_text() == "parent before\nparent after\n"


KILLED = """
import pathlib, sys, time
from lineart.tracking.capture import Console
Console(pathlib.Path(sys.argv[1])).start()
print("last words", end="", flush=True)
time.sleep(60)
"""


def test_killed_process_leaves_what_it_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(log)], stdout=subprocess.PIPE) as process:
        wait_until(lambda: log.exists() and log.read_text() == "last words\n")
        process.kill()
    assert log.read_text() == "last words\n"


def test_print_costs_microseconds_more(capsys: Captured, tmp_path: Path) -> None:
    with Console(tmp_path / "log"):
        begun = time.perf_counter()
        for number in range(20_000):
            print(number)
        seconds = time.perf_counter() - begun
    assert seconds < 2  # 40 ms on a quiet machine
    assert (tmp_path / "log").read_text().count("\n") == 20_000
