"""`art run show`, `art run diff` and `art run tail`: one run, or two."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from .completion import complete_runs
from .options import common_options, json_option, open_workspace
from .output import (
    Cell,
    age,
    counted,
    note,
    printable,
    say,
    say_facts,
    say_json,
    size_words,
    value_text,
    when,
)
from .run_names import STATES, find_run, length_words, run_record
from .untracked import found_in, untracked_facts, untracked_record

if TYPE_CHECKING:
    from ..tracking.api_files import RunFile
    from ..tracking.api_run import ApiRun
    from ..tracking.workspace import Workspace

OUTPUT = "output.log"
_PACKAGES = "requirements.txt"
_MOST_FILES = 20
_POLL_S = 0.5
_BLOCK = 1 << 16
_GIT = ("commit", "branch", "remote", "dirty")


@click.command()
@click.argument("name", metavar="RUN", shell_complete=complete_runs)
@json_option
@common_options
def show(name: str, as_json: bool) -> None:
    """Show all about one run.

    Its config, results, code, command, artifacts, files, and the traceback of what ended it.

    With --json: the keys of "art run ls", and error (a traceback), metadata (what was captured), used and logged (lists
    of name, role), untracked (a list of uri, size_bytes, digest, found_in: what it read and did not declare; null when
    that was not observed), untracked_omitted, files (a list of path, size_bytes).

    \b
    art run show 3f9a1c20
    art run show sunny-river-12 --json
    """
    workspace = open_workspace()
    found = find_run(workspace, name)
    edges, inputs = _edges(workspace, found), found.untracked_inputs
    known = found_in(workspace, inputs)
    record: dict[str, Any] = {
        **run_record(found),
        "error": found.error,
        "metadata": found.metadata,
        **edges,
        **untracked_record(inputs, known),
        "files": [{"path": file.name, "size_bytes": file.size} for file in found.files()],
    }
    if as_json:
        say_json(record)
    else:
        _say_run(record, untracked_facts(inputs, known, f"{record['project']}/"))


def _edges(workspace: Workspace, found: ApiRun) -> dict[str, list[dict[str, Any]]]:
    from ..artifacts.names import ProjectName

    catalog = workspace.catalog([ProjectName(found.entity, found.project)])
    try:
        query = "SELECT kind, version_id, role FROM edges WHERE run_id = ? ORDER BY position"
        rows = catalog.rows(query, [found.qualified_name])
    finally:
        catalog.close()
    return {
        title: [{"name": name, "role": role} for k, name, role in rows if k == kind]
        for title, kind in (("used", "used"), ("logged", "produced"))
    }


def _say_run(record: Mapping[str, Any], untracked: Sequence[tuple[str, str | Cell]]) -> None:
    state = click.style(record["state"], fg=STATES.get(record["state"]))
    title = click.style(record["id"], fg="cyan", bold=True)
    say(f"{title}  {printable(record['name'])}  {state}  {record['project']}")
    facts: list[tuple[str, str | Cell]] = [
        ("started", f"{when(record['created_at'])} ({age(record['created_at'])} ago) by {record['user']}")
    ]
    if record["duration_s"] is not None:
        facts.append(("took", length_words(record["duration_s"])))
    if record["exit_code"]:
        facts.append(("exit code", str(record["exit_code"])))
    facts += [
        (key.replace("_", " "), printable(record[key]))
        for key in ("group", "job_type", "notes")
        if record[key]
    ]
    if record["tags"]:
        facts.append(("tags", ", ".join(record["tags"])))
    facts += _origin(record["metadata"], record["host"])
    home = record["project"]
    for title, key in (("used", "used"), ("logged", "logged")):
        facts += [
            (title, edge["name"].removeprefix(f"{home}/") + (f" as {edge['role']}" if edge["role"] else ""))
            for edge in record[key]
        ]
    facts += untracked
    files = record["files"]
    facts += [
        ("files", f"{printable(f['path'])} ({size_words(f['size_bytes'])})") for f in files[:_MOST_FILES]
    ]
    if len(files) > _MOST_FILES:
        facts.append(("files", f"… and {len(files) - _MOST_FILES} more"))
    say_facts(facts, indent="  ")
    for section in ("config", "summary"):
        values = flat(record[section])
        if values:
            say(click.style(section, bold=True))
            say_facts([(printable(key), value_text(value)) for key, value in values.items()], indent="  ")
    if record["error"]:
        say(click.style("error", bold=True))
        for line in record["error"].rstrip().splitlines():
            say(f"  {printable(line.expandtabs())}")


def _origin(captured: Mapping[str, Any], host: str | None) -> list[tuple[str, str | Cell]]:
    facts: list[tuple[str, str | Cell]] = []
    command = captured.get("command")
    if command:
        words = command if isinstance(command, list) else [str(command)]
        facts.append(("command", printable(" ".join(map(str, words)))))
    if captured.get("folder"):
        facts.append(("folder", printable(str(captured["folder"]))))
    git = captured.get("git") or {}
    if git.get("commit"):
        words = [str(git["commit"])[:12], *([f"on {git['branch']}"] if git.get("branch") else [])]
        facts.append(("git", printable(" ".join(words) + (", with changes" if git.get("dirty") else ""))))
    if captured.get("python"):
        facts.append(("python", printable(str(captured["python"]))))
    return [*facts, ("host", printable(host or str(captured.get("host") or "-")))]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, names joined with dots; numbers that JSON does not have stay whole.

    >>> flat({"a": {"b": 1, "c": {}}, "d": {"_float": "nan"}})
    {'a.b': 1, 'a.c': {}, 'd': {'_float': 'nan'}}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and not any(str(name).startswith("_") for name in value):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


@click.command()
@click.argument("before", metavar="A", shell_complete=complete_runs)
@click.argument("after", metavar="B", shell_complete=complete_runs)
@click.option("--exit-code", is_flag=True, help="Exit with 1 when anything differs, as diff does.")
@json_option
@common_options
def diff(before: str, after: str, exit_code: bool, as_json: bool) -> int:
    """Show what differs between two runs.

    In config, results, code, command, packages and the artifacts used.

    With --json: before, after (ids with their projects), config, summary, code, packages (key: [before, after]),
    inputs (removed, added).

    \b
    art run diff 3f9a1c20 8be0d7aa
    art run diff sunny-river-12 other/digits/8be0d7aa --json
    """
    from ..lineage.questions import changed_keys

    workspace = open_workspace()
    left, right = find_run(workspace, before), find_run(workspace, after)
    sections = {
        "config": changed_keys(flat(left.document()["config"]), flat(right.document()["config"])),
        "summary": changed_keys(flat(left.document()["summary"]), flat(right.document()["summary"])),
        "code": changed_keys(_code(left), _code(right)),
        "packages": changed_keys(_packages(left), _packages(right)),
    }
    used = [{edge["name"] for edge in _edges(workspace, found)["used"]} for found in (left, right)]
    removed, added = sorted(used[0] - used[1]), sorted(used[1] - used[0])
    if as_json:
        names = {"before": left.qualified_name, "after": right.qualified_name}
        say_json({**names, **sections, "inputs": {"removed": removed, "added": added}})
    else:
        _say_changes(sections, removed, added)
    differs = any(sections.values()) or bool(removed or added)
    return 1 if exit_code and differs else 0


def _say_changes(
    sections: Mapping[str, Mapping[str, tuple[Any, Any]]], removed: list[str], added: list[str]
) -> None:
    from .difference import change_cell

    for section, changed in sections.items():
        if changed:
            say(click.style(section, bold=True))
            say_facts([(printable(key), change_cell(*pair)) for key, pair in changed.items()], indent="  ")
    if removed or added:
        say(click.style("inputs", bold=True))
        for sign, colour, names in (("-", "red", removed), ("+", "green", added)):
            for name in names:
                say("  " + click.style(f"{sign} {name}", fg=colour))
    if not (any(sections.values()) or removed or added):
        say("no difference in config, results, code, packages and inputs")


def _code(found: ApiRun) -> dict[str, Any]:
    captured = found.metadata
    git = captured.get("git") or {}
    values = {**{key: git.get(key) for key in _GIT}, "command": captured.get("command")}
    values |= {key: captured.get(key) for key in ("python", "platform")}
    return {key: value for key, value in values.items() if value is not None}


def _packages(found: ApiRun) -> dict[str, Any]:
    """Name → version: what was captured, in the log or in a file of the run."""
    captured = found.metadata.get("packages")
    if isinstance(captured, Mapping):
        return dict(captured)
    lines = captured if isinstance(captured, list) else _lines_of(found, _PACKAGES)
    pairs = (str(line).partition("==") for line in lines)
    return {name.strip(): version.strip() for name, sign, version in pairs if sign}


def _lines_of(found: ApiRun, path: str) -> list[str]:
    for file in found.files(names=[path]):
        with file.open() as stream:
            return bytes(stream.read()).decode(errors="replace").splitlines()
    return []


@click.command()
@click.argument("name", metavar="RUN", shell_complete=complete_runs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option(
    "-n", "--lines", default=20, show_default=True, type=click.IntRange(min=0), help="How many lines."
)
@common_options
def tail(name: str, follow: bool, lines: int) -> None:
    """Write the end of a run's console output.

    Of a run on another machine whose store is remote there is output when it has ended.

    \b
    art run tail 3f9a1c20 -n 100
    art run tail 3f9a1c20 -f
    """
    from ..storage.errors import NotFoundError

    found = find_run(open_workspace(), name)
    file = _output(found)
    if file is None and not (follow and found.state == "running"):
        raise NotFoundError(
            f"run {found.qualified_name} has no console output; it was switched off, or not yet sent"
        )
    at = 0
    if file is not None:
        with file.open() as stream:
            at = _start_of(stream, lines)
            at = _copy(stream, at)
    while follow:
        is_over = found.load().state != "running"  # first: what was written before the end is read after it
        file = _output(found)
        if file is not None:
            with file.open() as stream:
                at = _copy(stream, at)
        if is_over:
            note(f"run {found.qualified_name} {found.state} ({counted(at, 'byte')} of output)")
            return
        time.sleep(_POLL_S)


def _output(found: ApiRun) -> RunFile | None:
    files = found.files(names=[OUTPUT])
    return files[0] if files else None


def _start_of(stream: IO[bytes], lines: int) -> int:
    """Where the last `lines` lines begin."""
    end = stream.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    at, seen = end, 0
    while at > 0:
        size = min(_BLOCK, at)
        at -= size
        stream.seek(at)
        block = stream.read(size)
        search = (
            len(block) - 1 if at + size == end else len(block)
        )  # the newline at the very end ends no line before
        while (found := block.rfind(b"\n", 0, search)) >= 0:
            seen += 1
            if seen == lines:
                return at + found + 1
            search = found
    return 0


def _copy(stream: IO[bytes], at: int) -> int:
    """Write what comes behind `at`; where it ends now. A file that was made shorter is written from its start."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(at if at <= end else 0)
    while block := stream.read(_BLOCK):
        click.echo(block, nl=False)
    return stream.tell()
