"""Links from the heads of tables to the definitions at the end of the page.

The names of the heads belong here; the definitions themselves are in `templates/definitions.html.jinja`.
"""

import re

_TERMS = {
    "Recall": "recall",
    "Beyond the head": "beyond",
    "NDCG": "ndcg",
    "MRR": "mrr",
    "Hit rate": "mrr",
    "Coverage": "coverage",
    "Recommended": "coverage",
    "Gini": "gini",
    "Gini of exposure": "gini",
    "Mean popularity of lists": "popularity",
    "Popularity lift": "lift",
    "Share of tail and cold (APLT)": "aplt",
    "Novelty": "novelty",
    "Calibration (JSD)": "calibration",
    "Bucket": "buckets",
    "Head": "buckets",
    "Mid": "buckets",
    "Tail": "buckets",
    "Cold": "buckets",
    "Most popular": "baselines",
    "EASE": "baselines",
    "Catalogue": "exposure",
    "Clicks": "exposure",
    "Exposure share": "exposure",
    "Click share": "exposure",
    "Difference": "difference",
    "Minus most popular": "difference",
    "Minus EASE": "difference",
    "γ": "gamma",
    "Missing popularity δ": "delta",
    "δ of exact PMI + γ·log q": "delta",
    "Slope on log q": "slope",
    "Correlation with PMI": "correlation",
    "Recall of exact search": "index-recall",
    "Queries per second": "index-recall",
    "Loss of the last epoch": "loss",
    "Best validation metric": "validation",
    "Pairs per second": "loss",
    "Lake snapshot": "snapshot",
}


def term_of(head: str) -> str:
    """Return the id of the definition that explains a head; empty where it needs none.

    The cut-off after an `@` and anything after a comma (`Recall@20, tail`) are ignored.
    """
    term = _TERMS.get(re.sub(r"@\d+|,.*", "", head), "")
    return f"def-{term}" if term else ""
