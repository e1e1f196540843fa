-- The log is closed. A few plays are dated years after it was published; TWOTOWER_LAST_DAY leaves them out.
SELECT min(played_at)::DATE AS first_day, max(played_at)::DATE AS last_day
FROM (
    SELECT source_moment(played_at) AS played_at
    FROM read_csv(
        $path || '/userid-timestamp-artid-artname-traid-traname.tsv',
        delim = '\t',
        header = false,
        quote = '',
        escape = '',
        all_varchar = true,
        names = ['user_id', 'played_at', 'artist_id', 'artist_name', 'track_id', 'track_name']
    )
)
WHERE played_at >= $earliest AND played_at < TIMESTAMP '2009-07-01'
