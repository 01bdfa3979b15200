"""`art verify`: everything read again and compared with what was recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import Cell, counted, note, printable, say, say_json, size_words
from .progress import Advance, progress
from .whereis import live_versions

if TYPE_CHECKING:
    from ..artifacts.names import ProjectName
    from ..artifacts.version import Version
    from ..storage.errors import Error
    from ..storage.store import Store
    from ..tracking.workspace import Workspace

_OBJECT = re.compile(r"object ([0-9a-f]{12})")
_SHOWN_PATHS = 3


@dataclass(slots=True)
class Findings:
    """What was looked at and what is wrong."""

    versions: int = 0
    runs: int = 0  # that have left files
    objects: int = 0
    read_bytes: int = 0
    transactions: int = 0
    packs: int = 0  # read whole, because they hold what no version needs
    problems: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, error: Error, affects: list[dict[str, str]]) -> None:
        """Note a problem."""
        self.problems.append(
            {"kind": kind, "type": type(error).__name__, "message": str(error), "affects": affects}
        )


@click.command()
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("--all", "everything", is_flag=True, help="All projects, and what no version needs (any more).")
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="Compare this folder with NAME instead."
)
@json_option
@common_options
def verify(name: str | None, everything: bool, root: str | None, as_json: bool) -> int:
    """Read every byte again and compare it with what was recorded.

    Without NAME all live versions of the project and the files of its runs are verified; what several of them share is
    read once. The project's log is read from its start, too: each transaction must follow from the one before. The exit
    status is 1 when anything is damaged or missing; each problem is one line that names the files it concerns.

    With --json: ok, versions, runs, objects, bytes, transactions, packs, problems (a list of kind, type, message,
    affects: a list of name, path).

    \b
    art verify classifier:production
    art verify --all
    art verify images:v3 --root ./images
    """
    if name and everything:
        raise click.UsageError("NAME and --all: choose one")
    if root is not None and not name:
        raise click.UsageError("--root needs the NAME of the version that lies there")
    workspace = open_workspace()
    findings = Findings()
    if root is not None:
        version = workspace.version(name or "")
        findings.versions = 1
        for error in version.verify_files(Path(root)):
            findings.add("file", error, [])
    else:
        _verify_store(workspace, name, everything, findings)
    if as_json:
        say_json(_record(findings))
    else:
        _say_findings(findings, root)
    return 1 if findings.problems else 0


def _verify_store(workspace: Workspace, name: str | None, everything: bool, findings: Findings) -> None:
    if name:
        versions = [workspace.version(name)]
        projects = []
    else:
        projects = workspace.project_names() if everything else [workspace.project_name]
        versions = [version for project in projects for version in live_versions(workspace, project)]
    left_by_runs = [version for project in projects for version in _verify_log(workspace, project, findings)]
    size_bytes = versions[0].state.size_bytes if len(versions) == 1 else None
    with progress("verifying", lambda: size_bytes) as advance:

        def count(read_bytes: int) -> None:
            findings.read_bytes += read_bytes
            advance(read_bytes)

        seen = _verify_versions([*versions, *left_by_runs], findings, count)
        findings.runs = len({version.collection for version in left_by_runs})
        findings.versions -= len(left_by_runs)
        versions = [*versions, *left_by_runs]
        if everything:
            _verify_other_packs(workspace.store, versions, seen, findings, count)


def _verify_log(workspace: Workspace, project: ProjectName, findings: Findings) -> list[Version]:
    """Read the log from its start; what its runs have left, as versions."""
    from ..storage.errors import Error
    from ..storage.log import Position
    from ..tracking.run_files import files_version

    left: list[Version] = []
    try:
        for entry in workspace.project(project).log.read_after(Position()):
            findings.transactions += 1
            for op in entry.transaction.ops:
                if op.get("files") and str(op.get("op")).startswith("run."):
                    left += [files_version(workspace.store, project, str(op["run"]), op["files"])]
    except Error as error:
        findings.add("log", error, [])
    return left


def _verify_versions(versions: list[Version], findings: Findings, advance: Advance) -> set[bytes]:
    """Each object of `versions` once; their digests."""
    from ..storage.digest import parse_hex
    from ..storage.errors import Error

    seen: set[bytes] = set()
    for version in versions:
        findings.versions += 1
        try:
            manifest, packs = version.manifest, version.packs
        except Error as error:
            findings.add("manifest", error, [{"name": str(version.name), "path": ""}])
            continue
        digests = {parse_hex(entry.digest) for entry in manifest.values() if entry.digest is not None} - seen
        seen |= digests
        findings.objects += len(digests)
        for damage in version.store.restorer(packs, advance).check(digests):
            findings.add("object", damage, list(_affected(versions, version, damage)))
        version.__dict__.pop("manifest", None)  # of a million files in each of a thousand versions
    return seen


def _affected(versions: Iterable[Version], found_in: Version, error: Error) -> Iterator[dict[str, str]]:
    """The files that the object in a message is, or is a piece of."""
    from ..lineage import whereis

    match = _OBJECT.search(str(error))
    digests = _files_with(found_in, match.group(1)) if match else []
    for digest in digests:
        for version, paths in whereis(found_in.store, versions, digest):
            yield from ({"name": str(version.name), "path": path} for path in paths)


def _files_with(version: Version, short: str) -> list[str]:
    """Digests of the files of a version that are the object, or that have it as a chunk."""
    from ..storage.codec import Codec
    from ..storage.digest import parse_hex
    from ..storage.errors import Error

    digests = {entry.digest for entry in version.manifest.values() if entry.digest is not None}
    exact = sorted(digest for digest in digests if digest.startswith(short))
    if exact:
        return exact
    objects, found = version.store.objects, []
    for digest in sorted(digests):
        try:
            location = objects.locate([parse_hex(digest)], version.packs)[parse_hex(digest)]
            if location.codec == Codec.CHUNKS:
                pieces = objects.chunks(parse_hex(digest), location)
                if any(piece.hex().startswith(short) for piece, _ in pieces):
                    found.append(digest)
        except Error:
            continue  # a problem of its own, which has a line of its own
    return found


def _verify_other_packs(
    store: Store, versions: Iterable[Version], seen: set[bytes], findings: Findings, advance: Advance
) -> None:
    """Read whole what holds more than the objects that were verified: a later version may find its bytes there."""
    from ..storage.digest import digest_of, parse_hex
    from ..storage.errors import Error, IntegrityError
    from ..storage.objects import PackGone
    from ..storage.pack import may_be_salt, pack_key
    from .setup import pack_sizes

    verified = _objects_in_packs(store, {parse_hex(version.state.digest) for version in versions} | seen)
    for name in sorted(pack_sizes(store)):
        pack = bytes.fromhex(name)
        try:
            objects = store.objects.read_trailer(pack)[1]
            if len(objects) == verified[pack] + (verified[pack] > 0 and may_be_salt(objects)):
                continue
            findings.packs += 1
            data = store.backend.read(pack_key(pack))
            advance(len(data))
            if digest_of(data) != pack:
                raise IntegrityError(
                    f"pack {name[:12]}: its bytes hash to another digest; what is damaged is in no version"
                )
        except PackGone:
            continue  # collected meanwhile
        except Error as error:
            findings.add("pack", error, [])


def _objects_in_packs(store: Store, digests: set[bytes]) -> Counter[bytes]:
    """How many objects of each pack `digests` and their chunks are."""
    from ..storage.codec import Codec
    from ..storage.errors import Error

    count: Counter[bytes] = Counter()
    pieces: set[bytes] = set()
    for digest, at in store.objects.find(digests).items():
        count[at.pack] += 1
        if at.codec == Codec.CHUNKS:
            try:
                pieces |= {piece for piece, _ in store.objects.chunks(digest, at)}
            except Error:
                count[at.pack] -= 1  # the pack will be read whole
    count.update(at.pack for at in store.objects.find(pieces - digests).values())
    return count


def _record(findings: Findings) -> dict[str, Any]:
    return {
        "ok": not findings.problems,
        "versions": findings.versions,
        "runs": findings.runs,
        "objects": findings.objects,
        "bytes": findings.read_bytes,
        "transactions": findings.transactions,
        "packs": findings.packs,
        "problems": findings.problems,
    }


def _say_findings(findings: Findings, root: str | None) -> None:
    for problem in findings.problems:
        where = [f"{file['name']} {file['path']}".rstrip() for file in problem["affects"]]
        more = f" and {len(where) - _SHOWN_PATHS} more" if len(where) > _SHOWN_PATHS else ""
        names = f"{', '.join(where[:_SHOWN_PATHS])}{more}: " if where else ""
        say(f"{Cell('damaged', fg='red').painted()}  {printable(names + problem['message'])}")
    if root is not None:
        words = f"{printable(root)} compared"
    else:
        words = f"{counted(findings.versions, 'version')}, {counted(findings.objects, 'object')}"
        words += f", files of {counted(findings.runs, 'run')}" if findings.runs else ""
        words += f", {size_words(findings.read_bytes)} read"
        if findings.transactions:
            words += f", {counted(findings.transactions, 'transaction')}"
        if findings.packs:
            words += f", {counted(findings.packs, 'pack')} read whole"
    if findings.problems:
        verdict = Cell(counted(len(findings.problems), "problem"), fg="red", bold=True)
    else:
        verdict = Cell("ok", fg="green", bold=True)
    say(f"{verdict.painted()}: {words}")
    if findings.problems and root is None:
        note("the files that are not named are whole; restore the packs that are from a copy of the store")
