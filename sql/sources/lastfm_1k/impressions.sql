-- Last.fm 1K (Celma 2010): tab-separated, no header, and quotation marks in names that quote nothing.
-- Every play is a click. An artist without a MusicBrainz id is known by its name.
SELECT
    user_id,
    coalesce(nullif(artist_id, ''), 'name:' || artist_name) AS item_id,
    played_at AS shown_at,
    true AS clicked,
    coalesce(nullif(track_id, ''), track_name) AS context
FROM read_csv(
    $path || '/userid-timestamp-artid-artname-traid-traname.tsv',
    delim = '\t',
    header = false,
    quote = '',
    escape = '',
    all_varchar = true,
    names = ['user_id', 'played_at', 'artist_id', 'artist_name', 'track_id', 'track_name']
)
WHERE
    (source_moment(played_at) >= $partition_start AND source_moment(played_at) < $partition_end)
    OR (
        $partition_start <= $first_partition_start
        AND (
            source_moment(played_at) IS NULL
            OR source_moment(played_at) > $now
            OR source_moment(played_at) < $earliest
        )
    )
