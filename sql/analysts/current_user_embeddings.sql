CREATE OR REPLACE VIEW lake.main.current_user_embeddings AS
SELECT
    user_id,
    embedding::FLOAT[{dimensions}] AS embedding,
    model_version,
    inverse_temperature,
    trained_popularity_weight,
    trained_weight_is_known
FROM lake.main.served_user_embeddings
