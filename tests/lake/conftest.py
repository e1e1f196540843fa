"""Small commits to a lake, and reading them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import stage

ONE_DAY = """
SELECT
    $day AS day, $user AS user_id, 'i' || place AS item_id, $day + to_minutes(place) AS shown_at, place = 0 AS clicked,
    NULL AS request_id, NULL AS context, NULL AS position, NULL AS weight
FROM (SELECT unnest(range($rows))::INTEGER AS place)
"""


@pytest.fixture
def put_day(lake: Lake) -> Iterator[Callable[..., int]]:
    """Replace a day of `impressions` by `rows` rows of one user; gives the snapshot."""
    with lake.writer() as con:

        def put(day: date, user: str, rows: int = 3, run_id: str = "", **more: Any) -> int:
            stage(con, "staged", ONE_DAY, {"day": day, "user": user, "rows": rows})
            replacement = Replacement("impressions", "staged", (day, day))
            return lake.commit(con, [replacement], CommitInfo("impressions", run_id, (day, day)), **more)

        yield put


@pytest.fixture
def users_by_day(lake: Lake) -> Callable[..., dict[int, list[str]]]:
    """The user of every row, by day of the month; at a snapshot or as the lake stands."""

    def read(snapshot: int | None = None) -> dict[int, list[str]]:
        with lake.reader(snapshot) as con:
            rows = con.execute("SELECT day(day), list(user_id) FROM impressions GROUP BY day ORDER BY day")
            return dict(rows.fetchall())

    return read
