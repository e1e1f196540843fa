"""A week of a real log, replayed day by day as it comes: late, renamed, retyped, delivered twice, and empty.

At the end the tables equal those of the clean log, and each fault was named when it happened.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from documentation.raw_data import KUAIRAND

from end_to_end.market import rows, twotower, workspace_in

pytestmark = pytest.mark.real_data
FIRST = date(2022, 4, 24)
LATE, RENAMED, FLOATS, TWICE, EMPTY = (FIRST + timedelta(days=offset) for offset in (1, 2, 3, 4, 5))
DAYS = [FIRST + timedelta(days=offset) for offset in range(7)]
TABLES = ("impressions", "exposure_log", "training_pairs", "item_frequency_daily", "item_frequency", "orphan_items")
SQL = """
SELECT user_id, video_id AS item_id, time_ms AS shown_at, is_click AS clicked, tab AS context
FROM read_parquet($path || '/log_*.parquet', union_by_name = true)
WHERE source_moment(time_ms) >= $partition_start AND source_moment(time_ms) < $partition_end
"""


@pytest.fixture(scope="module")
def log() -> dict[date, pl.DataFrame]:
    """The rows of each UTC day; skips where the data are not at hand."""
    files = sorted(KUAIRAND.glob("log_standard_*.parquet"))
    if not files:
        pytest.skip(f"the KuaiRand slice is not at hand (looked in {KUAIRAND})")
    columns = ["user_id", "video_id", "time_ms", "is_click", "tab"]
    whole = pl.concat([pl.read_parquet(file, columns=columns) for file in files])
    day = pl.from_epoch("time_ms", "ms").dt.date()
    return {each: whole.filter(day == each) for each in DAYS if each != EMPTY}


def home_in(folder: Path) -> Path:
    """A home whose log lies in daily files, and whose catalogue is the published one."""
    (folder / "sql").mkdir(parents=True)
    (folder / "raw").mkdir()
    (folder / "sql" / "impressions.sql").write_text(SQL, encoding="utf-8")
    (folder / "sql" / "items.sql").write_text(
        f"SELECT video_id AS item_id, tag AS category FROM read_parquet('{KUAIRAND}/video_features_basic.parquet')",
        encoding="utf-8",
    )
    settings = {
        "dataset": "kuairand_daily",
        "source_path": folder / "raw",
        "sql_sources": folder / "sql",
        "first_day": FIRST,
        "last_day": DAYS[-1],
        "event_log": "batched",
    }
    (folder / "home").mkdir()
    lines = [f"TWOTOWER_{name.upper()}={value}" for name, value in settings.items()]
    (folder / "home" / "twotower.env").write_text("\n".join(lines), encoding="utf-8")
    return folder / "home"


def test_at_the_end_of_a_week_of_faults_the_tables_are_those_of_the_clean_log(
    log: dict[date, pl.DataFrame], tmp_path: Path
) -> None:
    clean = home_in(tmp_path / "clean")
    for day, rows_of_day in log.items():
        rows_of_day.write_parquet(tmp_path / "clean" / "raw" / f"log_{day}.parquet")
    twotower(clean, "materialize", "features_job")

    home, raw = home_in(tmp_path / "replayed"), tmp_path / "replayed" / "raw"

    def run(day: date, last: date | None = None, *, exit_code: int = 0) -> str:
        return twotower(home, "materialize", "features_job", "--days", f"{day}..{last or day}", exit_code=exit_code)

    def arrives(day: date, rows_of_day: pl.DataFrame, name: str = "") -> None:
        rows_of_day.write_parquet(raw / f"log_{day}{name}.parquet")

    arrives(FIRST, log[FIRST])
    assert f"{FIRST}: 2,405 rows" in run(FIRST)

    assert f"{LATE}: no rows" in run(LATE)

    arrives(RENAMED, log[RENAMED].rename({"is_click": "click"}))
    message = run(RENAMED, exit_code=1)
    assert "14546 of 14546 rows of impressions were rejected" in message
    assert "clicked is missing or neither true nor false" in message
    arrives(RENAMED, log[RENAMED])
    run(RENAMED)

    arrives(LATE, log[LATE])
    assert f"{LATE}: no rows" not in run(LATE, RENAMED)

    arrives(FLOATS, log[FLOATS].with_columns(pl.col("user_id", "video_id").cast(pl.Float64)))
    printed = twotower(home, "materialize", "features_job", "--days", str(FLOATS), output="stderr")
    assert "user_id is DOUBLE; its whole numbers are taken for integers" in printed

    arrives(TWICE, log[TWICE])
    arrives(TWICE, log[TWICE], "_again")
    message = run(TWICE, exit_code=1)
    assert "repeats a user, item and moment" in message
    assert "`twotower check-data` shows" in message
    (raw / f"log_{TWICE}_again.parquet").unlink()
    run(TWICE)

    assert f"{EMPTY}: no rows" in run(EMPTY)
    arrives(DAYS[-1], log[DAYS[-1]])
    run(DAYS[-1])

    for name in TABLES:
        query = f"SELECT * FROM {name} ORDER BY ALL"
        assert rows(workspace_in(home), query) == rows(workspace_in(clean), query), name
