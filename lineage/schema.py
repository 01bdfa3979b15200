"""The catalog's SQL: base tables of facts, and the views that say what is true now. Documented in docs/catalog.md.

Times are plain TIMESTAMPs in UTC: of those with a time zone DuckDB makes Python values only where pytz is installed.
"""

from __future__ import annotations

from .facts import TABLES


def base_tables() -> str:
    """CREATE TABLE for every base table."""
    return "\n".join(
        f"CREATE TABLE {table} ({', '.join(f'{column} {kind}' for column, kind in columns.items())});"
        for table, columns in TABLES.items()
    )


# A time as the log writes it (RFC 3339), for those who read it from a view.
LOG_TIME = "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')"

VIEWS = """
CREATE VIEW collections AS
SELECT project, collection, max(type) AS type, arg_max(description, position) AS description,
       min(time)::TIMESTAMP AS created_at
FROM collection_events GROUP BY ALL;

CREATE VIEW aliases AS
SELECT project, collection, alias, version, project || '/' || collection || ':v' || version AS version_id, moved_at
FROM (SELECT project, collection, alias, arg_max(struct_pack(v := to_version), position).v AS version,
             max(time)::TIMESTAMP AS moved_at
      FROM alias_moves GROUP BY project, collection, alias)
WHERE version IS NOT NULL;

CREATE VIEW alias_history AS
SELECT project, collection, alias, from_version, to_version, user_name, host, time::TIMESTAMP AS time, position
FROM alias_moves;

CREATE VIEW versions AS
WITH revised AS (
    SELECT version_id, arg_max(metadata, position) AS metadata, arg_max(description, position) AS description,
           arg_max(tags, position) AS tags, arg_max(ttl_s, position) AS ttl_s
    FROM version_revisions GROUP BY version_id)
SELECT c.version_id, c.project, c.collection, t.type, c.version, c.digest, c.size_bytes, c.file_count,
       c.reference_count, coalesce(r.metadata, c.metadata)::JSON AS metadata,
       coalesce(r.description, c.description) AS description,
       from_json(coalesce(r.tags, c.tags), '["VARCHAR"]') AS tags, coalesce(r.ttl_s, c.ttl_s) AS ttl_s, c.run_id,
       c.user_name, c.host, c.time::TIMESTAMP AS created_at, d.version_id IS NOT NULL AS deleted,
       coalesce(a.aliases, []) AS aliases, c.position
FROM version_creations c
LEFT JOIN revised r USING (version_id)
LEFT JOIN (SELECT DISTINCT version_id FROM version_deletions) d USING (version_id)
LEFT JOIN collections t ON t.project = c.project AND t.collection = c.collection
LEFT JOIN (SELECT version_id, list(alias ORDER BY alias <> 'latest', alias) AS aliases FROM aliases GROUP BY 1) a
    USING (version_id);

CREATE VIEW tags AS
SELECT version_id, project, collection, version, unnest(tags) AS tag FROM versions WHERE NOT deleted;

CREATE VIEW runs AS
SELECT run_id, max(project) AS project, max(run) AS run, arg_max(name, position) AS name,
       arg_max(job_type, position) AS job_type, arg_max(group_name, position) AS group_name,
       from_json(arg_max(tags, position), '["VARCHAR"]') AS tags, arg_max(notes, position) AS notes,
       arg_max(state, position) AS state, arg_max(exit_code, position) AS exit_code, arg_max(error, position) AS error,
       arg_max(config, position)::JSON AS config, arg_max(summary, position)::JSON AS summary,
       arg_max(capture, position)::JSON AS capture, arg_max(user_name, position) AS user_name,
       arg_max(host, position) AS host, min(time)::TIMESTAMP AS created_at,
       max(time) FILTER (event = 'run.finish')::TIMESTAMP AS finished_at
FROM run_events GROUP BY run_id;

CREATE VIEW config AS
SELECT run_id, key, text AS value, try_cast(text AS DOUBLE) AS number
FROM (SELECT run_id, key, coalesce(value ->> '$._float', value ->> '$') AS text FROM runs, json_each(config));

CREATE VIEW summary AS
SELECT run_id, key, text AS value, try_cast(text AS DOUBLE) AS number
FROM (SELECT run_id, key, coalesce(value ->> '$._float', value ->> '$') AS text FROM runs, json_each(summary));

CREATE VIEW edges AS
SELECT run_id, 'used' AS kind, version_id, max(role) AS role, NULL AS is_new, NULL AS exact,
       min(time)::TIMESTAMP AS time,
       coalesce(min(position) FILTER (starts_with(run_id, project || '/')), min(position)) AS position
FROM uses GROUP BY run_id, version_id
UNION ALL
SELECT run_id, 'produced', version_id, NULL, is_new, exact, time::TIMESTAMP, position FROM productions;
"""
PUBLIC = (
    "collections",
    "versions",
    "aliases",
    "alias_history",
    "tags",
    "runs",
    "config",
    "summary",
    "edges",
    "derivations",
    "version_references",
)
