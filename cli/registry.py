"""`art registry`: registered models, their policies, and the log of what was promoted and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import Cell, aliases_cell, name_cell, printable, say, say_json, say_json_list, say_table, when
from .policies import policy
from .promoting import explain_option
from .registry_names import model_name, open_registry, registry_option

_BLANK = "\u00a0"  # does not end a cell: awk and people see one column
_DECISIONS = """
SELECT number, kind, verdict, from_version, to_version, alias, collection, reason, clauses::VARCHAR AS clauses,
       policies::VARCHAR AS policies, approvals::VARCHAR AS approvals, envelope IS NOT NULL AS signed, user_name, host,
       strftime(time, '%Y-%m-%dT%H:%M:%S.%fZ') AS time
FROM promotions WHERE project = $project AND ($collection IS NULL OR collection = $collection)
  AND ($alias IS NULL OR alias = $alias)
ORDER BY position DESC
"""


@click.group()
@common_options
def registry() -> None:
    """Look at registered models, set their policies, read what was promoted.

    MODEL is a registered model of model-registry (or of --registry), or the path of any artifact.

    \b
    art registry ls
    art registry log churn-model
    """


@registry.command()
@registry_option
@json_option
@common_options
def ls(registry: str | None, as_json: bool) -> None:
    """List the models of a registry, with what their aliases point to.

    With --json: name, registry, collection, type, description, tags, versions, aliases, protected, policy (its
    digest, or null).

    \b
    art registry ls
    art registry ls --registry team/datasets-registry --json
    """
    workspace = open_workspace()
    found = open_registry(workspace, registry)
    records: list[dict[str, Any]] = [
        {
            "name": f"{found.path}/{c.name}",
            "registry": str(found.path),
            "collection": c.name,
            "type": c.type,
            "description": c.description,
            "tags": list(c.tags),
            "versions": len(c.live()),
            "aliases": {alias: f"v{number}" for alias, number in sorted(c.aliases.items())},
            "protected": sorted(c.protected),
            "policy": None if c.policy is None else c.policy.digest,
        }
        for c in sorted(found.state().collections.values(), key=lambda c: c.name)
    ]
    if as_json:
        say_json_list(records)
        return
    say_table(
        "MODEL TYPE VERSIONS> ALIASES POLICY",
        [
            [
                name_cell(record["collection"]),
                record["type"],
                str(record["versions"]),
                aliases_cell([f"{alias}={version}" for alias, version in record["aliases"].items()]),
                (record["policy"] or "-")[:12],
            ]
            for record in records
        ],
    )


@registry.command()
@click.argument("model", shell_complete=complete_names)
@json_option
@common_options
def show(model: str, as_json: bool) -> None:
    """Show a registered model: what its aliases point to, what protects them, its policy.

    With --json: name, type, description, tags, versions (a list of version, source, aliases, tags, created_at),
    aliases, protected, promotions (by alias: how many), policy, registry_policy (digest and text, or null), ignored
    (moves of protected aliases beside promotion, in words).

    \b
    art registry show churn-model
    """
    from ..artifacts.decisions import find_collection

    workspace = open_workspace()
    wanted = model_name(workspace, model)
    state = workspace.state(wanted.project)
    found = find_collection(state, wanted.collection)
    of_registry = None if state.registry is None else state.registry.policy
    record: dict[str, Any] = {
        "name": f"{wanted.project}/{found.name}",
        "type": found.type,
        "description": found.description,
        "tags": list(found.tags),
        "versions": [
            {
                "version": f"v{v.number}",
                "source": v.source,
                "aliases": list(found.aliases_of(v.number)),
                "tags": list(v.tags),
                "created_at": v.created_at,
            }
            for v in reversed(found.live())
        ],
        "aliases": {alias: f"v{number}" for alias, number in sorted(found.aliases.items())},
        "protected": sorted(found.protected),
        "promotions": {alias: last.number for alias, last in sorted(found.promoted.items())},
        "policy": _policy_record(found.policy),
        "registry_policy": _policy_record(of_registry),
        "ignored": list(found.ignored),
    }
    if as_json:
        say_json(record)
    else:
        _say_model(record)


def _policy_record(found: Any) -> dict[str, str] | None:
    return None if found is None else {"digest": found.digest, "text": found.text}


def _say_model(record: dict[str, Any]) -> None:
    say(f"{click.style(record['name'], fg='cyan', bold=True)}  {record['type']}")
    if record["description"]:
        say(printable(record["description"]))
    if record["tags"]:
        say(f"tags: {', '.join(record['tags'])}")
    for alias, version in record["aliases"].items():
        count = record["promotions"].get(alias)
        more = ", protected" if alias in record["protected"] else ""
        more += f", promotion {count}" if count else ""
        say(f"  {click.style(alias, fg='green')} → {version}{more}")
    for alias in record["protected"]:
        if alias not in record["aliases"]:
            say(f"  {click.style(alias, fg='green')} → nothing yet, protected")
    for of, said in (("policy", record["policy"]), ("policy of the registry", record["registry_policy"])):
        if said is not None:
            say(f'  {of} {said["digest"][:12]}; "art registry policy show" prints it')
    for move in record["ignored"]:
        say(click.style(f"  ignored: {printable(move)}", fg="red"))
    say_table(
        "VERSION ALIASES CREATED FROM",
        [
            [
                name_cell(v["version"]),
                aliases_cell(v["aliases"]),
                when(v["created_at"]).replace(" ", "T"),
                Cell(v["source"] or "-"),
            ]
            for v in record["versions"]
        ],
    )


@registry.command()
@click.argument("model", required=False, shell_complete=complete_names)
@registry_option
@click.option("--alias", metavar="ALIAS", help="Only what concerns this alias.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Only the newest N decisions.")
@explain_option
@json_option
@common_options
def log(
    model: str | None,
    registry: str | None,
    alias: str | None,
    limit: int | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Print the audit log: every promotion, rollback and refusal, newest first.

    With --json: number (null of a refusal), kind, verdict, from_version, to_version, alias, collection, reason,
    clauses, policies, approvals, signed, user_name, host, time.

    \b
    art registry log churn-model
    art registry log churn-model --alias production --explain
    """
    workspace = open_workspace()
    wanted = None if model is None else model_name(workspace, model)
    project = wanted.project if wanted is not None else open_registry(workspace, registry).path
    catalog = workspace.catalog([project])
    try:
        parameters: Any = {
            "project": str(project),
            "collection": None if wanted is None else wanted.collection,
            "alias": alias,
        }
        records = catalog.records(_DECISIONS, parameters)[:limit]
    finally:
        catalog.close()
    for record in records:
        for key in ("clauses", "policies", "approvals"):
            record[key] = json.loads(record[key] or "[]")
        for key in ("from_version", "to_version"):
            record[key] = None if record[key] is None else f"v{record[key]}"
    if as_json:
        say_json_list(records)
    else:
        _say_log(records, explain=explain)


def _say_log(records: list[dict[str, Any]], *, explain: bool) -> None:
    rows: list[list[str | Cell]] = []
    for record in records:
        passed = record["verdict"] == "pass"
        before = f"{record['from_version']} → " if record["from_version"] else "→ "
        what = f"{record['collection']}:{record['alias']} {before}{record['to_version']}"
        reason = f"  “{printable(record['reason'])}”" if record["reason"] else ""
        word = record["kind"] if passed else f"{record['kind']}-{record['verdict']}"
        rows.append(
            [
                str(record["number"] or "-"),
                when(record["time"]).replace(" ", "T"),
                printable(f"{record['user_name'] or '?'}@{record['host'] or '?'}"),
                Cell(word, fg="green" if passed else "red"),
                "signed" if record["signed"] else "-",
                Cell(f"{what}{reason}"),
            ]
        )
        for clause in record["clauses"]:
            if explain or clause["verdict"] != "pass":
                text = printable(f"{clause['clause']}  ·  {clause['values']}")
                dim = Cell(clause["verdict"], dim=True)
                rows.append([_BLANK, _BLANK, _BLANK, dim, _BLANK, Cell(f"  {text}", dim=True)])
    say_table("NUMBER> TIME BY DECISION SIGNATURE WHAT", rows)


@registry.command()
@registry_option
@click.option(
    "--signed-by",
    "signers",
    multiple=True,
    metavar="KEY.pub|NAME",
    help="Believe these keys only (default: the trusted ones of the settings, if any). Repeatable.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The last promotion of each alias must have been decided by this one.",
)
@json_option
@common_options
def audit(registry: str | None, signers: tuple[str, ...], policy_file: Path | None, as_json: bool) -> int:
    """Prove the audit log: nothing in it was changed, removed, said twice or said by somebody else.

    The log is read from its first transaction on, and each is compared with the one before; then every promotion, its
    policy and the approvals that it counts, and whether protected aliases moved otherwise. With keys every promotion,
    approval and end of a protection must be signed by one of them. Offline: a copy of the store is enough. Exit status:
    0 nothing is wrong, 1 something is.

    With --json: ok, registry, transactions, promotions, signed, problems (of the log, in words), findings (kind,
    collection, alias, seq, message).

    \b
    art registry audit
    art registry audit --signed-by keys/release.pub --policy policy.toml
    """
    from ..tracking.keys import find_keys
    from ..tracking.registry_verification import audit_registry
    from ..tracking.settings import find_signing
    from .policies import read_policy_file

    workspace = open_workspace()
    keys = find_keys(signers, find_signing()) if signers else workspace.trusted
    given = None if policy_file is None else read_policy_file(policy_file)
    check = audit_registry(workspace, open_registry(workspace, registry).path, keys, given)
    if as_json:
        findings = [
            {"kind": f.kind, "collection": f.collection, "alias": f.alias, "seq": f.seq, "message": f.message}
            for f in check.findings
        ]
        counts = {"transactions": check.transactions, "promotions": check.promotions, "signed": check.signed}
        record = {"ok": check.ok, "registry": str(check.project), **counts}
        say_json({**record, "problems": check.problems, "findings": findings})
        return 0 if check.ok else 1
    for message in [*check.problems, *(finding.message for finding in check.findings)]:
        say(f"{click.style('wrong', fg='red')}  {printable(message)}")
    verdict = click.style("ok", fg="green") if check.ok else click.style("not ok", fg="red")
    signed = "" if keys is None else f", {check.signed} signed by {', '.join(keys.names())}"
    say(
        f"{verdict}: {check.project}, {check.transactions} transactions, {check.promotions} promotions{signed}"
    )
    return 0 if check.ok else 1


@registry.command()
@click.argument("model")
@click.option("-t", "--type", "type_name", default="model", show_default=True, help="Of its versions.")
@click.option("-d", "--description", default="", help="What it is for.")
@click.option("--protect", multiple=True, metavar="ALIAS", help="Protect an alias; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="A tag of the model itself; may be repeated.")
@registry_option
@json_option
@common_options
def create(
    model: str,
    type_name: str,
    description: str,
    protect: tuple[str, ...],
    tags: tuple[str, ...],
    registry: str | None,
    as_json: bool,
) -> None:
    """Make a registered model, before its first version is linked.

    What exists already stays as it is, but for the description, the protections and the tags that are given.

    With --json: name, type, protected, tags.

    \b
    art registry create churn-model --protect production --protect staging
    """
    workspace = open_workspace(create=True)
    found = open_registry(workspace, registry)
    made = found.create_collection(model, type_name, description, protect, tags)
    if as_json:
        record = {"name": made.qualified_name, "type": made.type, "protected": made.protected_aliases}
        say_json({**record, "tags": made.tags})
        return
    shown = click.style(made.qualified_name, fg="cyan", bold=True)
    say(f"{shown}  {made.type}  protected: {', '.join(made.protected_aliases) or 'nothing'}")


@registry.command()
@registry_option
@click.option("-d", "--description", help="What the registry is for.")
@click.option(
    "-t", "--type", "types", multiple=True, help="A type of artifact that may be in it; may be repeated."
)
@click.option("--any-type", is_flag=True, help="Allow all types again.")
@json_option
@common_options
def configure(
    registry: str | None, description: str | None, types: tuple[str, ...], any_type: bool, as_json: bool
) -> None:
    """Set up a registry: what it is for, and which types of artifacts may be in it.

    With --json: name, description, types.

    \b
    art registry configure -d "what customers get" -t model
    """
    workspace = open_workspace(create=True)
    found = open_registry(workspace, registry)
    found.configure(description=description, artifact_types=types if types or any_type else None)
    record = {"name": str(found.path), "description": found.description, "types": found.artifact_types}
    if as_json:
        say_json(record)
        return
    shown = click.style(str(found.path), fg="cyan", bold=True)
    say(
        f"{shown}  types: {', '.join(found.artifact_types) or 'all'}  {printable(found.description)}".rstrip()
    )


registry.add_command(policy)
