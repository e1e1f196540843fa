-- On no day do more than $allowed of the impressions, or of the clicks, belong to items that are not in the catalogue.
WITH
shown AS (
    SELECT day, count(*) AS impressions, count(*) FILTER (clicked) AS clicks
    FROM impressions
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day
),
found AS (
    FROM orphan_items
    WHERE day BETWEEN $first_day AND $last_day
),
worst AS (
    SELECT
        day,
        100 * sum(found.impressions) / any_value(shown.impressions) AS of_impressions,
        coalesce(100 * sum(found.clicks) / nullif(any_value(shown.clicks), 0), 0) AS of_clicks
    FROM found
    JOIN shown USING (day)
    GROUP BY day
    ORDER BY greatest(of_impressions, of_clicks) DESC, day
    LIMIT 1
),
frequent AS (
    SELECT item_id, sum(impressions) AS impressions
    FROM found
    GROUP BY item_id
    ORDER BY impressions DESC, item_id
    LIMIT 3
),
likely AS (
    SELECT
        likely_cause,
        arg_max({'orphan': item_id, 'listed': catalogue_item_id}, impressions) AS example
    FROM found
    WHERE likely_cause IS NOT NULL
    GROUP BY likely_cause
    ORDER BY sum(impressions) DESC, likely_cause
    LIMIT 1
)
SELECT
    coalesce((SELECT greatest(of_impressions, of_clicks) <= 100 * $allowed FROM worst), TRUE) AS passed,
    concat_ws(
        '; ',
        (
            SELECT
                format('{:.1f} % of the impressions and {:.1f} % of the clicks of ', of_impressions, of_clicks)
                || day || ' have an item that is not in the catalogue'
            FROM worst
        ),
        CASE WHEN NOT EXISTS (FROM worst) THEN 'every impression has an item of the catalogue' END,
        (
            SELECT
                'most often '
                || string_agg(item_id || ' (' || impressions || ')', ', ' ORDER BY impressions DESC, item_id)
            FROM frequent
        ),
        (
            SELECT
                'likely cause: ' || likely_cause || ', the log has "' || example.orphan || '" and the catalogue "'
                || example.listed || '"'
            FROM likely
        )
    ) AS observed,
    format('at most {:g} % of any day', 100 * $allowed) AS expected,
    (
        SELECT list(concat_ws(' ', day, item_id, '→ ' || catalogue_item_id) ORDER BY impressions DESC, day, item_id)
        FROM found
    )[:5] AS sample
