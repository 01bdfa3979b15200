"""From transactions to rows: what the catalog's base tables hold (docs/catalog.md). Pure; knows no DuckDB.

Every row is a fact that stays true: an event with its `position`. What is true *now* are views over them.
`position` is ``seq * 65536 + index of the op``: it orders all facts of one project.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..storage.errors import IntegrityError
from ..storage.transaction import Op, Transaction, actor_of, is_time, time_of

SCHEMA_VERSION = 6
_OPS_PER_TRANSACTION = 65536
_CELL = str | int | float | bool | None

# Table → columns → DuckDB types. `project` is the "entity/project" whose log says so; `version_id` is
# "entity/project/collection:vN"; `run_id` is "entity/project/run".
TABLES: Mapping[str, Mapping[str, str]] = {
    "collection_events": {
        "project": "VARCHAR", "collection": "VARCHAR", "type": "VARCHAR", "description": "VARCHAR", "tags": "VARCHAR",
        "time": "VARCHAR", "position": "BIGINT",
    },
    "version_creations": {
        "version_id": "VARCHAR", "project": "VARCHAR", "collection": "VARCHAR", "version": "BIGINT",
        "digest": "VARCHAR", "size_bytes": "BIGINT", "file_count": "BIGINT", "reference_count": "BIGINT",
        "metadata": "VARCHAR", "description": "VARCHAR", "tags": "VARCHAR", "run_id": "VARCHAR", "ttl_s": "BIGINT",
        "step": "BIGINT", "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR", "position": "BIGINT",
    },
    "version_revisions": {
        "project": "VARCHAR", "version_id": "VARCHAR", "metadata": "VARCHAR", "description": "VARCHAR",
        "tags": "VARCHAR", "ttl_s": "BIGINT", "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR",
        "position": "BIGINT",
    },
    "version_deletions": {
        "project": "VARCHAR", "version_id": "VARCHAR", "is_restored": "BOOLEAN", "reason": "VARCHAR",
        "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR", "position": "BIGINT",
    },
    "alias_moves": {
        "project": "VARCHAR", "collection": "VARCHAR", "alias": "VARCHAR", "from_version": "BIGINT",
        "to_version": "BIGINT", "promotion": "BIGINT", "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR",
        "position": "BIGINT",
    },
    "alias_protections": {
        "project": "VARCHAR", "collection": "VARCHAR", "alias": "VARCHAR", "is_protected": "BOOLEAN",
        "reason": "VARCHAR", "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR", "position": "BIGINT",
    },
    "promotion_decisions": {  # those that were refused, too
        "project": "VARCHAR", "collection": "VARCHAR", "alias": "VARCHAR", "from_version": "BIGINT",
        "to_version": "BIGINT", "digest": "VARCHAR", "number": "BIGINT", "previous": "VARCHAR", "kind": "VARCHAR",
        "verdict": "VARCHAR", "reason": "VARCHAR", "policies": "VARCHAR", "clauses": "VARCHAR",
        "approvals": "VARCHAR", "envelope": "VARCHAR", "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR",
        "position": "BIGINT",
    },
    "approval_events": {
        "project": "VARCHAR", "version_id": "VARCHAR", "alias": "VARCHAR", "id": "VARCHAR", "is_revoked": "BOOLEAN",
        "digest": "VARCHAR", "comment": "VARCHAR", "envelope": "VARCHAR", "user_name": "VARCHAR", "host": "VARCHAR",
        "time": "VARCHAR", "position": "BIGINT",
    },
    "policy_events": {  # without a collection: of the whole registry
        "project": "VARCHAR", "collection": "VARCHAR", "digest": "VARCHAR", "text": "VARCHAR", "user_name": "VARCHAR",
        "host": "VARCHAR", "time": "VARCHAR", "position": "BIGINT",
    },
    "uses": {
        "project": "VARCHAR", "run_id": "VARCHAR", "version_id": "VARCHAR", "role": "VARCHAR", "time": "VARCHAR",
        "position": "BIGINT",
    },
    "productions": {
        "project": "VARCHAR", "run_id": "VARCHAR", "version_id": "VARCHAR", "is_new": "BOOLEAN",
        "exact": "BOOLEAN", "time": "VARCHAR", "position": "BIGINT",
    },
    "derivations": {
        "project": "VARCHAR", "run_id": "VARCHAR", "output_id": "VARCHAR", "input_id": "VARCHAR", "position": "BIGINT",
    },
    "version_links": {
        "project": "VARCHAR", "source_id": "VARCHAR", "link_id": "VARCHAR", "is_new": "BOOLEAN", "run_id": "VARCHAR",
        "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR", "position": "BIGINT",
    },
    "version_origins": {  # of versions that were copied from another store
        "project": "VARCHAR", "version_id": "VARCHAR", "origin": "VARCHAR", "position": "BIGINT",
    },
    "signed_statements": {
        "project": "VARCHAR", "version_id": "VARCHAR", "collection": "VARCHAR", "version": "BIGINT", "kind": "VARCHAR",
        "envelope": "VARCHAR", "user_name": "VARCHAR", "host": "VARCHAR", "time": "VARCHAR", "position": "BIGINT",
    },
    "run_alerts": {
        "project": "VARCHAR", "run_id": "VARCHAR", "title": "VARCHAR", "text": "VARCHAR", "level": "VARCHAR",
        "sent_s": "DOUBLE", "time": "VARCHAR", "position": "BIGINT",
    },
    "run_inputs": {  # what a run has read and not declared; a row without uri says how many more there are
        "project": "VARCHAR", "run_id": "VARCHAR", "uri": "VARCHAR", "digest": "VARCHAR", "size_bytes": "BIGINT",
        "omitted": "BIGINT", "position": "BIGINT",
    },
    "version_references": {
        "project": "VARCHAR", "version_id": "VARCHAR", "path": "VARCHAR", "uri": "VARCHAR", "position": "BIGINT",
    },
    "run_events": {
        "run_id": "VARCHAR", "project": "VARCHAR", "run": "VARCHAR", "event": "VARCHAR", "writer": "VARCHAR",
        "name": "VARCHAR", "job_type": "VARCHAR", "group_name": "VARCHAR", "tags": "VARCHAR", "notes": "VARCHAR",
        "config": "VARCHAR", "summary": "VARCHAR", "capture": "VARCHAR", "state": "VARCHAR", "exit_code": "BIGINT",
        "error": "VARCHAR", "files": "VARCHAR", "history": "VARCHAR", "user_name": "VARCHAR", "host": "VARCHAR",
        "time": "VARCHAR", "position": "BIGINT",
    },
}  # fmt: skip


def position_of(seq: int, index: int) -> int:
    """The position of an op: where in the log it stands."""
    return seq * _OPS_PER_TRANSACTION + index


class Facts:
    """Rows gathered from transactions, by table, column by column as DuckDB takes them in."""

    def __init__(self) -> None:
        self.columns: dict[str, dict[str, list[_CELL]]] = {
            table: {column: [] for column in columns} for table, columns in TABLES.items()
        }

    def add(self, project: str, transactions: Iterable[Transaction]) -> int:
        """Add the facts of `transactions` of `project`; how many transactions there were. Unknown ops are left out.

        Raises: IntegrityError for an op that no client of ours writes.
        """
        count = 0
        for transaction in transactions:
            count += 1
            for index, op in enumerate(transaction.ops):
                rows = _ROWS.get(op.get("op", ""))
                if rows is not None:
                    actor = actor_of(op, transaction)
                    common = {
                        "project": project,
                        "time": time_of(op, transaction),
                        "user_name": actor.get("user"),
                        "host": actor.get("host"),
                    }
                    position = position_of(transaction.seq, index)
                    try:
                        for table, row in rows(project, op):
                            self._append(table, {**common, "position": position, **row})
                    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
                        raise IntegrityError(
                            f"transaction {transaction.seq} of {project}: op {str(op)[:200]!a} is malformed"
                            f" ({str(error)[:200]})"
                        ) from error
        return count

    def _append(self, table: str, row: Mapping[str, Any]) -> None:
        for column, cells in self.columns[table].items():
            cells.append(row.get(column))


_Row = tuple[str, dict[str, Any]]


def _json(op: Op, key: str) -> str | None:
    return json.dumps(op[key], sort_keys=True, ensure_ascii=False) if key in op else None


def _version_id(project: str, op: Op) -> str:
    return f"{project}/{op['collection']}:v{op['version']}"


def _run_id(project: str, run: str | None) -> str | None:
    return None if run is None else f"{project}/{run}"


def _collection(project: str, op: Op) -> list[_Row]:
    row = {key: op.get(key) for key in ("collection", "type", "description")}
    return [("collection_events", {**row, "tags": _json(op, "tags")})]


def _create(project: str, op: Op) -> list[_Row]:
    version_id = _version_id(project, op)
    copied = (
        "collection",
        "version",
        "digest",
        "size_bytes",
        "file_count",
        "reference_count",
        "description",
        "ttl_s",
        "step",
    )
    row = {
        "version_id": version_id,
        **{key: op.get(key) for key in copied},
        "metadata": _json(op, "metadata"),
        "tags": _json(op, "tags"),
        "run_id": _run_id(project, op["run"]),
    }
    references: list[_Row] = [
        ("version_references", {"version_id": version_id, "path": path, "uri": uri})
        for path, uri in op.get("references", ())
    ]
    source = op.get("source") or op.get("linked_from")
    link = {"source_id": source, "link_id": version_id, "is_new": True}
    links: list[_Row] = [("version_links", link)] if source else []
    return [("version_creations", row), *references, *links, *_same(project, op)]


def _same(project: str, op: Op) -> list[_Row]:
    if "origin" not in op:
        return []
    return [("version_origins", {"version_id": _version_id(project, op), "origin": op["origin"]})]


def _revise(project: str, op: Op) -> list[_Row]:
    row = {
        "version_id": _version_id(project, op),
        "metadata": _json(op, "metadata"),
        "description": op.get("description"),
        "tags": _json(op, "tags"),
        # An aggregate passes over NULL; that a version is kept for ever again has to be a value.
        "ttl_s": -1 if "ttl_s" in op and op["ttl_s"] is None else op.get("ttl_s"),
    }
    return [("version_revisions", row)]


def _delete(project: str, op: Op) -> list[_Row]:
    is_restored = op["op"] == "version.restore"
    row = {"version_id": _version_id(project, op), "is_restored": is_restored, "reason": op.get("reason")}
    return [("version_deletions", row)]


def _link(project: str, op: Op) -> list[_Row]:
    """A link as the source's log tells of it; the catalog keeps one row if it has both logs."""
    row = {
        "source_id": _version_id(project, op),
        "link_id": op["target"],
        "is_new": op["new"],
        "run_id": op["run"],
    }
    return [("version_links", row)]


def _move(project: str, op: Op) -> list[_Row]:
    row = {
        "collection": op["collection"],
        "alias": op["alias"],
        "from_version": op["from"],
        "to_version": op["to"],
    }
    return [("alias_moves", row)]


def _protect(project: str, op: Op) -> list[_Row]:
    row = {"collection": op["collection"], "alias": op["alias"], "reason": op.get("reason")}
    return [("alias_protections", {**row, "is_protected": op["protected"]})]


def _promote(project: str, op: Op) -> list[_Row]:
    """A promotion is a decision and the move of an alias; a refusal is a decision."""
    copied = ("collection", "alias", "digest", "number", "previous", "kind", "verdict", "reason")
    row = {
        **{key: op.get(key) for key in copied},
        "from_version": op["from"],
        "to_version": op["to"],
        **{key: _json(op, key) for key in ("policies", "clauses", "approvals", "envelope")},
    }
    if op["op"] != "alias.promote":
        return [("promotion_decisions", row)]
    return [
        ("promotion_decisions", row),
        *((t, {**r, "promotion": op["number"]}) for t, r in _move(project, op)),
    ]


def _approve(project: str, op: Op) -> list[_Row]:
    row = {
        "version_id": _version_id(project, op),
        **{key: op.get(key) for key in ("alias", "id", "digest", "comment")},
        "is_revoked": op["op"] == "approval.revoke",
        "envelope": _json(op, "envelope"),
    }
    return [("approval_events", row)]


def _policy(project: str, op: Op) -> list[_Row]:
    if "policy" not in op:
        return []
    said = op["policy"] or {}
    row = {"collection": op.get("collection"), "digest": said.get("digest"), "text": said.get("text")}
    return [("policy_events", row)]


def _attestation(project: str, op: Op) -> list[_Row]:
    row = {key: op[key] for key in ("collection", "version", "kind")}
    return [
        (
            "signed_statements",
            {**row, "version_id": _version_id(project, op), "envelope": _json(op, "envelope")},
        )
    ]


def _use(project: str, op: Op) -> list[_Row]:
    row = {
        "run_id": _run_id(project, op["run"]),
        "version_id": _version_id(op["project"], op),
        "role": op["role"],
    }
    return [("uses", row)]


def _used_by(project: str, op: Op) -> list[_Row]:
    """A use mirrored by a run of another project; the catalog keeps one row if it has both logs."""
    row = {
        "run_id": _run_id(op["project"], op["run"]),
        "version_id": _version_id(project, op),
        "role": op["role"],
    }
    return [("uses", row)]


def _produce(project: str, op: Op) -> list[_Row]:
    version_id = _version_id(op.get("project", project), op)  # of one that was left in another store
    run_id, derived = _run_id(project, op["run"]), op["derived_from"]
    row = {"run_id": run_id, "version_id": version_id, "is_new": op["new"], "exact": derived is not None}
    inputs: list[_Row] = [
        ("derivations", {"run_id": run_id, "output_id": version_id, "input_id": name})
        for name in derived or ()
    ]
    return [("productions", row), *inputs]


def _run(project: str, op: Op) -> list[_Row]:
    # Of one that was offline, and of one that crashed: when it was last heard of.
    then = op.get("started_at") or op.get("ended_at")
    row = {
        "run_id": _run_id(project, op["run"]),
        "run": op["run"],
        "event": op["op"],
        "group_name": op.get("group"),
        **{key: op.get(key) for key in ("writer", "name", "job_type", "notes", "exit_code", "error")},
        **{key: _json(op, key) for key in ("tags", "config", "summary", "capture", "files", "history")},
        "state": op.get("state"),
        **({"time": then} if is_time(then) else {}),
    }
    alerts: list[_Row] = [
        ("run_alerts", {"run_id": row["run_id"], "sent_s": alert.get("at_s"), **_alert(alert)})
        for alert in op.get("alerts", ())
    ]
    return [("run_events", row), *alerts]


def _inputs(project: str, op: Op) -> list[_Row]:
    run_id = _run_id(project, op["run"])
    listed: list[_Row] = [
        ("run_inputs", {"run_id": run_id, **{key: found[key] for key in ("uri", "digest", "size_bytes")}})
        for found in op["inputs"]
    ]
    return [*listed, ("run_inputs", {"run_id": run_id, "omitted": op["omitted"]})]


def _alert(alert: Mapping[str, Any]) -> dict[str, Any]:
    return {key: alert.get(key) for key in ("title", "text", "level")}


_ROWS: Mapping[str, Callable[[str, Op], Sequence[_Row]]] = {
    "collection.create": _collection,
    "collection.revise": _collection,
    "version.create": _create,
    "version.same": _same,
    "version.revise": _revise,
    "version.delete": _delete,
    "version.restore": _delete,
    "version.link": _link,
    "alias.move": _move,
    "alias.protect": _protect,
    "alias.promote": _promote,
    "promotion.refuse": _promote,
    "approval.give": _approve,
    "approval.revoke": _approve,
    "collection.policy": _policy,
    "registry.revise": _policy,
    "attestation.add": _attestation,
    "edge.use": _use,
    "edge.used_by": _used_by,
    "edge.produce": _produce,
    "run.start": _run,
    "run.join": _run,
    "run.update": _run,
    "run.files": _run,
    "run.inputs": _inputs,
    "run.finish": _run,
    "run.delete": _run,
}
