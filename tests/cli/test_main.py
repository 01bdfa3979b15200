"""Exit statuses, errors, help, and what a process loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from lineart.cli.main import COMMANDS, INTERRUPTED, PIPE_CLOSED, describe, main
from lineart.storage.errors import CommError, ConflictError, InvalidNameError, UsageError

ART = Path(sys.executable).with_name("art")


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """`art` as a process of its own."""
    return subprocess.run([ART, *arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_table_of_commands_says_what_the_commands_say() -> None:
    context = click.Context(main, info_name="art")
    for group in COMMANDS.values():
        for name, (_, text) in group.items():
            command = main.get_command(context, name)
            assert command is not None
            if name != "demo":
                assert (command.help or "").strip().splitlines()[0] == text
            assert command.name == name


CALL = """
import sys
from lineart.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    sys.stderr.write(" ".join(sys.modules))
"""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command loads."""
    call = [sys.executable, "-c", CALL, *arguments]
    return set(subprocess.run(call, capture_output=True, text=True, check=True).stderr.split())


def test_help_loads_no_command() -> None:
    assert not {"lineart.cli.whereis", "lineart.tracking", "lineart.storage"} & loaded_by("--help")


@pytest.mark.on_disk
@pytest.mark.parametrize(
    "arguments", [("--version",), ("cat", "images:v0/labels.csv"), ("get", "images:v0"), ("files", "images")]
)
def test_cheap_commands_load_nothing_heavy(arguments: tuple[str, ...], digits: Path, art) -> None:
    top_level = {name.partition(".")[0] for name in loaded_by(*arguments)}
    assert not top_level & {"duckdb", "fsspec", "networkx", "numpy", "pandas", "rich", "asyncio"}


def test_version_is_printed() -> None:
    assert process("--version").stdout.startswith("art 0.")


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["lss"], 2, "there is no command 'lss'; did you mean \"art ls\"?"),
        (["show"], 2, "Missing argument 'NAME'"),
        (["ls", "--nope"], 2, "No such option '--nope'"),
        (["show", "images:v7"], 1, "artifact 'images' has no v7; its newest version is v1"),
        (["show", "classifier:prodution"], 1, "did you mean 'production'?"),
        (["show", "imagse"], 1, "did you mean 'images'?"),
        (["show", "a/b/c/d"], 2, "expected [[entity/]project/]name[:alias]"),
        (["show", "bad name"], 2, "artifact name 'bad name'"),
        (["-p", "a/b/c", "ls"], 2, "project 'a/b/c'"),
        (["--store", "/nowhere/at/all", "ls"], 1, "there is no store at file:///nowhere/at/all"),
        (["ls", "--store", "nope://x/y"], 2, "nope"),
    ],
)
def test_error_is_one_line_with_its_status(
    arguments: list[str], status: int, message: str, digits: Path, art
) -> None:
    answer = art(*arguments, status=status)
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("art: ")
    assert message in answer.err


@pytest.mark.on_disk
def test_missing_store_tells_who_chose_it(art, tmp_path: Path) -> None:
    assert "(chosen by LINEART_STORE)" in art("ls", status=1).err
    assert 'make one with "art init' in art("ls", status=1).err


@pytest.mark.parametrize(
    "arguments, kind", [(["show", "nope"], "NotFoundError"), (["show", "--x"], "NoSuchOption")]
)
def test_error_is_json_where_json_was_asked_for(arguments: list[str], kind: str, digits: Path, art) -> None:
    answer = art(*arguments, "--json", status=2 if kind == "NoSuchOption" else 1)
    error = json.loads(answer.err)["error"]
    assert error["type"] == kind
    assert error["message"]
    assert answer.out == ""


@pytest.mark.parametrize(
    "error, status",
    [
        (UsageError("x"), 2),
        (InvalidNameError("x"), 2),
        (ConflictError("x"), 1),
        (CommError("x"), 1),
        (PermissionError(13, "Permission denied", "/f"), 1),
        (click.UsageError("x"), 2),
    ],
)
def test_status_follows_from_the_error(error: Exception, status: int) -> None:
    assert describe(error)[1] == status


def test_error_of_ours_asks_for_a_report_and_shows_no_traceback() -> None:
    message, status = describe(KeyError("boo\nhoo"))
    assert status == 1
    assert message.startswith("internal error: KeyError: ")
    assert "\n" not in message


def test_message_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in describe(UsageError("path \x1b[2J"))[0]


@pytest.mark.parametrize("how", ["option", "environment"])
def test_traceback_is_shown_when_asked_for(
    how: str, digits: Path, art, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("LINEART_DEBUG", "1")
    answer = art("show", "nope", *(["--debug"] if how == "option" else []), status=1)
    assert "Traceback" in answer.err
    assert answer.err.rstrip().splitlines()[-1].startswith("art: ")


def test_options_stand_before_or_behind_the_command(digits: Path, art) -> None:
    assert art("-p", "other", "ls").out == art("ls", "-p", "other").out
    assert "scores" in art("-p", "digits", "ls", "-p", "other").out


def test_reader_that_stops_ends_the_writer_quietly(digits: Path, art) -> None:
    query = "SELECT range, repeat('x', 100) FROM range(100000)"
    with subprocess.Popen([ART, "sql", query], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait() == PIPE_CLOSED
        assert child.stderr.read() == b""


def test_interrupt_is_quiet(digits: Path, art) -> None:
    reading = [ART, "put", "-", "-n", "x", "-t", "x"]
    with subprocess.Popen(
        reading,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A job in the background of a shell without job control inherits that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - one thread
    ) as child:
        time.sleep(1.0)  # it has started to wait for its input
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
        assert child.returncode == INTERRUPTED
        assert out == b""
        assert b"Traceback" not in err


def test_output_has_no_colours_in_a_pipe(digits: Path, art) -> None:
    for command in (["ls"], ["show", "classifier"], ["lineage", "classifier"], ["diff", "images:v0", ":v1"]):
        assert "\x1b" not in process(*command).stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_terminal_has_colours_unless_told_otherwise(no_color: str, digits: Path, art) -> None:
    import pty

    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
    controller, terminal = pty.openpty()
    subprocess.run([ART, "ls"], stdout=terminal, env=environment, check=True)
    os.close(terminal)
    assert (b"\x1b[" in os.read(controller, 65536)) is (not no_color)
    os.close(controller)
