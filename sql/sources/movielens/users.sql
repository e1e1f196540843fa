SELECT
    "user_id:token" AS user_id,
    "age:token" AS age,
    "gender:token" AS gender,
    "occupation:token" AS occupation
FROM read_csv($path || '/ml-100k.user', delim = '\t', header = true, all_varchar = true)
