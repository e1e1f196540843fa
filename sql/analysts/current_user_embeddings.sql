-- The served user embeddings: a vector for every user that the champion knows. Empty while nothing is served.
-- gives: user_id; embedding, FLOAT[n] of length 1; model_version; inverse_temperature, 1/τ; trained_popularity_weight,
--   γ₀; trained_weight_is_known.
-- example: SELECT user_id, embedding[1:3] FROM current_user_embeddings ORDER BY user_id LIMIT 5
CREATE OR REPLACE VIEW lake.main.current_user_embeddings AS
SELECT
    user_id,
    embedding::FLOAT[{dimensions}] AS embedding,
    model_version,
    inverse_temperature,
    trained_popularity_weight,
    trained_weight_is_known
FROM lake.main.served_user_embeddings
