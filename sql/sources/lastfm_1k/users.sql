SELECT "#id" AS user_id, gender, country
FROM read_csv($path || '/userid-profile.tsv', delim = '\t', header = true, quote = '', all_varchar = true)
