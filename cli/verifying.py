"""`art verify`: everything read again and compared with what was recorded; and repaired from copies."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, find_given_settings, json_option, open_workspace
from .output import Cell, counted, note, printable, say, say_json, size_words
from .progress import progress

if TYPE_CHECKING:
    from ..storage.problem import Problem
    from ..tracking.store_repair import Sources
    from ..tracking.store_verification import StoreCheck
    from ..tracking.workspace import Workspace

UNDECIDED = 2
_ROUNDS = 5  # of repairing and looking again
_SHOWN_PATHS = 3
_SHOWN_KEYS = 5
_DEPTHS = ("log", "trailers", "bytes")


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_names)
@click.option("--all", "everything", is_flag=True, help="All projects, and what no version needs (any more).")
@click.option(
    "--depth",
    type=click.Choice(_DEPTHS),
    default="bytes",
    help="log: all that is named exists. trailers: every object is in its pack. bytes: every byte (default).",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted verification has stopped.")
@click.option(
    "--since",
    type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")),
    help="Do not read again what was found whole since then, in local time.",
)
@click.option("--repair", is_flag=True, help="Repair what can be repaired from the store itself.")
@click.option(
    "--repair-from",
    "sources",
    multiple=True,
    metavar="STORE|FOLDER",
    help="Repair also from a copy of the store, another store, or a folder with the files. Repeatable.",
)
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="Compare this folder with NAME instead."
)
@click.option(
    "--signed-by",
    "signers",
    multiple=True,
    metavar="KEY.pub|NAME",
    help="Show that this key stands for NAME, link by link from the bytes on. Repeatable: all have to.",
)
@json_option
@common_options
def verify(
    names: tuple[str, ...],
    everything: bool,
    depth: str,
    resume: bool,
    since: datetime.datetime | None,
    repair: bool,
    sources: tuple[str, ...],
    root: str | None,
    signers: tuple[str, ...],
    as_json: bool,
) -> int:
    """Read every byte again and compare it with what was recorded.

    Without NAME all live versions of the project, its log from the first transaction on, and its runs are verified;
    what several of them share is read once. With --all everything that lies in the store. The exit status is 0 when all
    is whole, or repaired, 1 when something is damaged or missing, 2 when it could not be decided: the store does not
    answer, or a newer client has written to it. Each problem is one line that names the files it concerns.

    With --signed-by one version is followed from its bytes over its manifest, its record and the chain of the log to
    the signature, offline; the key is a file, or the name of a trusted one. See "art sign". Of an alias that was
    promoted also the promotion must be signed, and its policy have passed.

    A repair never replaces what is whole: a pack is put back byte for byte, from a copy or from its objects wherever
    they are found; transactions when the chain proves them; checkpoints and segments are made again from the log.

    With --json: ok, depth, versions, runs, objects, bytes, transactions, packs, skipped, problems (a list of kind, key,
    type, message, affects: a list of name, path; affected: how many; repaired), undecided, unknown (keys of nobody).
    With --signed-by: ok, name, digest, signed_by (names of keys), steps (a list of name, ok, detail).

    \b
    art verify classifier:production
    art verify --all --depth trailers
    art verify --all --repair-from /backup/store --repair-from ./images
    art verify images:v3 --root ./images
    art verify classifier:production --signed-by keys/release.pub
    """
    if signers:
        others = (everything, repair, sources, root, resume, since, depth != "bytes")
        if len(names) != 1 or any(others):
            raise click.UsageError("--signed-by needs one NAME, and goes with no other option but --json")
        return _verify_signed(names[0], signers, as_json)
    if names and everything:
        raise click.UsageError("NAME and --all: choose one")
    if root is not None and len(names) != 1:
        raise click.UsageError("--root needs the NAME of the version that lies there")
    if root is not None:
        return _verify_folder(names[0], Path(root), as_json)
    if sources:
        _restore_settings(sources)
    workspace = open_workspace()
    copies = _open_sources(workspace, sources)  # what is none of them is told before anything is read
    since_s = None if since is None else since.timestamp()
    began_s = time.time()
    check = _check(workspace, names, everything, depth, resume, since_s)
    repaired: list[Problem] = []
    for _ in range(_ROUNDS if repair or sources else 0):
        if not check.findings.problems or not _repair(workspace, check, copies):
            break
        # What could not be read before may name more that is damaged.
        repaired += [problem for problem in check.findings.problems if problem.repaired]
        check = _check(workspace, names, everything, depth, False, began_s if since_s is None else since_s)
    check.findings.problems[:0] = repaired
    if as_json:
        say_json(_record(check))
    else:
        _say(check, everything)
    if any(not problem.repaired for problem in check.findings.problems):
        return 1
    return UNDECIDED if check.findings.undecided else 0


def _verify_folder(name: str, root: Path, as_json: bool) -> int:
    errors = list(open_workspace().version(name).verify_files(root))
    if as_json:
        problems = [
            {"kind": "file", "type": type(e).__name__, "message": str(e), "affects": []} for e in errors
        ]
        say_json({"ok": not errors, "versions": 1, "problems": problems})
        return 1 if errors else 0
    for error in errors:
        say(f"{Cell('damaged', fg='red').painted()}  {printable(str(error))}")
    say(f"{_verdict(len(errors), 0)}: {printable(str(root))} compared")
    return 1 if errors else 0


def _verify_signed(name: str, signers: tuple[str, ...], as_json: bool) -> int:
    from ..tracking.keys import find_keys
    from ..tracking.registry_verification import promotion_steps
    from ..tracking.settings import find_signing
    from ..tracking.signed_verification import verify_signed

    keys = find_keys(signers, find_signing())
    workspace = open_workspace()
    wanted = workspace.find(name)
    with progress("verifying", lambda: None) as advance:
        check = verify_signed(workspace, str(wanted), keys, advance)
    check.steps += promotion_steps(workspace, wanted, keys)
    if as_json:
        steps = [{"name": step.name, "ok": step.ok, "detail": step.detail} for step in check.steps]
        found = {"ok": check.ok, "name": str(check.name), "digest": check.digest}
        say_json({**found, "signed_by": check.signers, "steps": steps})
    else:
        words = {
            True: Cell("ok", fg="green"),
            False: Cell("failed", fg="red"),
            None: Cell("unseen", dim=True),
        }
        width = max(len(step.name) for step in check.steps)
        for step in check.steps:
            word = words[step.ok]
            gap = " " * (len("failed") - len(word.text))
            say(f"{step.name.ljust(width)}  {word.painted()}{gap}  {printable(step.detail)}")
        verdict = _verdict(sum(not step.ok for step in check.steps), 0)
        say(f"{verdict}: {check.name} {check.digest[:16]}")
    return 0 if check.ok else 1


def _check(
    workspace: Workspace,
    names: tuple[str, ...],
    everything: bool,
    depth: str,
    resume: bool,
    since_s: float | None,
) -> StoreCheck:
    from ..artifacts.verification import Depth, Findings
    from ..storage.errors import CommError, StoreError
    from ..tracking.store_verification import Scope, StoreCheck, verify_store

    versions = [workspace.version(name) for name in names]
    scope = Scope(versions, [] if names else [workspace.project_name], everything)
    size_bytes = sum(version.state.size_bytes for version in versions) or None
    level = Depth[depth.upper()]
    try:
        with progress("verifying", lambda: size_bytes) as advance:
            return verify_store(
                workspace.store, scope, level, resume=resume, since_s=since_s, progress=advance
            )
    except (CommError, StoreError) as error:
        return StoreCheck(level, Findings(undecided=[str(error)]))


def _restore_settings(sources: tuple[str, ...]) -> None:
    """A store whose `lineart.json` is damaged cannot be opened: put that back first, if a copy is a copy of it."""
    from ..tracking.store_repair import restore_settings

    settings = find_given_settings(click.get_current_context())
    if restore_settings(settings.store, settings.storage_options, sources):
        say(f"{Cell('repaired', fg='green').painted()}  lineart.json: put back from a copy")


def _open_sources(workspace: Workspace, sources: tuple[str, ...]) -> Sources:
    from ..tracking.store_repair import open_sources

    options = find_given_settings(click.get_current_context()).storage_options
    return open_sources(sources, workspace.store, options)


def _repair(workspace: Workspace, check: StoreCheck, copies: Sources) -> int:
    from ..tracking.store_repair import repair_store

    with progress("repairing", lambda: None) as advance:
        return repair_store(workspace.store, check, copies, advance)


def _record(check: StoreCheck) -> dict[str, Any]:
    findings = check.findings
    return {
        "ok": not findings.undecided and all(problem.repaired for problem in findings.problems),
        "depth": check.depth.name.lower(),
        "versions": findings.needs["version"],
        "runs": _runs(check),
        "objects": findings.objects,
        "bytes": findings.read_bytes,
        "transactions": findings.transactions,
        "packs": findings.packs,
        "skipped": findings.skipped,
        "problems": [_problem_record(problem) for problem in findings.problems],
        "undecided": findings.undecided,
        "unknown": findings.unknown,
    }


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "key": problem.key,
        "type": type(problem.error).__name__,
        "message": str(problem.error),
        "affects": [{"name": name, "path": path} for name, path in problem.affects],
        "affected": problem.affected,
        "repaired": problem.repaired or None,
    }


def _runs(check: StoreCheck) -> int:
    return len({need.name for need in check.needs if need.kind == "run"})


def _verdict(problems: int, undecided: int) -> str:
    if problems:
        return Cell(counted(problems, "problem"), fg="red", bold=True).painted()
    if undecided:
        return Cell("undecided", fg="yellow", bold=True).painted()
    return Cell("ok", fg="green", bold=True).painted()


def _say(check: StoreCheck, everything: bool) -> None:
    findings = check.findings
    for problem in findings.problems:
        where = [f"{name} {path}".rstrip() for name, path in problem.affects]
        more = f" and {problem.affected - _SHOWN_PATHS:,} more" if problem.affected > _SHOWN_PATHS else ""
        names = f"{', '.join(where[:_SHOWN_PATHS])}{more}: " if where else ""
        if problem.repaired:
            state, rest = Cell("repaired", fg="green"), f"{problem.key or problem.error}: {problem.repaired}"
        else:
            state, rest = Cell("damaged", fg="red"), str(problem.error)
        say(f"{state.painted()}  {printable(names + rest)}")
    for reason in findings.undecided:
        say(f"{Cell('undecided', fg='yellow').painted()}  {printable(reason)}")
    for key in findings.unknown[:_SHOWN_KEYS]:
        say(f"{Cell('unknown', dim=True).painted()}  {printable(key)}: it is nobody's; nothing reads it")
    if len(findings.unknown) > _SHOWN_KEYS:
        say(f"unknown  {len(findings.unknown) - _SHOWN_KEYS:,} more; --json names them")
    words = f"{counted(findings.needs['version'], 'version')}, {counted(findings.objects, 'object')}"
    runs = _runs(check)
    words += f", files of {counted(runs, 'run')}" if runs else ""
    words += f", {size_words(findings.read_bytes)} read"
    if findings.transactions:
        words += f", {counted(findings.transactions, 'transaction')}"
    if findings.packs:
        words += f", {counted(findings.packs, 'pack')} read whole"
    if findings.skipped:
        words += f", {counted(findings.skipped, 'pack')} verified before"
    left = sum(not problem.repaired for problem in findings.problems)
    say(f"{_verdict(left, len(findings.undecided))}: {words}")
    if left:
        note("the files that are not named are whole; --repair-from STORE restores from a copy of the store")
