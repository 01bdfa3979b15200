"""The catalog's SQL: base tables of facts, and the views that say what is true now. Documented in docs/catalog.md.

Times are plain TIMESTAMPs in UTC: of those with a time zone DuckDB makes Python values only where pytz is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .facts import TABLES

_OF_THE_READER = {"disbelieved_moves": {"project": "VARCHAR", "position": "BIGINT"}}  # no facts of the log


def base_tables() -> str:
    """CREATE TABLE for every base table, and for what those do not believe who trust some keys only."""
    return "\n".join(
        f"CREATE TABLE {table} ({', '.join(f'{column} {kind}' for column, kind in columns.items())});"
        for table, columns in {**TABLES, **_OF_THE_READER}.items()
    )


# A time as the log writes it (RFC 3339), for those who read it from a view.
LOG_TIME = "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')"

_VIEWS: Mapping[str, str] = {  # in an order in which each needs those before it only
    "collections": """
SELECT project, collection, max(type) AS type, arg_max(description, position) AS description,
       coalesce(from_json(arg_max(tags, position), '["VARCHAR"]'), []) AS tags, min(time)::TIMESTAMP AS created_at
FROM collection_events GROUP BY ALL""",
    # `is_ignored`: beside promotion, when the alias was protected; or by nobody whom this reader trusts
    "alias_history": """
SELECT m.project, m.collection, m.alias, m.from_version, m.to_version, m.promotion, m.user_name, m.host,
       m.time::TIMESTAMP AS time,
       (m.promotion IS NULL AND coalesce(p.is_protected, false))
       OR (m.project, m.position) IN (SELECT (project, position) FROM disbelieved_moves) AS is_ignored, m.position
FROM alias_moves m ASOF LEFT JOIN alias_protections p
  ON m.project = p.project AND m.collection = p.collection AND m.alias = p.alias AND m.position >= p.position""",
    "aliases": """
SELECT project, collection, alias, version, project || '/' || collection || ':v' || version AS version_id, moved_at
FROM (SELECT project, collection, alias, arg_max(struct_pack(v := to_version), position).v AS version,
             max(time) AS moved_at
      FROM alias_history WHERE NOT is_ignored GROUP BY project, collection, alias)
WHERE version IS NOT NULL""",
    "protections": """
SELECT project, collection, alias, since, reason
FROM (SELECT project, collection, alias, arg_max(is_protected, position) AS holds, max(time)::TIMESTAMP AS since,
             arg_max(reason, position) AS reason
      FROM alias_protections GROUP BY project, collection, alias)
WHERE holds""",
    # a refusal has no number
    "promotions": """
SELECT project, collection, alias, number, kind, verdict, from_version, to_version,
       project || '/' || collection || ':v' || to_version AS version_id, digest, reason, policies::JSON AS policies,
       clauses::JSON AS clauses, approvals::JSON AS approvals, envelope::JSON AS envelope, previous, user_name, host,
       time::TIMESTAMP AS time, position
FROM promotion_decisions""",
    # each once, whoever says it again; a revoked one is none
    "approvals": """
SELECT version_id, alias, id, arg_min(comment, position) AS comment, arg_min(digest, position) AS digest,
       arg_min(envelope, position)::JSON AS envelope, arg_min(user_name, position) AS user_name,
       arg_min(host, position) AS host, min(time)::TIMESTAMP AS time, min(position) AS position
FROM approval_events GROUP BY project, version_id, alias, id HAVING NOT bool_or(is_revoked)""",
    "policies": """
SELECT project, collection, said.d AS digest, said.t AS text, set_at, user_name
FROM (SELECT project, collection, arg_max(struct_pack(d := digest, t := text), position) AS said,
             max(time)::TIMESTAMP AS set_at, arg_max(user_name, position) AS user_name
      FROM policy_events GROUP BY project, collection)
WHERE said.d IS NOT NULL""",
    "versions": """
WITH revised AS (
    SELECT version_id, arg_max(metadata, position) AS metadata, arg_max(description, position) AS description,
           arg_max(tags, position) AS tags, arg_max(ttl_s, position) AS ttl_s, max(time) AS updated_at
    FROM version_revisions GROUP BY version_id)
SELECT c.version_id, c.project, c.collection, t.type, c.version, c.digest, c.size_bytes, c.file_count,
       c.reference_count, coalesce(r.metadata, c.metadata)::JSON AS metadata,
       coalesce(r.description, c.description) AS description,
       from_json(coalesce(r.tags, c.tags), '["VARCHAR"]') AS tags, nullif(coalesce(r.ttl_s, c.ttl_s), -1) AS ttl_s,
       c.run_id, c.step, coalesce(r.updated_at, c.time)::TIMESTAMP AS updated_at,
       c.user_name, c.host, c.time::TIMESTAMP AS created_at, d.version_id IS NOT NULL AS deleted,
       coalesce(a.aliases, []) AS aliases, c.position
FROM version_creations c
LEFT JOIN revised r USING (version_id)
LEFT JOIN (SELECT version_id FROM version_deletions GROUP BY 1 HAVING NOT arg_max(is_restored, position)) d
    USING (version_id)
LEFT JOIN collections t ON t.project = c.project AND t.collection = c.collection
LEFT JOIN (SELECT version_id, list(alias ORDER BY alias <> 'latest', alias) AS aliases FROM aliases GROUP BY 1) a
    USING (version_id)""",
    "links": """
SELECT link_id, source_id, bool_or(is_new) AS is_new, max(run_id) AS run_id, min(time)::TIMESTAMP AS time,
       min(position) AS position
FROM version_links GROUP BY link_id, source_id""",
    "tags": """
SELECT version_id, project, collection, version, unnest(tags) AS tag FROM versions WHERE NOT deleted""",
    # of the log; whether a run that is "running" there still lives, only its heartbeat tells
    "run_states": """
WITH joined AS (
    SELECT run_id, coalesce(writer, '') AS writer, max(position) AS at
    FROM run_events WHERE event IN ('run.start', 'run.join') GROUP BY ALL),
ended AS (
    SELECT run_id, coalesce(writer, '') AS writer, max(position) AS at, arg_max(state, position) AS state
    FROM run_events WHERE event = 'run.finish' GROUP BY ALL),
latest AS (
    SELECT e.run_id, max(e.at) AS at, arg_max(e.state, e.at) AS state, arg_max(j.at, e.at) AS joined
    FROM ended e LEFT JOIN joined j USING (run_id, writer) GROUP BY e.run_id),
still_open AS (SELECT DISTINCT run_id FROM joined ANTI JOIN ended USING (run_id, writer)),
failed AS ( -- one process of several that worked at the same time
    SELECT e.run_id, arg_max(e.state, e.at) AS state
    FROM ended e JOIN latest l USING (run_id) WHERE e.state <> 'finished' AND e.at > l.joined GROUP BY e.run_id)
SELECT run_id, CASE WHEN o.run_id IS NOT NULL OR l.run_id IS NULL THEN 'running' ELSE coalesce(f.state, l.state) END
       AS state
FROM (SELECT DISTINCT run_id FROM run_events) r
LEFT JOIN latest l USING (run_id) LEFT JOIN still_open o USING (run_id) LEFT JOIN failed f USING (run_id)""",
    # each event has the keys that it changed
    "merged_config": """
WITH said AS (SELECT run_id, config AS values, position FROM run_events WHERE config IS NOT NULL),
several AS (SELECT run_id FROM said GROUP BY run_id HAVING count(*) > 1)
SELECT run_id, values::JSON AS config FROM said ANTI JOIN several USING (run_id)
UNION ALL
SELECT run_id, ('{' || string_agg(to_json(key)::VARCHAR || ':' || value::VARCHAR, ',' ORDER BY key) || '}')::JSON
       AS config
FROM (SELECT run_id, j.key AS key, arg_max(j.value, position) AS value
      FROM (FROM said SEMI JOIN several USING (run_id)), json_each(values) j GROUP BY run_id, j.key)
WHERE value::VARCHAR <> '{"_deleted":true}' GROUP BY run_id""",
    # each event has the keys that it changed
    "merged_summary": """
WITH said AS (SELECT run_id, summary AS values, position FROM run_events WHERE summary IS NOT NULL),
several AS (SELECT run_id FROM said GROUP BY run_id HAVING count(*) > 1)
SELECT run_id, values::JSON AS summary FROM said ANTI JOIN several USING (run_id)
UNION ALL
SELECT run_id, ('{' || string_agg(to_json(key)::VARCHAR || ':' || value::VARCHAR, ',' ORDER BY key) || '}')::JSON
       AS summary
FROM (SELECT run_id, j.key AS key, arg_max(j.value, position) AS value
      FROM (FROM said SEMI JOIN several USING (run_id)), json_each(values) j GROUP BY run_id, j.key)
WHERE value::VARCHAR <> '{"_deleted":true}' GROUP BY run_id""",
    "runs": """
SELECT run_id, max(project) AS project, max(run) AS run, arg_max(name, position) AS name,
       arg_max(job_type, position) AS job_type, arg_max(group_name, position) AS group_name,
       from_json(arg_max(tags, position), '["VARCHAR"]') AS tags, arg_max(notes, position) AS notes,
       any_value(s.state) AS state,
       CASE WHEN any_value(s.state) <> 'running' THEN arg_max(exit_code, position) END AS exit_code,
       CASE WHEN any_value(s.state) NOT IN ('running', 'finished') THEN arg_max(error, position) END AS error,
       any_value(c.config) AS config, any_value(m.summary) AS summary,
       arg_max(capture, position)::JSON AS capture, arg_max(user_name, position) AS user_name,
       arg_max(e.host, position) AS host, min(time)::TIMESTAMP AS created_at,
       CASE WHEN any_value(s.state) <> 'running'
            THEN max(time) FILTER (event = 'run.finish')::TIMESTAMP END AS finished_at
FROM run_events e JOIN run_states s USING (run_id)
LEFT JOIN merged_config c USING (run_id) LEFT JOIN merged_summary m USING (run_id)
GROUP BY run_id HAVING NOT bool_or(event = 'run.delete')""",
    "run_files": """
SELECT run_id, files ->> 'digest' AS digest, from_json(files -> 'packs', '["VARCHAR"]') AS packs,
       from_json(files -> 'meta_packs', '["VARCHAR"]') AS meta_packs, (files ->> 'file_count')::BIGINT AS file_count,
       (files ->> 'size_bytes')::BIGINT AS size_bytes, position
FROM run_events WHERE files IS NOT NULL""",
    # as they were added: whether a signature fits, only the keys tell
    "attestations": """
SELECT version_id, project, collection, version, kind,
       json_extract_string(envelope, '$.signatures[*].keyid') AS key_ids, envelope::JSON AS envelope,
       user_name, host, time::TIMESTAMP AS time, position
FROM signed_statements""",
    # of a run that several processes have ended, each file once
    "untracked_inputs": """
SELECT run_id, uri, arg_max(struct_pack(v := digest), position).v AS digest,
       arg_max(struct_pack(v := size_bytes), position).v AS size_bytes
FROM run_inputs WHERE uri IS NOT NULL GROUP BY run_id, uri""",
    "alerts": """
SELECT run_id, project, title, text, level, make_timestamp((sent_s * 1000000)::BIGINT) AS sent_at FROM run_alerts""",
    "config": """
SELECT run_id, key, text AS value, try_cast(text AS DOUBLE) AS number
FROM (SELECT run_id, key, coalesce(value ->> '$._float', value ->> '$') AS text FROM runs, json_each(config))""",
    "summary": """
SELECT run_id, key, text AS value, try_cast(text AS DOUBLE) AS number
FROM (SELECT run_id, key, coalesce(value ->> '$._float', value ->> '$') AS text FROM runs, json_each(summary))""",
    "edges": """
SELECT run_id, 'used' AS kind, version_id, max(role) AS role, NULL AS is_new, NULL AS exact,
       min(time)::TIMESTAMP AS time,
       coalesce(min(position) FILTER (starts_with(run_id, project || '/')), min(position)) AS position
FROM uses GROUP BY run_id, version_id
UNION ALL
SELECT run_id, 'produced', version_id, NULL, is_new, exact, time::TIMESTAMP, position FROM productions""",
}

VIEWS = "\n".join(f"CREATE VIEW {name} AS {query};" for name, query in _VIEWS.items())

# Base tables of a view → which of their rows the wanted ones need; `wanted` has their keys in the column `id`.
_VERSION = "WHERE version_id IN (FROM wanted)"
_COLLECTION = (
    "WHERE collection IN (SELECT collection FROM version_creations)"  # of other projects, too: not met
)
_NEEDED: Mapping[str, Mapping[str, str]] = {
    "versions": {
        "version_creations": _VERSION,
        "version_revisions": _VERSION,
        "version_deletions": _VERSION,
        "collection_events": _COLLECTION,
        "alias_moves": _COLLECTION,
        "alias_protections": _COLLECTION,
    },
    "runs": {"run_events": "WHERE run_id IN (FROM wanted)"},
}
_THROUGH = {
    "versions": ("collections", "alias_history", "aliases"),
    "runs": ("run_states", "merged_config", "merged_summary"),
}


def rows_where(table: str, rows: str) -> str:
    """A condition for `table`: the rows of ``SELECT rowid FROM table rows``.

    To look for them by their number reads the other columns where they are, an eighth of the time for a million rows.
    """
    return f"rowid IN (SELECT rowid FROM {table} {rows})"


def among(view: Literal["versions", "runs"], columns: str) -> str:
    """A query of a view for some rows, with their ids as a list for its one parameter: ``SELECT columns FROM view``.

    The view itself says the same, but aggregates all events first: a second for a million runs.
    """
    narrowed = [
        f"{table} AS MATERIALIZED (SELECT * FROM main.{table} WHERE {rows_where(f'main.{table}', rows)})"
        for table, rows in _NEEDED[view].items()
    ]
    through = [f"{name} AS ({_VIEWS[name]})" for name in (*_THROUGH[view], view)]
    tables = ", ".join(["wanted AS (SELECT unnest(?::VARCHAR[]) AS id)", *narrowed, *through])
    return f"WITH {tables} SELECT {columns} FROM {view}"


PUBLIC = (
    "collections",
    "versions",
    "links",
    "aliases",
    "alias_history",
    "protections",
    "promotions",
    "approvals",
    "policies",
    "tags",
    "runs",
    "run_files",
    "attestations",
    "untracked_inputs",
    "alerts",
    "config",
    "summary",
    "edges",
    "derivations",
    "version_references",
)
