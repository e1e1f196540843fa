-- Of the versions that have an index and are not older than the champion, none was refused by its latest evaluation.
WITH
latest AS (
    SELECT model_version, model_day, decision, reasons
    FROM champion_decisions
    QUALIFY row_number() OVER (PARTITION BY model_version ORDER BY rowid DESC) = 1
),
refused AS (
    SELECT latest.*
    FROM latest
    WHERE
        decision = 'refused'
        AND model_version NOT IN (SELECT model_version FROM champion)
        AND model_version IN (SELECT model_version FROM ann_index_quality)
        AND model_day >= coalesce((SELECT max(model_day) FROM champion), model_day)
)
SELECT
    count(*) = 0 AS passed,
    coalesce('refused: ' || string_agg(model_version, ', ' ORDER BY model_day DESC), 'no challenger refused')
    || '; served: ' || coalesce((SELECT any_value(model_version) FROM champion), 'nothing') AS observed,
    'every newer version passes the gates against the champion' AS expected,
    list(model_version || ' ' || reasons ORDER BY model_day DESC)[:5] AS sample
FROM refused
