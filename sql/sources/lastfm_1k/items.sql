-- There is no catalogue: the artists are those that were played, with the name they are most often written with.
SELECT coalesce(nullif(artist_id, ''), 'name:' || artist_name) AS item_id, mode(artist_name) AS title
FROM read_csv(
    $path || '/userid-timestamp-artid-artname-traid-traname.tsv',
    delim = '\t',
    header = false,
    quote = '',
    escape = '',
    all_varchar = true,
    names = ['user_id', 'played_at', 'artist_id', 'artist_name', 'track_id', 'track_name']
)
GROUP BY ALL
