"""`art log`: what happened to an artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_collections
from .options import common_options, json_option, open_workspace
from .output import Cell, counted, name_cell, printable, say_json_list, say_table, size_words, when

if TYPE_CHECKING:
    from ..lineage import Catalog

_OPS = 65536  # facts have the position seq * 65536 + number of the op (docs/catalog.md)

_QUERY = """
SELECT position, time, user_name, host, 'created' AS event, version, NULL AS alias, NULL AS from_version,
       json_object('size_bytes', size_bytes, 'file_count', file_count, 'run', run_id) AS details
FROM version_creations WHERE project = $project AND collection = $collection
UNION ALL
SELECT position, time, user_name, host, 'revised', split_part(version_id, ':v', 2)::BIGINT, NULL, NULL,
       json_object('metadata', metadata, 'description', description, 'tags', tags, 'ttl_s', ttl_s)
FROM version_revisions WHERE starts_with(version_id, $prefix)
UNION ALL
SELECT position, time, user_name, host, CASE WHEN is_restored THEN 'restored' ELSE 'deleted' END,
       split_part(version_id, ':v', 2)::BIGINT, NULL, NULL, json_object('reason', reason)
FROM version_deletions WHERE starts_with(version_id, $prefix)
UNION ALL
SELECT position, strftime(time, '%Y-%m-%dT%H:%M:%S.%fZ'), user_name, host,
       CASE WHEN is_ignored THEN 'ignored' WHEN promotion IS NOT NULL THEN 'promoted' ELSE 'alias' END, to_version,
       alias, from_version, json_object('promotion', promotion)
FROM alias_history WHERE project = $project AND collection = $collection
UNION ALL
SELECT position, time, user_name, host, 'refused', to_version, alias, from_version,
       json_object('verdict', verdict, 'reason', nullif(reason, ''))
FROM promotion_decisions WHERE project = $project AND collection = $collection AND number IS NULL
UNION ALL
SELECT position, time, user_name, host, CASE WHEN is_protected THEN 'protected' ELSE 'unprotected' END, NULL, alias,
       NULL, json_object('reason', nullif(reason, ''))
FROM alias_protections WHERE project = $project AND collection = $collection
UNION ALL
SELECT position, time, user_name, host, CASE WHEN is_revoked THEN 'disapproved' ELSE 'approved' END,
       split_part(version_id, ':v', 2)::BIGINT, alias, NULL, json_object('comment', nullif(comment, ''))
FROM approval_events WHERE starts_with(version_id, $prefix)
UNION ALL
SELECT position, time, user_name, host, 'policy', NULL, NULL, NULL, json_object('digest', digest)
FROM policy_events WHERE project = $project AND collection = $collection
ORDER BY position DESC
"""


@click.command()
@click.argument("name", shell_complete=complete_collections)
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Only the newest N entries.")
@json_option
@common_options
def log(name: str, limit: int | None, as_json: bool) -> None:
    """Show the history of an artifact: versions, aliases, promotions, revisions, deletions.

    Newest first. SEQ is the number of the transaction in the project's log: entries with one number became true
    together. With a version, as in data:v3, only what concerns it.

    An alias that is protected moves by promotion; what moved it otherwise is shown as ignored.

    With --json: seq, time, user, host, event (created, revised, deleted, restored, alias, promoted, refused, ignored,
    protected, unprotected, approved, disapproved, policy), version, alias, from_version, details (of a version:
    size_bytes, file_count, run; of a revision: what changed; of a deletion or protection: reason; of a promotion: its
    number; of a refusal: verdict, reason; of an approval: comment; of a policy: digest).

    \b
    art log classifier
    art log classifier:v3 --json | jq -r '.[].event'
    """
    from ..artifacts.decisions import find_collection

    workspace = open_workspace()
    wanted = workspace.find(name)
    find_collection(workspace.project(wanted.project).state(), wanted.collection)
    only = workspace.version(wanted, deleted_too=True).state.number if ":" in name else None
    catalog = workspace.catalog([wanted.project])
    try:
        events = list(_events(catalog, str(wanted.project), wanted.collection))
    finally:
        catalog.close()
    if only is not None:
        events = [event for event in events if f"v{only}" in (event["version"], event["from_version"])]
    events = events[:limit]
    if as_json:
        say_json_list(events)
    else:
        say_table("SEQ> TIME BY EVENT", map(_row, events))


def _events(catalog: Catalog, project: str, collection: str) -> Iterator[dict[str, Any]]:
    parameters: Any = {"project": project, "collection": collection, "prefix": f"{project}/{collection}:v"}
    for record in catalog.records(_QUERY, parameters):
        details = {key: value for key, value in json.loads(record["details"]).items() if value is not None}
        for key in ("metadata", "tags"):
            if key in details:
                details[key] = json.loads(details[key])
        yield {
            "seq": record["position"] // _OPS,
            "time": record["time"],
            "user": record["user_name"],
            "host": record["host"],
            "event": record["event"],
            "version": _label(record["version"]),
            "alias": record["alias"],
            "from_version": _label(record["from_version"]),
            "details": details,
        }


def _label(number: int | None) -> str | None:
    return None if number is None else f"v{number}"


def _row(event: dict[str, Any]) -> list[str | Cell]:
    who = f"{event['user'] or '?'}@{event['host'] or '?'}"
    return [str(event["seq"]), when(event["time"]).replace(" ", "T"), printable(who), _words(event)]


def _words(event: dict[str, Any]) -> Cell:
    details = event["details"]
    match event["event"]:
        case "created":
            run = f", by run {details['run'].rpartition('/')[2]}" if details.get("run") else ""
            held = f"{counted(details['file_count'], 'file')}, {size_words(details['size_bytes'])}"
            return name_cell(f"{event['version']} created: {held}{run}")
        case "revised":
            changed = [
                f"{key} = {printable(json.dumps(value, ensure_ascii=False))}"
                for key, value in details.items()
            ]
            return Cell(f"{event['version']} revised: {'; '.join(changed)}")
        case "deleted":
            reason = f" ({printable(details['reason'])})" if details.get("reason") else ""
            return Cell(f"{event['version']} deleted{reason}", fg="red")
        case "restored":
            return name_cell(f"{event['version']} restored")
        case "alias" | "promoted":
            return _move_words(event)
        case other:
            return _registry_words(other, event)


def _move_words(event: dict[str, Any]) -> Cell:
    before, after, number = event["from_version"], event["version"], event["details"].get("promotion")
    if after is None:
        return Cell(f"{event['alias']} removed from {before}", fg="green")
    how = f", promotion {number}" if number else ""
    return Cell(f"{event['alias']} → {after}" + (f" (was {before}{how})" if before else how), fg="green")


def _registry_words(kind: str, event: dict[str, Any]) -> Cell:
    alias, version, details = event["alias"], event["version"], event["details"]
    said = details.get("reason") or details.get("comment")
    more = f" ({printable(said)})" if said else ""
    if kind == "policy":
        digest = details.get("digest")
        return Cell(f"policy set: {digest[:12]}" if digest else "policy taken off")
    if kind in ("protected", "unprotected"):
        return Cell(f"{alias} {kind}{more}", fg="green")
    if kind in ("approved", "disapproved"):
        return name_cell(f"{version} {kind} for {alias}{more}")
    if kind == "refused":
        return Cell(f"{alias} → {version} refused: {details.get('verdict')}{more}", fg="red")
    goal = version or "nothing"
    return Cell(f"{alias} → {goal} ignored: it is protected, and this was no promotion", fg="red")
