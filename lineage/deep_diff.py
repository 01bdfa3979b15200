"""Two versions compared in all that is known of them, and what of it may explain the difference.

Beside what `questions.diff_versions` compares: the contents of tables, packages, environment, code, and the files of
the inputs that changed. What a run has saved is read through two functions, so that this knows nothing of runs' files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts.diff import Change, ManifestDiff
from ..artifacts.history import parse_full, split_external
from ..artifacts.stored_diff import diff_stored
from ..artifacts.version import Version
from ..storage.errors import Error, NotFoundError
from .catalog import Catalog
from .code_diff import CodeDiff, Paths, Text, diff_code
from .data_summary import TableChange, compare_tables, reader_of
from .questions import VersionDiff, Why, changed_keys, diff_versions, why

REQUIREMENTS = "requirements.txt"
TABLE_LIMIT_BYTES = 256 * 1024 * 1024  # of one side of one file
TABLES_LIMIT_BYTES = 1024 * 1024 * 1024  # of all that is fetched
TABLES_LIMIT = 20
_MACHINE = ("python", "executable", "platform", "host", "cpu_count", "memory_bytes", "gpus", "launchers")


@dataclass(frozen=True, slots=True)
class InputDiff:
    """An input that is another version, was added (`before` None) or removed; `files` where both can be compared."""

    before: str | None
    after: str | None
    role: str | None
    files: ManifestDiff | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One thing that may explain the difference."""

    kind: str  # inputs, config, code, command, packages, environment, unknown
    text: str


@dataclass(frozen=True, slots=True)
class DeepDiff:
    """All that differs; `left_out` says what was not looked at, and why."""

    made: VersionDiff
    tables: tuple[TableChange, ...]
    inputs: tuple[InputDiff, ...]
    packages: dict[str, tuple[str | None, str | None]]
    environment: dict[str, tuple[Any, Any]]
    code: CodeDiff
    explanations: tuple[Explanation, ...]
    left_out: tuple[str, ...]


def diff_deeply(
    catalog: Catalog,
    before: Version,
    after: Version,
    *,
    versions: Any,
    paths: Paths,
    text: Text,
    repository: Path | None = None,
) -> DeepDiff:
    """Compare two versions in all that is known of them.

    `versions` gives the version with a name; `paths` and `text` read what a run has saved; `repository` is a folder
    in a git repository that may have the commits.
    Raises: NotFoundError, IntegrityError, CommError.
    """
    made = diff_versions(catalog, before, after)
    left, right = why(catalog, str(before.name)), why(catalog, str(after.name))
    left_out: list[str] = []
    tables = tuple(_tables(before, after, made.files.changes, left_out))
    inputs = tuple(_inputs(left, right, versions, left_out))
    packages = changed_keys(_packages(left, paths, text), _packages(right, paths, text))
    facts = [
        {key: side.run.capture.get(key) for key in _MACHINE} if side.run else {} for side in (left, right)
    ]
    sides = [(side.run.run_id, side.run.capture) if side.run else None for side in (left, right)]
    code = diff_code(sides[0], sides[1], paths=paths, text=text, repository=repository)
    environment = changed_keys(*facts)
    found = DeepDiff(made, tables, inputs, packages, environment, code, (), tuple(left_out))
    explanations = _explanations(found, (left, right)) if made.files.changes else ()
    return DeepDiff(made, tables, inputs, packages, environment, code, tuple(explanations), tuple(left_out))


# Tables


def _tables(
    before: Version, after: Version, changes: Sequence[Change], left_out: list[str]
) -> list[TableChange]:
    """The changed files that hold tables, the smallest first, as many as the limits allow."""
    wanted = [
        change
        for change in changes
        if change.what == "changed" and reader_of(change.path) is not None and _has_bytes(change)
    ]
    found: list[TableChange] = []
    fetched = 0
    with tempfile.TemporaryDirectory(prefix="lineart-diff-") as folder:
        for change in sorted(wanted, key=_bytes_of):
            size = _bytes_of(change)
            if len(found) == TABLES_LIMIT:
                left_out.append(f"table {change.path}: only the {TABLES_LIMIT} smallest are compared")
            elif size > 2 * TABLE_LIMIT_BYTES or fetched + size > TABLES_LIMIT_BYTES:
                left_out.append(f"table {change.path}: too large to compare ({size:,} bytes on both sides)")
            else:
                fetched += size
                found += _table(before, after, change, Path(folder), left_out)
    return sorted(found, key=lambda table: table.path)


def _has_bytes(change: Change) -> bool:
    return all(entry is not None and entry.digest is not None for entry in (change.before, change.after))


def _bytes_of(change: Change) -> int:
    return sum((entry.size_bytes or 0) for entry in (change.before, change.after) if entry is not None)


def _table(
    before: Version, after: Version, change: Change, folder: Path, left_out: list[str]
) -> list[TableChange]:
    import duckdb

    suffix = "".join(Path(change.path).suffixes[-2:])
    files = []
    for side, version in (("before", before), ("after", after)):
        file = folder / f"{side}{suffix}"
        with version.open(change.path) as source, file.open("wb") as written:
            shutil.copyfileobj(source, written, 1 << 18)
        files.append(file)
    try:
        found = compare_tables(change.path, *files)
    except duckdb.Error as error:
        reason = _cause(str(error))
        for file in files:
            reason = reason.replace(str(file), f"{file.stem.partition('.')[0]}: {change.path}")
        left_out.append(f"table {change.path}: it cannot be read as one ({reason[:300]})")
        return []
    left_out += [f"table {change.path}: {text}" for text in found.left_out]
    return [found]


def _cause(message: str) -> str:
    """What DuckDB says happened: not the line that it read, nor what could be done, nor how the file was read."""
    lines = message.strip().partition("\n\n")[0].partition("\nPossible ")[0].splitlines()
    return "; ".join(line.strip() for line in lines if not line.startswith("Original Line:"))


# Inputs


def _inputs(left: Why, right: Why, versions: Any, left_out: list[str]) -> list[InputDiff]:
    """Inputs that differ, paired by collection and role, else by collection."""
    old = [pair for pair in left.inputs if pair not in right.inputs]
    new = [pair for pair in right.inputs if pair not in left.inputs]
    found = []
    for name, role in old:
        same = [pair for pair in new if _collection(pair[0]) == _collection(name)]
        partner = next((pair for pair in same if pair[1] == role), same[0] if same else None)
        if partner is None:
            found.append(InputDiff(name, None, role))
            continue
        new.remove(partner)
        found.append(InputDiff(name, partner[0], partner[1], _files(name, partner[0], versions, left_out)))
    return [*found, *(InputDiff(None, name, role) for name, role in new)]


def _collection(name: str) -> str:
    return name.rpartition(":")[0]


def _files(before: str, after: str, versions: Any, left_out: list[str]) -> ManifestDiff | None:
    if before == after:
        return None
    try:
        if any(split_external(name)[0] is not None for name in (before, after)):
            raise NotFoundError("one of them lies in another store")
        return diff_stored(versions(parse_full(before)), versions(parse_full(after)))
    except Error as error:  # a deleted version whose content was collected
        left_out.append(f"input {before} → {after}: its files cannot be compared ({error})")
        return None


# Packages


def _packages(side: Why, paths: Paths, text: Text) -> dict[str, str]:
    """Version by name; a line that is no ``name==version`` by its name."""
    if side.run is None or REQUIREMENTS not in paths(side.run.run_id):
        return {}
    found = {}
    for line in text(side.run.run_id, REQUIREMENTS).splitlines():
        plain = line.partition("  # ")[2] if line.startswith("-e ") else line
        for separator in ("==", " @ "):
            name, is_there, version = plain.partition(separator)
            if is_there:
                found[name] = version
                break
    return found


# What may explain it


def _explanations(found: DeepDiff, sides: tuple[Why, Why]) -> list[Explanation]:
    """What changed, the nearest cause first: what went in, how it was set, what was run, and in what."""
    said = [Explanation("inputs", input_words(diff)) for diff in found.inputs]
    said += [
        Explanation("config", f"{key}: {_value(a)} → {_value(b)}")
        for key, (a, b) in found.made.config.items()
    ]
    commit = found.made.code.get("commit")
    if found.code.saved:
        said.append(Explanation("code", f"the saved code: {_lines(found.code.saved)}"))
    elif commit is not None and (found.code.commits or not found.code.is_whole):
        words = f": {_lines(found.code.commits)}" if found.code.commits else ""
        said.append(Explanation("code", f"commit {_short(commit[0])} → {_short(commit[1])}{words}"))
    if found.code.uncommitted:
        said.append(Explanation("code", f"changes that were not committed: {_lines(found.code.uncommitted)}"))
    if "command" in found.made.code:
        said.append(Explanation("command", "the command line"))
    if found.packages:
        first = ", ".join(
            f"{name} {a or 'none'} → {b or 'none'}" for name, (a, b) in list(found.packages.items())[:3]
        )
        more = f" and {len(found.packages) - 3} more" if len(found.packages) > 3 else ""
        said.append(Explanation("packages", f"{first}{more}"))
    for key in ("python", "gpus", "platform", "host"):
        if key in found.environment:
            before, after = found.environment[key]
            said.append(Explanation("environment", f"{key}: {_value(before)} → {_value(after)}"))
    alone = [side for side in sides if side.run is None]
    for side in alone[:1]:
        said.append(Explanation("unknown", f"one side {side.unknown}: what made it is not recorded"))
    if not alone and not said:
        said.append(Explanation("unknown", "nothing that is recorded differs: chance, order or time may"))
    return said


def input_words(diff: InputDiff) -> str:
    """An input that changed, in words."""
    role = f" as {diff.role}" if diff.role else ""
    if diff.before is None or diff.after is None:
        name, verb = (diff.after, "added") if diff.before is None else (diff.before, "removed")
        return f"{name}{role} {verb}"
    short = diff.after.rpartition(":")[2]
    if diff.before == diff.after:
        return f"{diff.after}: used{role} now"
    count = None if diff.files is None else len(diff.files.changes)
    files = "" if count is None else f": {count:,} file{'' if count == 1 else 's'}"
    return f"{diff.before} → {short}{role}{files}"


def _lines(text: str) -> str:
    rows = text.splitlines()
    added = sum(row.startswith("+") and not row.startswith("+++") for row in rows)
    removed = sum(row.startswith("-") and not row.startswith("---") for row in rows)
    return f"{added:,} lines added, {removed:,} removed"


def _short(commit: str | None) -> str:
    return "none" if commit is None else commit[:12]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        if set(value) == {"_float"}:  # as the log has what JSON cannot say
            return str(value["_float"])
        return ", ".join(f"{key} {part}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "(none)" if value is None else str(value)
