"""Recommendations from the champion or another version: lists for a user, optionally explained, and similar items.

Any version whose index is kept can be queried. How an index is searched is in `retrieval`, how an explanation is found
in `evaluation.reasons`; the asset `champion` decides which version is the champion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.popularity import KEY_WEIGHTS
from twotower_assets.lake.queries import quoted, read_query
from twotower_assets.serving.versions import Version, VersionError, champion_of, find_version, vector_file
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    from twotower_assets.retrieval.index import ItemIndex

VECTOR_VIEWS = {"served_item_embeddings": "version_items", "served_user_embeddings": "version_users"}
"""The temporary views that the SQL of this module reads vectors from."""


class NothingServedError(ExpectedError, LookupError):
    """There is no champion, or the queried version does not know the user or item."""


@dataclass(frozen=True)
class Suggestion:
    """One item of a recommendation list."""

    rank: int
    item_id: str
    title: str | None
    category: str
    bucket: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ExplainedSuggestion(Suggestion):
    """One item of a list with the clicked items that it resembles most: their ids and titles, nearest first."""

    because: list[dict[str, str | None]]


@dataclass(frozen=True)
class Served:
    """A version to query, with the lake and its index open. Made by `serving`."""

    con: duckdb.DuckDBPyConnection
    index: ItemIndex
    version: Version
    default_weight: float
    is_champion: bool

    def recommend(self, user_id: str, k: int, popularity_weight: float | None = None) -> list[Suggestion]:
        """The k best items that the user has not clicked, best first, at γ (default: the setting).

        Raises `NothingServedError` for an unknown user, `ItemIndexError` for a γ outside 0 to 1.
        """
        gamma = self.default_weight if popularity_weight is None else popularity_weight
        return self._described(self._ranked(user_id, k, gamma, [item for item, _ in self._clicked(user_id)]))

    def explain(self, user_id: str, k: int) -> dict[float, list[ExplainedSuggestion]]:
        """The lists at γ = 0, ½ and 1, each item with the two clicked ones that resemble it most.

        Raises `NothingServedError` for an unknown user.
        """
        import numpy as np

        from twotower_assets.evaluation.reasons import nearest_in_history

        clicked = dict(self._clicked(user_id))
        lists = {gamma: self._described(self._ranked(user_id, k, gamma, list(clicked))) for gamma in KEY_WEIGHTS}
        listed = {suggestion.item_id for suggestions in lists.values() for suggestion in suggestions}
        known = self.con.execute(
            read_query("serving/item_vectors.sql"), {"item_ids": [*clicked, *sorted(listed)]}
        ).fetchall()
        rows = {item: row for row, (item, _) in enumerate(known)}
        items = list(rows)
        history = [rows[item] for item in clicked if item in rows]
        vectors = np.asarray([vector for _, vector in known], np.float32).reshape(len(known), -1)
        explained = {}
        for gamma, suggestions in lists.items():
            nearest = nearest_in_history(vectors, history, [rows[suggestion.item_id] for suggestion in suggestions])
            explained[gamma] = [
                ExplainedSuggestion(
                    **suggestion.as_dict(),
                    because=[{"item_id": items[row], "title": clicked[items[row]]} for row in nearest_rows],
                )
                for suggestion, nearest_rows in zip(suggestions, nearest, strict=True)
            ]
        return explained

    def similar(self, item_id: str, k: int) -> list[Suggestion]:
        """The k items whose vectors are nearest to the item's, best first. Raises as `recommend` does."""
        from twotower_assets.retrieval.index import ItemIndexError

        try:
            position = self.index.position_of(item_id)
        except ItemIndexError as error:
            raise NothingServedError(self._does_not_know("item", item_id)) from error
        scores, positions = self.index.similar_items(position, min(k, len(self.index) - 1))
        found = zip(positions.ravel(), scores.ravel(), strict=True)
        return self._described([(self.index.item_ids[near], float(score)) for near, score in found if near >= 0])

    def popularity_warning(self, popularity_weight: float | None = None) -> str | None:
        """A warning for lists at γ (default: the setting) if γ₀ of the recipe is unknown; None if it is known."""
        gamma = self.default_weight if popularity_weight is None else popularity_weight
        self.index.log_q_weight(gamma)  # raises if γ is outside 0 to 1
        if self.index.trained_weight_is_known:
            return None
        row = self.con.execute(
            read_query("serving/missing_popularity.sql"),
            {"version": self.version.model_version, "popularity_weight": gamma},
        ).fetchone()
        warning = (
            "γ₀ of the served recipe is unknown, as some of its negatives are uncorrected. γ is relative: "
            f"{self.index.trained_popularity_weight:g} is the score as it was trained."
        )
        if row is None:
            return f"{warning} δ is not known at γ = {gamma:g}; it is measured at 0, ½ and 1."
        delta, low, high = row
        warning += f" At γ = {gamma:g} the score misses δ = {delta:+.2f} [{low:+.2f}, {high:+.2f}] of log q."
        if low > 0 and gamma < 1:
            warning += " Popular items are already under-scored, and a lower γ lowers them further: raise γ."
        return warning

    def _ranked(self, user_id: str, k: int, gamma: float, seen: list[str]) -> list[tuple[str, float]]:
        """The k best items that are not in `seen`, with their scores."""
        import numpy as np

        row = self.con.execute(read_query("serving/user_vector.sql"), {"user_id": user_id}).fetchone()
        if row is None:
            raise NothingServedError(self._does_not_know("user", user_id))
        depth = min(k + len(seen), len(self.index))
        scores, positions = self.index.search(np.asarray([row[0]], np.float32), depth, gamma)
        excluded = set(seen)
        kept = [
            (self.index.item_ids[position], float(score))
            for position, score in zip(positions[0], scores[0], strict=True)
            if position >= 0 and self.index.item_ids[position] not in excluded
        ]
        return kept[:k]

    def _clicked(self, user_id: str) -> list[tuple[str, str | None]]:
        """Ids and titles of what the user has clicked, oldest first."""
        return self.con.execute(read_query("serving/clicked_items.sql"), {"user_id": user_id}).fetchall()

    def _described(self, found: list[tuple[str, float]]) -> list[Suggestion]:
        if not found:
            return []
        rows = self.con.execute(
            read_query("serving/item_titles.sql"),
            {"item_ids": [item for item, _ in found], "model_day": self.version.model_day},
        ).fetchall()
        return [
            Suggestion(rank, item_id, title, category, bucket, score)
            for rank, ((item_id, title, category, bucket), (_, score)) in enumerate(zip(rows, found, strict=True), 1)
        ]

    def _does_not_know(self, what: str, name: str) -> str:
        who = "the served model" if self.is_champion else f"version {self.version.model_version}"
        return (
            f"{who} does not know the {what} '{name}'. {what.capitalize()}s known to the champion: "
            f'`twotower sql "SELECT {what}_id FROM served_{what}_embeddings LIMIT 5"`'
        )


@contextmanager
def serving(workspace: Workspace, version: str | None = None) -> Iterator[Served]:
    """The champion, or the named version, ready to be queried; the lake and the index are opened once.

    Raises `NothingServedError` if there is no champion, `VersionError` if the version is unknown or has no index,
    `ItemIndexError` or `ArtifactError` if the index is damaged or missing.
    """
    from twotower_assets.retrieval.storage import load_index

    with workspace.lake.reader() as con:
        champion = champion_of(con)
        chosen = find_version(con, version) if version else champion
        if chosen is None:
            raise NothingServedError(
                "nothing is served yet: no model was trained, or none passed the gates. The checks and the report of "
                "the last run of training_job show which; `make demo` or `twotower materialize training_job` runs it"
            )
        if chosen.index_version is None:
            raise VersionError(
                f"{chosen.model_version} has no index; materialize serving/ann_index for {chosen.model_day} while this "
                "version is the model of that day"
            )
        is_champion = champion is not None and champion.index_version == chosen.index_version
        artifact = workspace.artifacts.open_recorded(con, "ann_index", chosen.index_version)
        index = load_index(artifact.folder)
        workspace.artifacts.verify(artifact)
        for table, view in VECTOR_VIEWS.items():
            rows = table if is_champion else f"read_parquet('{quoted(vector_file(artifact, table))}')"
            con.execute(f"CREATE TEMP VIEW {view} AS FROM {rows}")
        yield Served(con, index, chosen, workspace.settings.popularity_weight, is_champion)


def recommend(workspace: Workspace, user_id: str, k: int, popularity_weight: float | None = None) -> list[Suggestion]:
    """The k best items for a user from the champion; raises as `serving` and `Served.recommend` do."""
    with serving(workspace) as served:
        return served.recommend(user_id, k, popularity_weight)
