"""`twotower check-data`: what a careful reader sees in raw data before a run, and that nothing is written."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from end_to_end.market import FIRST, LAST, catalogue, market_log, twotower, write_settings

THIN, ABSENT, FLOATS = LAST, FIRST + timedelta(days=2), FIRST + timedelta(days=3)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose log has an absent and a thin day, floats on one day, a file delivered twice, and unknown items."""
    folder = tmp_path_factory.mktemp("odd")
    raw = folder / "raw"
    raw.mkdir()
    log = market_log().with_columns(
        user_id=pl.col("user_id").str.slice(1).cast(pl.Int64), day=pl.col("shown_at").dt.date()
    )
    for (day,), rows in log.sort("shown_at").group_by("day", maintain_order=True):
        kept = rows.drop("day").head(12) if day == THIN else rows.drop("day")
        if day == FLOATS:
            kept = kept.with_columns(user_id=pl.col("user_id").cast(pl.Float64))
        kept.write_parquet(raw / f"impressions_{day}.parquet")
    (raw / f"impressions_{FIRST}_again.parquet").write_bytes((raw / f"impressions_{FIRST}.parquet").read_bytes())
    odd_id = pl.col("item_id").str.contains(r"[13579]$")
    written = pl.when(odd_id).then(pl.col("item_id").str.to_uppercase()).otherwise("item_id")
    catalogue().with_columns(item_id=written).write_parquet(raw / "items.parquet")
    write_settings(folder / "home", source_path=raw)
    return folder / "home"


def looked_at(home: Path, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(twotower(home, "check-data", "--json", *options))
    return found


def test_days_rows_and_types_are_those_of_the_files(odd: Path) -> None:
    found = looked_at(odd)
    assert found["missing_days"] == [str(ABSENT)]
    assert found["thin_days"] == [str(THIN)]
    assert found["changed_types"] == {"impressions: user_id": ["BIGINT", "DOUBLE"]}
    assert found["read"] == found["totals"]["impressions"] + found["rejected"]
    assert sum(found["hours"]) == found["totals"]["impressions"]
    assert found["totals"]["users"] == 60
    of_day = {day["day"]: day for day in found["days"]}
    assert of_day[str(THIN)]["rows"] == 12
    assert of_day[str(FIRST)]["rejected"] * 2 == of_day[str(FIRST)]["rows"]


def test_every_reason_has_examples_as_they_were_found(odd: Path) -> None:
    reasons = {reason["reason"]: reason for reason in looked_at(odd)["reasons"]}
    assert len(reasons["repeats a user, item and moment"]["examples"]) == 3
    assert "at 2024-01-01 08:0" in reasons["repeats a user, item and moment"]["examples"][0]
    assert reasons["user_id is missing"] == {
        "reason": "user_id is missing",
        "rows": 1,
        "examples": ["item i0, at 2024-01-02 10:00:00, clicked true"],
    }


def test_remarks_say_what_would_hurt(odd: Path) -> None:
    text = twotower(odd, "check-data")
    remarks = [line for line in text.splitlines() if line.startswith("! ")]
    for remark in (
        f"! No rows on {ABSENT}.",
        f"! Far fewer rows than usual on {THIN}.",
        "! impressions: user_id changes its type between files: BIGINT, DOUBLE.",
        "of the rows repeat another: was a file delivered twice?",
        f"! Too many rows would be rejected on {FIRST}: a run over them would fail.",
    ):
        assert any(remark in line for line in remarks), remark
    (orphans,) = [line for line in remarks if "not in the catalogue" in line]
    assert "Likely cause: upper and lower case, such as 'i" in orphans


def test_recipes_that_the_data_cannot_train_are_named_with_the_reason(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    market_log().filter("clicked").drop("request_id", "context").write_parquet(raw / "impressions.parquet")
    catalogue().drop("category").write_parquet(raw / "items.parquet")
    write_settings(tmp_path / "home", source_path=raw)
    recipes = looked_at(tmp_path / "home")["recipes"]
    assert recipes["logq"] is None
    assert recipes["hard_exposure_1"] == "there are no rows without a click"
    assert recipes["hard_category"] == "all items have the same category"
    assert recipes["hard_context"] == "there are no two values of context with several items"


def test_the_page_shows_charts_and_escapes_what_is_in_the_data(odd: Path, tmp_path: Path) -> None:
    page = tmp_path / "check.html"
    text = twotower(odd, "check-data", "--days", f"{FIRST}..{FIRST + timedelta(days=1)}", "--html", str(page))
    assert f"Page: {page}" in text
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 3
    assert "was a file delivered twice?" in html
    assert "<script" not in html


def test_files_that_were_not_looked_into_are_named(odd: Path) -> None:
    raw = odd.parent / "raw"
    (raw / "notes.txt").write_text("not data")
    (raw / "broken.parquet").write_bytes(b"no parquet")
    found, text = looked_at(odd), twotower(odd, "check-data")
    for name in ("notes.txt", "broken.parquet"):
        (raw / name).unlink()
    assert found["unread_files"] == ["broken.parquet", "notes.txt"]
    assert "files:     2 whose types were not looked into, such as broken.parquet" in text


def test_a_log_that_has_not_begun_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_settings(tmp_path / "home", source_path=tmp_path / "raw", first_day="2999-01-01", last_day="")
    assert "which has not come yet" in twotower(tmp_path / "home", "check-data", exit_code=1)


def test_nothing_is_written(odd: Path) -> None:
    before = sorted(odd.rglob("*"))
    twotower(odd, "check-data")
    assert sorted(odd.rglob("*")) == before


def test_a_refused_run_points_to_it(odd: Path) -> None:
    assert "`twotower check-data` shows" in twotower(odd, "materialize", "features_job", exit_code=1)
