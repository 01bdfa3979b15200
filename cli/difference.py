"""`art diff`: what changed between two versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import Cell, counted, printable, say, say_facts, say_json, size_words, value_text

if TYPE_CHECKING:
    from ..artifacts.diff import ManifestDiff
    from ..artifacts.version import Version
    from ..lineage import VersionDiff
    from ..lineage.deep_diff import DeepDiff
    from ..tracking.workspace import Workspace

_SIGNS = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
    "moved": (">", "cyan"),
}
_SECTIONS = ("metadata", "config", "code", "summary")


@click.command()
@click.argument("before", metavar="A", shell_complete=complete_names)
@click.argument("after", metavar="B", shell_complete=complete_names)
@click.option("--files-only", is_flag=True, help="Only files, not how the versions were made.")
@click.option("--stat", is_flag=True, help="Only the last line: how many files changed.")
@click.option(
    "--deep", is_flag=True, help="Also tables, packages, environment, code, and what may explain it."
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 when anything differs, as diff does.")
@json_option
@common_options
@click.pass_context
def diff(
    ctx: click.Context,
    before: str,
    after: str,
    files_only: bool,
    stat: bool,
    deep: bool,
    exit_code: bool,
    as_json: bool,
) -> int:
    """Show what changed between two versions: files, config, code, results.

    B may be short for another version of the same artifact: :v4 or :latest. Config, code and results are those of
    the runs that made the versions. A file that only moved is marked with ">".

    --deep also compares what is in tables (CSV, TSV, Parquet, JSON lines), the files of inputs, packages, machines and
    the code itself (by git in a repository that has the commits, else what the runs have saved), and lists what may
    explain the difference, the nearest cause first.

    With --json: before, after, files (a list of path, what, before_path, before_bytes, after_bytes, before_digest,
    after_digest), unchanged, changed_bytes; and metadata, config, code, summary (key: [before, after]),
    inputs (removed, added). With --deep also tables, input_changes (before, after, role, files), packages and
    environment (key: [before, after]), code_diff (commits, uncommitted, saved, notes, is_whole), explanations (kind,
    text), left_out.

    \b
    art diff classifier:v3 classifier:v4
    art diff images:v1 :latest --stat
    art diff classifier:v3 classifier:v4 --deep
    """
    from ..storage.errors import UsageError

    if deep and (files_only or stat):
        raise UsageError("--deep compares all; leave out --files-only and --stat")
    workspace = open_workspace()
    left = workspace.version(before)
    right = workspace.version(before.partition(":")[0] + after if after.startswith(":") else after)
    found = _compare_deeply(workspace, left, right) if deep else None
    files, made = (
        (found.made.files, found.made) if found else _compare(workspace, left, right, files_only or stat)
    )
    if as_json:
        say_json(_record(left, right, files, made) | _deep_record(found))
    else:
        if not stat:
            say_files(files)
            if made is not None:
                _say_made(made, str(left.project))
            if found is not None:
                from .deep_difference import say_deep

                say_deep(found, str(left.project))
        say(_summary(files))
    differs = bool(files.changes) or (made is not None and bool(_made_record(made)))
    return 1 if exit_code and differs else 0


def _compare_deeply(workspace: Workspace, left: Version, right: Version) -> DeepDiff:
    from ..tracking.deep_difference import compare_deeply

    return compare_deeply(workspace, left, right, repository=Path.cwd())


def _deep_record(found: DeepDiff | None) -> dict[str, Any]:
    from .deep_difference import deep_record

    return {} if found is None else deep_record(found)


def _compare(
    workspace: Workspace, left: Version, right: Version, files_only: bool
) -> tuple[ManifestDiff, VersionDiff | None]:
    from ..artifacts.stored_diff import diff_stored
    from ..lineage import diff_versions

    if files_only:
        return diff_stored(left, right), None
    catalog = workspace.catalog()
    try:
        found = diff_versions(catalog, left, right)
    finally:
        catalog.close()
    return found.files, found


def _record(left: Version, right: Version, files: ManifestDiff, made: VersionDiff | None) -> dict[str, Any]:
    changes = change_records(files)
    record: dict[str, Any] = {"before": str(left.name), "after": str(right.name), "files": changes}
    record |= {"unchanged": files.unchanged, "changed_bytes": files.changed_bytes}
    if made is not None:
        record |= {section: getattr(made, section) for section in _SECTIONS}
        record["inputs"] = {"removed": made.inputs[0], "added": made.inputs[1]}
    return record


def change_records(files: ManifestDiff) -> list[dict[str, Any]]:
    """The changes as the JSON of `art diff` has them."""
    return [
        {
            "path": change.path,
            "what": change.what,
            "before_path": change.before.path if change.before else None,
            "before_bytes": change.before.size_bytes if change.before else None,
            "after_bytes": change.after.size_bytes if change.after else None,
            "before_digest": change.before.digest if change.before else None,
            "after_digest": change.after.digest if change.after else None,
        }
        for change in files.changes
    ]


def _made_record(made: VersionDiff) -> dict[str, Any]:
    """The sections in which something differs."""
    found: dict[str, Any] = {name: getattr(made, name) for name in _SECTIONS if getattr(made, name)}
    return found | ({"inputs": made.inputs} if any(made.inputs) else {})


def say_files(files: ManifestDiff) -> None:
    """A line for each file that changed."""
    for change in files.changes:
        sign, colour = _SIGNS[change.what]
        before = (change.before.size_bytes or 0) if change.before else 0
        after = (change.after.size_bytes or 0) if change.after else 0
        match change.what:
            case "moved" if change.before:
                words = f"from {printable(change.before.path)}"
            case "changed" if before != after:
                words = f"{size_words(before)} → {size_words(after)}"
            case _:
                words = size_words(before if change.what == "removed" else after)
        shown = click.style(f"{sign} {printable(change.path)}", fg=colour)
        say(f"{shown}  {click.style(words, dim=True)}")


def _say_made(made: VersionDiff, home: str) -> None:
    for section in _SECTIONS:
        changed: Mapping[str, tuple[Any, Any]] = getattr(made, section)
        if changed:
            say(click.style(section, bold=True))
            say_facts([(printable(key), change_cell(*pair)) for key, pair in changed.items()], indent="  ")
    removed, added = made.inputs
    if removed or added:
        say(click.style("inputs", bold=True))
        for sign, colour, names in (("-", "red", removed), ("+", "green", added)):
            for name in names:
                say("  " + click.style(f"{sign} {name.removeprefix(home + '/')}", fg=colour))


def change_cell(before: Any, after: Any) -> Cell:
    """A value before and after, None where there is none."""
    shown = ["(none)" if value is None else _words(value) for value in (before, after)]
    if shown[0] == shown[1]:
        shown = [
            printable(repr(value)) for value in (before, after)
        ]  # they differ behind the sixth digit, or in type
    return Cell(" → ".join(shown))


def _words(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return printable(" ".join(value))  # a command line
    return value_text(value)


def _summary(files: ManifestDiff) -> str:
    if not files.changes:
        return f"no file differs; {counted(files.unchanged, 'file')} the same"
    counts = Counter(change.what for change in files.changes)
    words = [f"{counts[what]:,} {what}" for what in _SIGNS if counts[what]]
    return f"{', '.join(words)}, {files.unchanged:,} unchanged; {size_words(files.changed_bytes)} new"
