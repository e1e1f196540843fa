-- The lineage of an artifact, down to the sources: the upstream artifacts, the tables that they read, the tables that
-- those are derived from, and the commits that wrote the rows.
-- arguments: artifact: an asset, which stands for its newest version; a version; or asset/version.
-- gives: depth; kind, 'artifact' or 'table'; name; version (of an artifact); snapshot_read, the lake snapshot at which
--   a table was read, or from which an artifact was made; written_at_snapshot, first_day, last_day, partitions: one row
--   for each commit whose partitions were still current when the table was read, with the days of these partitions;
--   run_id. For a table that another table is derived from, all days up to the last day read are listed, because the
--   lake does not store the length of windows; `twotower lineage` limits them to the window.
-- errors: a null or unknown artifact.
-- example: FROM lineage_of('tower_checkpoint')
CREATE OR REPLACE MACRO lake.main.lineage_of(artifact) AS TABLE
WITH RECURSIVE
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT artifact::VARCHAR AS _artifact),
newest AS (
    SELECT
        arguments._artifact,
        (
            SELECT max_by({'name': made.asset, 'version': made.version}, made.rowid)
            FROM lake.main.artifacts AS made
            WHERE arguments._artifact IN (made.asset, made.version, made.asset || '/' || made.version)
        ) AS found
    FROM arguments
),
validated AS (
    SELECT
        CASE
            WHEN newest._artifact IS NULL THEN error('lineage_of: expected an artifact, found null')
            WHEN newest.found IS NULL THEN error(
                'lineage_of: there is no artifact ''' || newest._artifact
                || '''; name an asset, a version or asset/version from the table artifacts'
            )
            ELSE newest.found
        END AS found
    FROM newest
),
-- MATERIALIZED is required: DuckDB 1.5.5 loses rows of a DISTINCT that is recomputed in each step of a recursion on
-- several threads.
edges AS MATERIALIZED (
    SELECT
        asset AS to_name,
        version AS to_version,
        'artifact' AS kind,
        used ->> 'asset' AS name,
        used ->> 'version' AS version,
        NULL::BIGINT AS snapshot,
        NULL::DATE AS first_day,
        NULL::DATE AS last_day
    FROM (SELECT asset, version, unnest(upstream -> '$.artifacts[*]') AS used FROM lake.main.artifacts)
    UNION ALL
    SELECT
        asset,
        version,
        'table',
        used ->> 'table',
        NULL,
        (used ->> 'snapshot')::BIGINT,
        (used ->> 'first_day')::DATE,
        (used ->> 'last_day')::DATE
    FROM (SELECT asset, version, unnest(upstream -> '$.tables[*]') AS used FROM lake.main.artifacts)
    UNION ALL
    SELECT DISTINCT table_name, NULL, 'table', from_table, NULL, NULL::BIGINT, NULL::DATE, NULL::DATE
    FROM lake.main.column_lineage
),
chain AS (
    SELECT
        0 AS depth,
        'artifact' AS kind,
        found.name AS name,
        found.version AS version,
        NULL::BIGINT AS snapshot,
        NULL::DATE AS first_day,
        NULL::DATE AS last_day
    FROM validated
    UNION
    SELECT
        chain.depth + 1,
        edges.kind,
        edges.name,
        edges.version,
        coalesce(edges.snapshot, chain.snapshot),
        edges.first_day,
        coalesce(edges.last_day, chain.last_day)
    FROM chain
    JOIN edges ON edges.to_name = chain.name AND edges.to_version IS NOT DISTINCT FROM chain.version
),
nodes AS (
    SELECT min(depth) AS depth, kind, name, version, snapshot, min(first_day) AS first_day, max(last_day) AS last_day
    FROM chain
    GROUP BY kind, name, version, snapshot
),
writes AS (
    SELECT
        snapshot_id,
        commit_extra_info ->> 'run_id' AS run_id,
        (commit_extra_info ->> 'first_day')::DATE AS first_day,
        (commit_extra_info ->> 'last_day')::DATE AS last_day,
        unnest((commit_extra_info -> 'tables')::VARCHAR[]) AS name
    FROM ducklake_snapshots('lake')
),
partitions AS (
    SELECT snapshot_id, run_id, name, unnest(generate_series(first_day, last_day, INTERVAL 1 DAY))::DATE AS day
    FROM writes
    WHERE first_day IS NOT NULL
    UNION ALL
    SELECT snapshot_id, run_id, name, NULL
    FROM writes
    WHERE first_day IS NULL
),
current_partitions AS (
    SELECT
        nodes.name,
        nodes.snapshot,
        partitions.day,
        max(partitions.snapshot_id) AS snapshot_id,
        max_by(partitions.run_id, partitions.snapshot_id) AS run_id
    FROM nodes
    JOIN partitions
        ON partitions.name = nodes.name
        AND partitions.snapshot_id <= nodes.snapshot
        AND coalesce(partitions.day >= nodes.first_day, true)
        AND coalesce(partitions.day <= nodes.last_day, true)
    GROUP BY nodes.name, nodes.snapshot, partitions.day
),
commits AS (
    SELECT
        name,
        snapshot,
        snapshot_id,
        any_value(run_id) AS run_id,
        min(day) AS first_day,
        max(day) AS last_day,
        nullif(count(day), 0) AS partitions
    FROM current_partitions
    GROUP BY name, snapshot, snapshot_id
)
SELECT
    nodes.depth,
    nodes.kind,
    nodes.name,
    nodes.version,
    coalesce(nodes.snapshot, made.lake_snapshot) AS snapshot_read,
    commits.snapshot_id AS written_at_snapshot,
    coalesce(commits.first_day, made.model_day) AS first_day,
    coalesce(commits.last_day, made.model_day) AS last_day,
    commits.partitions,
    coalesce(commits.run_id, made.run_id) AS run_id
FROM nodes
LEFT JOIN lake.main.artifacts AS made ON made.asset = nodes.name AND made.version = nodes.version
LEFT JOIN commits ON commits.name = nodes.name AND commits.snapshot = nodes.snapshot AND nodes.kind = 'table'
ORDER BY nodes.depth, nodes.kind, nodes.name, commits.snapshot_id
