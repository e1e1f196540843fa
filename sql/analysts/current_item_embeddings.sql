-- The served item embeddings: a vector for every item that the champion knows. Empty while nothing is served.
-- gives: item_id; embedding, FLOAT[n] of length 1; bias; log_q; model_version; inverse_temperature, 1/τ;
--   trained_popularity_weight, γ₀; trained_weight_is_known.
-- example: SELECT item_id, embedding[1:3] FROM current_item_embeddings ORDER BY item_id LIMIT 5
CREATE OR REPLACE VIEW lake.main.current_item_embeddings AS
SELECT
    item_id,
    embedding::FLOAT[{dimensions}] AS embedding,
    bias,
    log_q,
    model_version,
    inverse_temperature,
    trained_popularity_weight,
    trained_weight_is_known
FROM lake.main.served_item_embeddings
