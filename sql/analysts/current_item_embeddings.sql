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
