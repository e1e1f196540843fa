-- Every model version that was trained, the newest first: its inputs, the metrics of its report at γ = 1, and the latest
-- promotion decision on it. The table `model_metrics` has the other γ, with intervals.
-- gives: model_version, model_day, recipe, seed, trained_at, lake_snapshot (that it was trained on), code_version,
--   run_id, commit_order (grows with every commit, whatever the clocks of machines say); recall_at_20, recall_at_100,
--   ndcg_at_20, beyond_head_at_20, coverage_at_20, gini_at_20, delta, popular_recall_at_20 (of the baseline most
--   popular) and report_version, all null without a report; served; decision, reasons, decided_at, null without a
--   decision.
-- example: SELECT model_version, recipe, recall_at_20, coverage_at_20, served, decision FROM model_history
CREATE OR REPLACE VIEW lake.main.model_history AS
WITH
reported AS (
    SELECT
        upstream ->> '$.artifacts[0].version' AS model_version,
        max_by(version, artifacts.rowid) AS report_version,
        max_by(details, artifacts.rowid) AS measured
    FROM lake.main.artifacts
    WHERE asset = 'popularity_bias_report'
    GROUP BY ALL
),
decided AS (
    SELECT
        model_version,
        unnest(max_by({'decision': decision, 'reasons': reasons, 'decided_at': decided_at}, champion_decisions.rowid))
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
    trained.rowid AS commit_order,
    (reported.measured ->> 'recall_at_20')::DOUBLE AS recall_at_20,
    (reported.measured ->> 'recall_at_100')::DOUBLE AS recall_at_100,
    (reported.measured ->> 'ndcg_at_20')::DOUBLE AS ndcg_at_20,
    (reported.measured ->> 'beyond_head_at_20')::DOUBLE AS beyond_head_at_20,
    (reported.measured ->> 'coverage_at_20')::DOUBLE AS coverage_at_20,
    (reported.measured ->> 'gini_at_20')::DOUBLE AS gini_at_20,
    (reported.measured ->> 'delta')::DOUBLE AS delta,
    (reported.measured ->> 'popular_recall_at_20')::DOUBLE AS popular_recall_at_20,
    reported.report_version,
    trained.version IN (SELECT model_version FROM lake.main.champion) AS served,
    decided.decision,
    decided.reasons,
    decided.decided_at
FROM lake.main.artifacts AS trained
LEFT JOIN reported ON reported.model_version = trained.version
LEFT JOIN decided ON decided.model_version = trained.version
WHERE trained.asset = 'tower_checkpoint'
ORDER BY trained.rowid DESC
