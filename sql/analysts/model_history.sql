-- Every model version that was trained, the newest first: what it was made from, what its report measured at γ = 1,
-- and the latest decision on it. The table `model_metrics` has the other γ, with intervals.
-- gives: model_version, model_day, recipe, seed, trained_at, lake_snapshot (what it was trained on), code_version,
--   run_id; recall_at_20, recall_at_100, ndcg_at_20, beyond_head_at_20, coverage_at_20, gini_at_20, delta,
--   popular_recall_at_20 (of most popular) and report_version, all null where there is no report, or a later model of
--   the same day took its place; served; decision, reasons, decided_at, null where none was made.
-- example: SELECT model_version, recipe, recall_at_20, coverage_at_20, served, decision FROM model_history
CREATE OR REPLACE VIEW lake.main.model_history AS
WITH
measured AS (
    SELECT
        model_version,
        any_value(value) FILTER (model = 'two_tower' AND metric = 'recall' AND k = 20 AND bucket = 'all')
            AS recall_at_20,
        any_value(value) FILTER (model = 'two_tower' AND metric = 'recall' AND k = 100 AND bucket = 'all')
            AS recall_at_100,
        any_value(value) FILTER (model = 'two_tower' AND metric = 'ndcg' AND k = 20 AND bucket = 'all') AS ndcg_at_20,
        any_value(value) FILTER (model = 'two_tower' AND metric = 'recall' AND k = 20 AND bucket = 'beyond_head')
            AS beyond_head_at_20,
        any_value(value) FILTER (model = 'two_tower' AND metric = 'coverage' AND k = 20) AS coverage_at_20,
        any_value(value) FILTER (model = 'two_tower' AND metric = 'gini' AND k = 20) AS gini_at_20,
        any_value(value) FILTER (model = 'most_popular' AND metric = 'recall' AND k = 20 AND bucket = 'all')
            AS popular_recall_at_20
    FROM lake.main.model_metrics
    WHERE popularity_weight = 1 OR popularity_weight IS NULL
    GROUP BY model_version
),
missing AS (
    SELECT model_version, any_value(delta) AS delta
    FROM lake.main.popularity_diagnostics
    WHERE popularity_weight = 1
    GROUP BY model_version
),
reported AS (
    SELECT upstream ->> '$.artifacts[0].version' AS model_version, max_by(version, created_at) AS report_version
    FROM lake.main.artifacts
    WHERE asset = 'popularity_bias_report'
    GROUP BY ALL
),
decided AS (
    SELECT
        model_version,
        unnest(max_by({'decision': decision, 'reasons': reasons, 'decided_at': decided_at}, decided_at))
    FROM lake.main.champion_decisions
    GROUP BY model_version
)
SELECT
    trained.version AS model_version,
    trained.model_day,
    trained.recipe,
    trained.seed,
    trained.created_at AS trained_at,
    trained.lake_snapshot,
    trained.code_version,
    trained.run_id,
    measured.* EXCLUDE (model_version, popular_recall_at_20),
    missing.delta,
    measured.popular_recall_at_20,
    reported.report_version,
    trained.version IN (SELECT model_version FROM lake.main.champion) AS served,
    decided.decision,
    decided.reasons,
    decided.decided_at
FROM lake.main.artifacts AS trained
LEFT JOIN measured ON measured.model_version = trained.version
LEFT JOIN missing ON missing.model_version = trained.version
LEFT JOIN reported ON reported.model_version = trained.version
LEFT JOIN decided ON decided.model_version = trained.version
WHERE trained.asset = 'tower_checkpoint'
ORDER BY trained.created_at DESC
