"""The gates: conditions across rows, days and tables, each a SQL file under `sql/checks/`.

`GATES` run as asset checks after a materialization. When a champion is chosen, `CHAMPION_GATES` run again, followed by
`CHALLENGER_GATES`, which compare a challenger with the champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from twotower_assets.checks.outcome import Outcome
from twotower_assets.core.days import Days
from twotower_assets.lake.queries import bound, read_query
from twotower_assets.settings import Settings


@dataclass(frozen=True)
class Gate:
    """One gate: its SQL file's name, the asset it checks, what must hold, and whether a failure blocks downstream."""

    name: str
    asset: str
    description: str
    blocking: bool = True
    sql: str | None = None
    """Its SQL file, if that has another name."""
    allowed: str | None = None
    """The setting that its SQL reads as `$allowed`."""


GATES = (
    Gate("q_sums_to_one", "item_frequency", "The sampling probabilities of a day add up to 1."),
    Gate(
        "no_clicked_pair",
        "exposure_log",
        "No pair that the user clicked on that day or in the trailing window is used as a negative.",
    ),
    Gate(
        "items_are_in_the_catalogue",
        "orphan_items",
        "Nearly all that was shown is in the catalogue: more than `TWOTOWER_NOTICED_ORPHAN_SHARE` is not on no day.",
        blocking=False,
        sql="orphans",
        allowed="noticed_orphan_share",
    ),
    Gate(
        "most_items_are_in_the_catalogue",
        "orphan_items",
        "A model is trained only where most of what was shown is in the catalogue: on no day more than "
        "`TWOTOWER_MAXIMUM_ORPHAN_SHARE` is not.",
        sql="orphans",
        allowed="maximum_orphan_share",
    ),
    Gate("history_is_past", "training_pairs", "Histories hold only what was clicked strictly before."),
    Gate("training_went_down", "tower_checkpoint", "The loss is finite and fell; a training that diverged did not."),
    Gate("item_embeddings_are_sound", "item_embeddings", "Item vectors are finite and of length 1."),
    Gate("user_embeddings_are_sound", "user_embeddings", "User vectors are finite and of length 1."),
    Gate("index_recall", "ann_index", "The index finds what exact search finds, at γ = 0, ½ and 1."),
    Gate(
        "model_beats_most_popular",
        "popularity_bias_report",
        "The model recalls more than recommending the most popular items does.",
    ),
    Gate(
        "challenger_is_not_worse",
        "champion",
        "No newer version was refused. A refused version is not served; the champion stays.",
        blocking=False,
    ),
)
CHAMPION_GATES = tuple(
    gate
    for gate in GATES
    if gate.asset in ("item_embeddings", "user_embeddings", "ann_index", "popularity_bias_report")
)
"""Gates that a version must pass again to be served."""
CHALLENGER_GATES = (
    Gate("recall_is_not_worse", "champion", "Recall@20 is not below the champion's by more than is allowed."),
    Gate("coverage_is_kept", "champion", "The lists reach enough of the catalogue."),
    Gate("beyond_head_is_kept", "champion", "Enough of the clicks beyond the head are found."),
)
"""Gates that compare a version with the champion, by the rows of `staged_version_comparisons`."""


def evaluate_gate(
    con: duckdb.DuckDBPyConnection,
    gate: Gate,
    days: Days,
    settings: Settings,
    version: str | None = None,
    first_partition: date = date.min,
) -> Outcome:
    """Run the gate's SQL for some days, or for a version of the model. No window reaches before `first_partition`."""
    sql = read_query(f"checks/{gate.sql or gate.name}.sql")
    parameters: dict[str, Any] = {
        "first_day": days.first,
        "last_day": days.last,
        "window_days": settings.window_days,
        "first_partition": first_partition,
        "popularity_weight": settings.popularity_weight,
        "minimum_index_recall": settings.minimum_index_recall,
        "maximum_recall_loss": settings.maximum_recall_loss,
        "minimum_kept_of_champion": settings.minimum_kept_of_champion,
        "minimum_coverage": settings.minimum_coverage,
        "minimum_beyond_head_recall": settings.minimum_beyond_head_recall,
        "version": version,
        **({"allowed": getattr(settings, gate.allowed)} if gate.allowed else {}),
    }
    try:
        row = con.execute(sql, bound(con, sql, parameters)).fetchone()
    except duckdb.Error as error:
        return Outcome(False, f"could not be evaluated: {error}", gate.description)
    if row is None:
        return Outcome(False, "the gate's SQL returned no row", gate.description)
    passed, observed, expected, sample = row
    return Outcome(bool(passed), str(observed), str(expected), [str(value) for value in sample or []])
