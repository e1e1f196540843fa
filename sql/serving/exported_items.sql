-- Every item that a version of the model embeds, with what its score needs.
SELECT
    item_id,
    embedding AS vector,
    log_q,
    bias
FROM item_embeddings
WHERE model_version = $version
ORDER BY item_id
