"""Are shown-and-not-clicked items farther from a user's taste than any other item? If not, they are no hard negatives.

    python benchmarks/exposures.py [--kuairand FOLDER]

Trains `logq` on the training part of both logs that have exposures (see recipes.py), with the settings chosen there.
Then, for every user with validation clicks and exposures in the training part, it asks how often the model scores a
validation click above another item (AUC, mean over users, 0.5 = cannot tell):

- `any item`: all items that the user neither clicked nor was shown;
- `as popular`: of these, the 20 nearest in popularity to each click;
- `shown`: what the user was shown and did not click.

Where `shown` is hardly below `as popular`, the model can tell such items from clicks as well as others, and training
against them adds nothing; where it is near 0.5 or below, what was shown is as near to the user's taste as what is
clicked next, and training against it pushes the wrong items away.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from recipes import BASELINE, DATA_SETS, HERE, KUAIRAND, TUNED, DataSet

from twotower_assets.experiments.train_recipe import train_recipe
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.recipes import load_recipes

NEIGHBOURS = 20


def scores_above(clicks: np.ndarray, others: np.ndarray) -> float:
    """Share of pairs of a click and another item in which the click has the higher score; ties count half."""
    return float(((clicks[:, None] > others).mean() + (clicks[:, None] >= others).mean()) / 2)


def measure(data: DataSet) -> dict[str, float]:
    hold_out, recipes = data.hold_out, load_recipes()
    changes = {**json.loads(TUNED.read_text())[data.name][BASELINE]["changes"], "seed": 0}
    training = TrainingRequest(hold_out, "clicks", 1.0, validation_split=None, threads=1)
    model = train_recipe(training, recipes[BASELINE].config(**changes), recipes, changes).checkpoint
    view = hold_out.view(("train",), "validation", model.config.history_length)
    users = model.embed_users(view.user_ids, view.histories, hold_out.users)
    scores = users @ model.embed_items(hold_out.items).T
    shown = pl.DataFrame(pl.from_arrow(hold_out.exposures)).group_by("user_id").agg("item_id")
    exposed = dict(zip(shown["user_id"], shown["item_id"], strict=True))
    by_popularity = np.argsort(np.argsort(-hold_out.item_clicks("train"), kind="stable"))
    at_rank = np.argsort(by_popularity)
    found: dict[str, list[float]] = {"any item": [], "as popular": [], "shown": []}
    for row, user in enumerate(view.user_ids.to_pylist()):
        clicks = view.relevant.values[view.relevant.offsets[row] : view.relevant.offsets[row + 1]]
        places = np.unique(hold_out.positions(exposed.get(user, pl.Series([], dtype=pl.String))))
        places = np.setdiff1d(places[places >= 0], clicks)
        if not (len(clicks) and len(places)):
            continue
        seen = view.seen.values[view.seen.offsets[row] : view.seen.offsets[row + 1]]
        free = np.ones(scores.shape[1], bool)
        free[np.concatenate([clicks, seen, places])] = False
        own = scores[row]
        found["shown"].append(scores_above(own[clicks], own[places]))
        found["any item"].append(scores_above(own[clicks], own[free]))
        near = []
        for click in clicks:
            rank = by_popularity[click]
            around = at_rank[max(0, rank - NEIGHBOURS) : rank + NEIGHBOURS + 1]
            around = around[free[around]]
            near.append(scores_above(own[[click]], own[around]) if len(around) else np.nan)
        found["as popular"].append(float(np.nanmean(near)))
    return {"users": len(found["shown"]), **{name: float(np.nanmean(values)) for name, values in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kuairand", type=Path, default=KUAIRAND)
    parser.add_argument("--out", type=Path, default=HERE.parent / ".twotower" / "bench_recipes")
    arguments = parser.parse_args()
    for name in ("movielens_clicks", "kuairand"):
        try:
            data = DATA_SETS[name](arguments.out.resolve(), arguments.kuairand.resolve())
        except FileNotFoundError as error:
            print(error)
            continue
        row = measure(data)
        listed = ", ".join(f"{against} {row[against]:.3f}" for against in ("any item", "as popular", "shown"))
        print(f"{name}: AUC of validation clicks against {listed} ({row['users']} users)")


if __name__ == "__main__":
    main()
