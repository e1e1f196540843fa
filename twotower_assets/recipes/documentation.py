"""Renders the recipes and the sources of negatives as the Markdown of `docs/recipes.md`.

Here: the text around them. Not here: the text about a recipe, which is in `recipes.yaml`, and about a source, which is
in `negative_settings.py`. `python -m twotower_assets.recipes.documentation > docs/recipes.md` writes the page.
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

A recipe is a named way to sample negatives and to handle popularity: a few training settings in YAML. All recipes run
through the same code on the same pairs, and one asset shows which of them helps on *your* data. Why negatives bias a
model towards or against popular items, and what each correction does about it, is explained in
[popularity.md](popularity.md).

## Compare recipes on your data

In the Dagster UI: *Assets → recipes / negative_sampling_runs → Materialize…*, then choose some recipes or all of them;
the backfill is the ablation, one run per recipe. Then materialize `negative_sampling_comparison`: a table of every
metric with its gain over the baseline (`logq` by default), charts, and a recommendation in words. In a terminal:

<!-- quick: --seeds 1 --set epochs=1 --set dimensions=8 -->
```console
$ twotower recipes                                  # list the recipes
$ twotower compare-recipes in_batch,logq,mixed --seeds 3    # train, compare, print; without names: all
$ twotower sql "SELECT recipe, value, gain_percent, gain_low, gain_high
    FROM negative_sampling_comparison WHERE metric = 'recall' AND k = 20 AND bucket = 'all' ORDER BY value DESC"
```

Every recipe trains as of the same day, with the same seeds and early stopping on the validation split, and is evaluated
on the same test clicks at the served γ. Gains are paired by user and bootstrapped over users. The recommended recipe is
the best on the *validation* split; its gain is measured on the *test* split, so it is not selected on the numbers that
are reported for it. A recipe whose inputs the data lack (no exposures, no contexts, no categories) is listed as not
applicable, with the reason.

Recipes trained on other data or with other seeds than the baseline are excluded from the comparison, and listed there.
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

Reload the code location (or run `twotower compare-recipes my_mix`): `my_mix` is then a partition beside the shipped
recipes. `training` holds the [training settings](assets.md#training-settings) that differ from the defaults. A name
that is in use, a setting out of range, or an unknown source gives one message that names the recipe and the problem.

## Expected-count (logQ) correction

A candidate drawn from a known proposal is corrected by the logarithm of its expected count in the row, summed over
**all** sources that could have drawn it. The expected count of an item is (B − 1)·q from in-batch negatives,
count/items from uniform ones, and per_positive/size for an item of the positive's category; for an in-batch item that
is also of that category, it is the sum. So `mixed`, `cross_batch` and `hard_category` train to the same
log p(item | user) as `logq`; they differ in where the noise is.

If the probability that an item is drawn is unknown (what a user was shown; what another model ranks 101st), the
negative stays **uncorrected**: it is treated as if the other sources had drawn it. It lowers the scores that you want
to lower, but the meaning of the score is no longer known: γ₀ is *unknown*. For such a model γ is relative to γ₀ of the
same recipe without these negatives; `twotower recommend` and the report say so, and the measured δ shows how much
popularity the model holds.

| γ₀ | when |
| --- | --- |
| 1 | `correction: logq` or `logq_positive_excluded`, without uncorrected negatives |
| 1 − a | `correction: none`, all negatives drawn in proportion to q^a: 0 for in-batch, 1 for uniform |
| unknown | exposed, mined or `treatment: uncorrected`; `positive_aware_share`; `none` with several proposals |

The served score is score + (γ − γ₀)·log q for every recipe; a learned bias is part of the score.

## Sources of negatives
"""

MASKS = """\
## False negatives

Candidates that may be positives are masked. `training_curves` and `negative_sampling_runs` count them per pair:

- *accidental hits*, always: the positive's own item;
- `masks: [clicked]` (the default): items that the user clicked in the training window;
- `masks: [same_request]`: clicks of the same request;
- `positive_aware_share: 0.95`: candidates whose cosine is above this share of the positive's, if that is above 0
(NV-Retriever, Moreira et al. 2024). This has no known proposal, so γ₀ is unknown.

`negatives_per_positive` counts what remains: at most 511 in a batch of 512.

## The shipped recipes
"""


def markdown() -> str:
    """The page as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield "| source | what is drawn | settings |"
    yield "| --- | --- | --- |"
    for source in get_args(Negatives):
        fields = {name: field for name, field in source.model_fields.items() if name != "source"}
        settings = "; ".join(_setting(name, field) for name, field in fields.items())
        description = " ".join((source.__doc__ or "").split())
        yield f"| `{source.model_fields['source'].default}` | {description} | {settings} |"
    yield "\n" + MASKS
    for recipe in load_recipes().values():
        yield from _recipe(recipe)


def _setting(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f" ({field.default})"
    return f"`{name}`{default}: {(field.description or '').rstrip('.')}"


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
