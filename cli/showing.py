"""`art show`: all about one version."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import Cell, age, counted, printable, say, say_facts, say_json, size_words, value_text, when
from .records import attestation_record, collection_of, version_record

if TYPE_CHECKING:
    from ..artifacts.names import ArtifactName
    from ..lineage import Catalog, Why
    from ..tracking.workspace import Workspace

_AGO = re.compile(r"(\d+)\s*([smhdwy])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_MOST_USERS = 10


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.option(
    "--at", metavar="DATE", help='The version that the alias pointed to then: a date, a time, or "3d" ago.'
)
@json_option
@common_options
def show(name: str, at: str | None, as_json: bool) -> None:
    """Show all about one version.

    A deleted version is shown, too: its name, digest and lineage stay. A time without a zone is this machine's; a
    date without a time means its end.

    With --json: name, project, collection, version, type, digest, size_bytes, file_count, reference_count, aliases,
    tags, description, metadata, created_at, run, deleted, logged_by, made_by (run, name, job_type, state; or null),
    made_from (a list of name, role), made_from_exact, used_by (a list of run, name, job_type, role), attestations (a
    list of kind, predicate_type, key_ids, signed_by, logged_by, time, problem; not checked: see "art verify").

    \b
    art show classifier:production
    art show classifier:production --at 2026-01-31
    """
    from ..lineage import why
    from ..tracking.version_signing import list_attestations

    workspace = open_workspace()
    wanted = workspace.find(name)
    catalog = workspace.catalog()
    try:
        if at is not None:
            wanted = _name_then(catalog, workspace, wanted, moment(at))
        version = workspace.version(wanted, deleted_too=True)
        reasons = why(catalog, str(version.name))
        users = _used_by(catalog, str(version.name))
        signed = list_attestations(catalog, str(version.name))
    finally:
        catalog.close()
    made_by = reasons.run
    record: dict[str, Any] = {
        **version_record(version, collection_of(workspace, version)),
        "logged_by": reasons.logged_by,
        "made_by": made_by
        and {
            "run": made_by.run_id,
            "name": made_by.name,
            "job_type": made_by.job_type,
            "state": made_by.state,
        },
        "made_from": [{"name": source, "role": role} for source, role in reasons.inputs],
        "made_from_exact": reasons.exact,
        "used_by": users,
        "attestations": [attestation_record(found) for found in signed],
    }
    if as_json:
        say_json(record)
    else:
        _say_version(record, reasons)


def moment(text: str) -> datetime.datetime:
    """A point in time from what a person types. Raises: click.UsageError."""
    ago = _AGO.match(text)
    if ago:
        length = datetime.timedelta(seconds=int(ago.group(1)) * _UNIT_S[ago.group(2)])
        return datetime.datetime.now(datetime.UTC) - length
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"--at {text!r}: expected a date such as 2026-01-31, a time such as 2026-01-31T12:00, or 3d"
        ) from None
    if len(text) <= len("2026-01-31"):
        found += datetime.timedelta(days=1, microseconds=-1)
    return found.astimezone()


def _name_then(
    catalog: Catalog, workspace: Workspace, name: ArtifactName, then: datetime.datetime
) -> ArtifactName:
    """The version that `name` meant at a time. Raises: NotFoundError."""
    from ..artifacts.names import ArtifactName, parse_version
    from ..storage.errors import NotFoundError

    number = parse_version(name.reference)
    where = [str(name.project), name.collection]
    if number is not None:
        query = "SELECT version FROM version_creations WHERE project = ? AND collection = ? AND version = ?"
        rows = catalog.rows(
            f"{query} AND time::TIMESTAMPTZ <= ?::TIMESTAMPTZ", [*where, number, then.isoformat()]
        )
    else:
        query = "SELECT to_version FROM alias_history WHERE project = ? AND collection = ? AND alias = ?"
        query += " AND NOT is_ignored AND time::TIMESTAMPTZ <= ?::TIMESTAMPTZ ORDER BY position DESC LIMIT 1"
        rows = catalog.rows(query, [*where, name.reference, then.isoformat()])
    if not rows or rows[0][0] is None:
        workspace.version(name)  # a name that never existed gets its own message
        raise NotFoundError(
            f'{name.short} pointed to nothing at {then:%Y-%m-%d %H:%M:%S %z}; see "art log {name.collection}"'
        )
    return ArtifactName(name.project, name.collection, f"v{rows[0][0]}")


def _used_by(catalog: Catalog, version_id: str) -> list[dict[str, Any]]:
    return catalog.records(
        "SELECT e.run_id AS run, coalesce(r.name, e.run_id) AS name, r.job_type, e.role FROM edges e"
        " LEFT JOIN runs r USING (run_id) WHERE e.kind = 'used' AND e.version_id = ? ORDER BY e.time, e.position",
        [version_id],
    )


def _say_version(record: dict[str, Any], reasons: Why) -> None:
    title = click.style(f"{record['collection']}:{record['version']}", fg="cyan", bold=True)
    deleted = click.style("  deleted: its content is gone", fg="red") if record["deleted"] else ""
    say(f"{title}  {record['type']}  {record['project']}{deleted}")
    references = record["reference_count"]
    held = counted(record["file_count"], "file") + (
        f" and {counted(references, 'reference')}" if references else ""
    )
    facts: list[tuple[str, str | Cell]] = [
        ("digest", record["digest"]),
        ("created", f"{when(record['created_at'])} ({age(record['created_at'])} ago) by {reasons.logged_by}"),
        ("holds", f"{held}, {size_words(record['size_bytes'])}"),
        ("aliases", Cell(", ".join(record["aliases"]) or "-", fg="green" if record["aliases"] else None)),
    ]
    if record["tags"]:
        facts.append(("tags", ", ".join(record["tags"])))
    if record["description"]:
        facts.append(("description", printable(record["description"])))
    facts += [
        ("metadata", f"{printable(key)} = {value_text(value)}") for key, value in record["metadata"].items()
    ]
    facts += _origin(record)
    used = [run_words(user) for user in record["used_by"]]
    facts += [("used by", words) for words in used[:_MOST_USERS]]
    if len(used) > _MOST_USERS:
        facts.append(("used by", f"… and {len(used) - _MOST_USERS} more"))
    facts += [("signed", _signed_words(found)) for found in record["attestations"]]
    say_facts(facts, indent="  ")


def _signed_words(record: dict[str, Any]) -> str:
    keys = ", ".join(key_id[:16] for key_id in record["key_ids"]) or "nobody"
    return printable(f"{record['kind']}, with key {keys}, {when(record['time'])}; not checked here")


def _origin(record: dict[str, Any]) -> list[tuple[str, str | Cell]]:
    if record["made_by"] is None:
        if record["run"] is not None:
            return [("made by", f"the run {record['run']}, which is not in this store or was deleted")]
        return [("made by", "nobody's run: it was logged outside of one")]
    facts: list[tuple[str, str | Cell]] = [("made by", run_words(record["made_by"]))]
    return [*facts, *(("made from", input_words(i, record["project"])) for i in record["made_from"])]


def run_words(run: dict[str, Any]) -> str:
    """A run in a few words: its name, id, job type, state and role."""
    words = [f"run {run['run'].rpartition('/')[2]}", run.get("job_type"), run.get("state")]
    role = f" as {run['role']}" if run.get("role") else ""
    return printable(f"{run['name']} ({', '.join(word for word in words if word)}){role}")


def input_words(source: dict[str, Any], home: str) -> str:
    """An input in a few words: its name, short where it is of the project `home`, and its role."""
    from ..artifacts.history import split_external

    origin, name = split_external(source["name"])
    left = "" if origin is None else " (not copied into this store)"
    return name.removeprefix(f"{home}/") + (f" as {source['role']}" if source["role"] else "") + left
