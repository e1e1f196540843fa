"""The hold-out: clicks split into train, validation and test, read at one snapshot of the lake.

`sql/training/` splits the clicks, and `evaluation` scores ranked lists. This module connects the two: it turns ids into
positions in the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.queries import bound, read_query, scalar, stage
from twotower_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from twotower_assets.core.ragged import Ragged


class HoldOutError(ExpectedError, RuntimeError):
    """The materialized days leave nothing to train on or to evaluate with."""


@dataclass(frozen=True)
class HoldOutRule:
    """How clicks are split into train, validation and test, over how many days."""

    hold_out: str
    window_days: int
    test_share: float
    validation_share: float

    @classmethod
    def from_settings(cls, settings: Settings, window_days: int) -> HoldOutRule:
        """The rule that the settings choose."""
        return cls(settings.hold_out, window_days, settings.test_share, settings.validation_share)

    @property
    def exposures_from(self) -> str:
        """The table that exposures are read from."""
        return "exposure_log" if self.hold_out == "by_day" else "impressions"

    @property
    def description(self) -> str:
        """The rule as a phrase."""
        if self.hold_out == "by_day":
            return "test: the clicks of the last day; validation: those of the day before"
        return (
            f"test: the last {self.test_share:.0%} of each user's clicks; validation: the "
            f"{self.validation_share:.0%} before these"
        )


@dataclass(frozen=True)
class UsersView:
    """Users with held-out clicks, as of the moment before these clicks. Row i of every field is the same user.

    Attributes:
        user_ids: string [n_users].
        histories: lists of item ids, oldest click first.
        seen: positions in the catalogue of the items clicked before.
        relevant: positions of the held-out items, without those in `seen`.
        clicked_at: time of each of `relevant.values`, in microseconds.
    """

    user_ids: pa.Array
    histories: pa.Array
    seen: Ragged
    relevant: Ragged
    clicked_at: Any

    def __len__(self) -> int:
        return len(self.user_ids)


@dataclass(frozen=True)
class HoldOut:
    """Pairs with their `split` (train, validation, test), the catalogue and the users, at one lake snapshot.

    `impressions` (item_id, impressions) counts, over the training split, how often an item was shown and not clicked;
    `exposures` (user_id, item_id, context, request_id) are those impressions one by one, or None if not requested.
    """

    snapshot: int
    pairs: pl.DataFrame
    items: pa.Table
    users: pa.Table
    impressions: pa.Table
    exposures: pa.Table | None = None

    def pairs_in(self, *splits: str) -> pa.Table:
        """The pairs in these splits, in order of time."""
        import polars as pl

        return self.pairs.filter(pl.col("split").is_in(splits)).to_arrow()

    def items_known_in(self, *splits: str) -> pa.Table:
        """The catalogue, without the items that are unlisted and have clicks in other splits only."""
        import polars as pl
        import pyarrow.compute as pc

        if "listed" not in self.items.column_names:
            return self.items
        clicked = self.pairs.filter(pl.col("split").is_in(splits))["item_id"].unique().to_arrow().cast("string")
        known = pc.is_in(self.items["item_id"].cast("string"), value_set=clicked)
        return self.items.filter(pc.or_(self.items["listed"], known))

    def fingerprint(self, split: str) -> str:
        """A hash of the pairs in a split."""
        import polars as pl

        pairs = self.pairs.filter(pl.col("split") == split).select("user_id", "item_id", "clicked_at")
        return str(pairs.hash_rows().sum())

    def positions(self, item_ids: pl.Series) -> Any:
        """Positions of items in the catalogue, int64 [n]; -1 for items that are not in it."""
        import numpy as np
        import pyarrow.compute as pc

        positions = pc.index_in(item_ids.to_arrow().cast("string"), self.items["item_id"].cast("string"))
        return pc.fill_null(positions, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def item_clicks(self, *splits: str) -> Any:
        """Clicks of each item of the catalogue in these splits, int64 [n]."""
        import numpy as np
        import polars as pl

        clicked = self.pairs.filter(pl.col("split").is_in(splits))["item_id"]
        return np.bincount(self.positions(clicked), minlength=self.items.num_rows)

    def item_popularity(self, counted: str, *splits: str) -> Any:
        """The counts behind log q, int64 [n]: `clicks` in these splits, or clicks plus unclicked `impressions`."""
        import polars as pl

        counts = self.item_clicks(*splits)
        if counted == "impressions":
            shown = pl.DataFrame(pl.from_arrow(self.impressions))
            positions = self.positions(shown["item_id"])
            known = positions >= 0
            counts[positions[known]] += shown["impressions"].to_numpy()[known]
        return counts

    def view(self, known: Sequence[str], held_out: str, history_length: int) -> UsersView:
        """The users with clicks in the split `held_out`, with histories from the splits `known` only."""
        import numpy as np
        import polars as pl

        from twotower_assets.core.ragged import Ragged
        from twotower_assets.evaluation.ranking import exclude_seen

        after = self.pairs.filter(pl.col("split") == held_out)
        users = after.select("user_id").unique().sort("user_id").with_row_index("row")
        before = self.pairs.filter(pl.col("split").is_in(known)).join(users, on="user_id")
        after = after.join(users, on="user_id")
        histories = users.join(
            before.sort("clicked_at", "item_id").group_by("user_id").agg(pl.col("item_id").tail(history_length)),
            on="user_id",
            how="left",
        ).sort("row")
        (seen_rows, seen_items), (rows, items) = (
            (split["row"].to_numpy().astype(np.int64), self.positions(split["item_id"])) for split in (before, after)
        )
        seen = Ragged.from_pairs(seen_rows, seen_items, len(users))
        relevant = exclude_seen(Ragged.from_pairs(rows, items, len(users)), seen)
        return UsersView(
            user_ids=users["user_id"].to_arrow().cast("string"),
            histories=histories["item_id"].fill_null([]).to_arrow(),
            seen=seen,
            relevant=relevant,
            clicked_at=relevant.earliest(rows, items, after["clicked_at"].dt.epoch("us").to_numpy()),
        )

    def present(self, history_length: int) -> UsersView:
        """Every user with all clicks known, as for serving; no item is relevant."""
        import numpy as np
        import polars as pl

        from twotower_assets.core.ragged import Ragged

        users = self.pairs.select("user_id").unique().sort("user_id").with_row_index("row")
        clicks = self.pairs.join(users, on="user_id").sort("row", "clicked_at", "item_id")
        histories = clicks.group_by("row", maintain_order=True).agg(pl.col("item_id").tail(history_length))
        none = np.empty(0, np.int64)
        return UsersView(
            user_ids=users["user_id"].to_arrow().cast("string"),
            histories=histories["item_id"].to_arrow(),
            seen=Ragged.from_pairs(clicks["row"].to_numpy(), self.positions(clicks["item_id"]), len(users)),
            relevant=Ragged.from_pairs(none, none, len(users)),
            clicked_at=none,
        )


def window_from(con: duckdb.DuckDBPyConnection, first_partition: date, as_of: date, window_days: int) -> int:
    """Days of the window that ends with `as_of`, at most `window_days`: no window reads rows before `first_partition`.

    The lake may hold such rows, where `TWOTOWER_FIRST_DAY` was moved later.
    """
    bounds = {"first_partition": first_partition, "as_of": as_of, "window_days": window_days}
    return (
        (as_of - first_partition).days + 1
        if scalar(con, read_query("windows/rows_before.sql"), bounds)
        else window_days
    )


def read_hold_out(
    con: duckdb.DuckDBPyConnection, rule: HoldOutRule, as_of: date, snapshot: int, *, exposures: bool = False
) -> HoldOut:
    """The hold-out as of the end of a day, with the exposures on request.

    Raises `HoldOutError` where nothing is left to train on.
    """
    import polars as pl

    parameters = {"as_of": as_of, **asdict(rule)}
    read = {
        name: _arrow(con, f"training/{file}.sql", parameters)
        for name, file in (("pairs", f"hold_out_{rule.hold_out}"), ("items", "catalogue"), ("users", "users"))
    }
    shown = read_query(f"training/exposures_{rule.hold_out}.sql")
    stage(con, "staged_exposures", shown, bound(con, shown, parameters))
    pairs = pl.DataFrame(pl.from_arrow(read["pairs"]))
    counts = dict(pairs.group_by("split").len().iter_rows())
    if not counts.get("train"):
        raise HoldOutError(
            f"no click is left to train on as of {as_of}: the trailing window of {rule.window_days} days holds "
            f"{len(pairs)} clicks, {counts.get('validation', 0)} of them validation and {counts.get('test', 0)} test "
            f"(hold-out {rule.hold_out}). Materialize training_pairs of the days before, or raise TWOTOWER_WINDOW_DAYS"
        )
    return HoldOut(
        snapshot,
        pairs,
        read["items"],
        read["users"],
        impressions=_arrow(con, "training/item_impressions.sql", {}),
        exposures=con.execute("FROM staged_exposures").to_arrow_table() if exposures else None,
    )


def _arrow(con: duckdb.DuckDBPyConnection, file: str, parameters: dict[str, Any]) -> pa.Table:
    sql = read_query(file)
    return con.execute(sql, bound(con, sql, parameters)).to_arrow_table()
