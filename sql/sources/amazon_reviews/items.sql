-- `meta_<Category>.jsonl`. `details` has hundreds of keys and `price` many spellings, so both are left out.
SELECT
    parent_asin AS item_id,
    coalesce(categories[-1], main_category) AS category,
    categories,
    title,
    store
FROM read_json(
    $path || '/meta/*.jsonl',
    format = 'newline_delimited',
    columns = {
        parent_asin: 'VARCHAR',
        main_category: 'VARCHAR',
        categories: 'VARCHAR[]',
        title: 'VARCHAR',
        store: 'VARCHAR'
    }
)
