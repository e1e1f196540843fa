"""The recipes and the sources of negatives as the Markdown of `docs/recipes.md`.

What a recipe is said to be stands in its YAML, what a source is in `negative_settings.py`; here is only what is around.
`python -m twotower_assets.recipes.documentation > docs/recipes.md` writes the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import yaml
from pydantic.fields import FieldInfo

from twotower_assets.recipes.negative_settings import Negatives
from twotower_assets.recipes.recipes import Recipe, load_recipes

INTRODUCTION = """\
# Recipes

<!-- Written by `python -m twotower_assets.recipes.documentation > docs/recipes.md`. -->

A recipe is a name for one way to draw negatives and to treat popularity: a few training settings in YAML. All recipes
run through the same code, on the same pairs, and one asset says which of them helps on *your* data. Why negatives
bend a model towards or away from popular items, and which way each correction points, is in
[popularity.md](popularity.md).

## Compare recipes on your data

In the Dagster UI: *Assets → recipes / negative_sampling_runs → Materialize…*, choose recipes, or all of them; the
backfill is the ablation, one run a recipe. Then materialize `negative_sampling_comparison`: a table of every metric
with its gain over the baseline (`logq`, unless you say otherwise), charts, and a recommendation in words. At a
terminal:

<!-- quick: --seeds 1 --set epochs=1 --set dimensions=8 -->
```console
$ twotower recipes                                  # what there is
$ twotower compare-recipes in_batch,logq,mixed --seeds 3    # train, compare, print; without names: all
$ twotower sql "SELECT recipe, value, gain_percent, gain_low, gain_high
    FROM negative_sampling_comparison WHERE metric = 'recall' AND k = 20 AND bucket = 'all' ORDER BY value DESC"
```

Every recipe trains as of the same day, with the same seeds and early stopping on the validation part, and is judged
on the same test clicks at the served γ. Gains are paired by user: the bootstrap draws users, and compares what both
recipes recall for them. The recommended recipe is the best on the *validation* part; its gain is read on the *test*
part, so that it was not chosen by the numbers it is praised with. A recipe whose inputs the data lack (no exposures,
no contexts, no categories) is listed as not applicable, with the reason.

Recipes that were trained on other data or with other seeds than the baseline are left out, and it is said which.
Settings that all recipes should share go into the run: `--set temperature=0.5`, or `training: {temperature: 0.5}` in
the launchpad.

To serve a recipe: `TWOTOWER_RECIPE=mixed` in `twotower.env`, or `twotower materialize training_job --set
recipe=mixed`.

## A recipe of your own

Put it into `recipes.yaml` in the home folder (or the file that `TWOTOWER_RECIPES` names):

```yaml
my_mix:
  description: In-batch negatives, a few uniform ones, and two of the same category.
  training:
    temperature: 0.15
    negatives:
      - {source: in_batch}
      - {source: uniform, count: 256}
      - {source: category, per_positive: 2, minimum_items: 50}
```

Reload the code location (or just run `twotower compare-recipes my_mix`): `my_mix` is a partition beside the shipped
ones. What stands under `training` are [training settings](assets.md#training-settings) in which it differs from the
defaults. A name that is taken, a setting out of range, a source that does not exist: one message that says which
recipe and what is wrong.

## The one rule

Every candidate that is drawn in a known way is corrected by the logarithm of how often it is to be expected in its
row, summed over **all** sources that could have drawn it. In-batch items come (B − 1)·q times, uniform ones
count/items times, an item of the positive's category per_positive/size times; an in-batch item that is also of that
category, the sum. So `mixed`, `cross_batch`, `hard_category` train to the same log p(item | user) as `logq`, with
less noise in different places.

Where nobody knows how likely an item was to be drawn (what a user was shown; what another model ranks 101st), it is a
**margin**: treated as if the other sources had drawn it. It pushes where you want to push, and what the score means
is then no longer known: γ₀ is *unknown*. Such a model is served relative to what it was trained to, `twotower
recommend` and the report say so, and the measured δ says what popularity it holds.

| γ₀ | when |
| --- | --- |
| 1 | `correction: logq` or `logq_positive_excluded`, without margins |
| 1 − a | `correction: none`, all negatives drawn in proportion to q^a: 0 for in-batch, 1 for uniform |
| unknown | any margin, `positive_aware_share`, or several uncorrected sources |

Served is score + (γ − γ₀)·log q, for every recipe; a learned bias is a part of the score.

## Sources of negatives
"""

MASKS = """\
## False negatives

What may be no negative is masked, and counted in `training_curves` and `negative_sampling_runs` per pair:

- *accidental hits*, always: the positive's own item again;
- `masks: [clicked]` (the default): whatever the user clicked in the training window;
- `masks: [same_request]`: clicks of the same request;
- `positive_aware_share: 0.95`: cosines above that share of the positive's, where that is positive (NV-Retriever,
Moreira et al. 2024). It has no known proposal, so γ₀ is unknown.

`negatives_per_positive` is what is left: 511 at most in a batch of 512.

## The shipped recipes
"""


def markdown() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield "| source | what is drawn | settings |"
    yield "| --- | --- | --- |"
    for source in get_args(Negatives):
        fields = {name: field for name, field in source.model_fields.items() if name != "source"}
        settings = "; ".join(_setting(name, field) for name, field in fields.items())
        described = " ".join((source.__doc__ or "").split())
        yield f"| `{source.model_fields['source'].default}` | {described} | {settings} |"
    yield "\n" + MASKS
    for recipe in load_recipes().values():
        yield from _recipe(recipe)


def _setting(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f" ({field.default})"
    return f"`{name}`{default}: {field.description}"


def _recipe(recipe: Recipe) -> Iterator[str]:
    config = recipe.config()
    known = f"{config.trained_popularity_weight:g}" if config.trained_weight_is_known else "unknown"
    yield f"### `{recipe.name}`\n"
    yield recipe.description + "\n"
    yield f"- **Assumes:** {recipe.assumes}"
    yield f"- **Helps:** {recipe.helps}"
    yield f"- **Costs:** {recipe.costs}"
    yield f"- **γ₀:** {known}"
    yield f"- **Source:** {recipe.source}\n"
    yield "```yaml"
    yield yaml.safe_dump(dict(recipe.training), sort_keys=False, default_flow_style=False, width=110).rstrip()
    yield "```\n"


if __name__ == "__main__":
    print(markdown(), end="")
