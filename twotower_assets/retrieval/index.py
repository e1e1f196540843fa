"""The index over item embeddings, with the popularity weight γ as part of the query.

Build, search and similar items are here. How items and queries become vectors is in `geometry`, files are in
`storage`, measurements against exact search in `quality`. Which index is served is decided in `serving`.

The score is ⟨u, v⟩/τ + b_j + (γ − γ₀)·log q_j. Bias and log q are dimensions of the stored vectors, 1 and γ − γ₀ of
the query, so that γ is chosen per query without a rebuild. The index stores γ₀; the caller of `search` gives γ.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twotower_assets.core.popularity import log_q_weight
from twotower_assets.retrieval.errors import ItemIndexError as ItemIndexError
from twotower_assets.retrieval.geometry import FloatMatrix, Geometry, Items

IntMatrix: TypeAlias = NDArray[np.int64]

FLAT_UP_TO: Final = 50_000
"""Up to this many items the default index is exact: a query then takes a few milliseconds at most."""
HNSW_EF_CONSTRUCTION: Final = 200
HNSW_EF_SEARCH: Final = 256
HNSW_DEPTHS: Final = (100, 150, 200, 300, 400, 600, 800, 1200)
SMALLEST_NPROBE: Final = 8
PADDING: Final = -1


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """A searchable index, built by `build_index` or read by `storage.load_index`.

    Attributes:
        faiss_index: the FAISS index over the stored vectors of `geometry`.
        item_ids: the id at every position, in the order that items were given in.
        dimension: d, of user and item vectors.
        geometry: converts items and queries to vectors, and results to scores.
        factory: the FAISS index-factory string.
        trained_popularity_weight: γ₀, how much log q the trained score already contains.
        trained_weight_is_known: whether γ₀ follows from the recipe; if not, γ is relative to it.
        search_depth: efSearch of a graph or nprobe of an inverted file; None if the index has no such
            parameter.
        extra: JSON values stored with the index, such as the checkpoint version.
    """

    faiss_index: Any
    item_ids: tuple[str, ...]
    dimension: int
    geometry: Geometry
    factory: str
    trained_popularity_weight: float
    trained_weight_is_known: bool = True
    search_depth: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_ids)

    def at_depth(self, search_depth: int) -> ItemIndex:
        """This index with another efSearch or nprobe. It shares the FAISS index, so the original changes too."""
        return replace(self, search_depth=set_search_depth(self.faiss_index, search_depth))

    def search(
        self,
        user_vectors: NDArray[Any],
        k: int,
        popularity_weight: float | NDArray[Any] | None = None,
        threads: int | None = None,
    ) -> tuple[FloatMatrix, IntMatrix]:
        """The k items of highest score for every user, best first.

        Args:
            user_vectors: float32 [m, d]; normalised like the item vectors.
            k: items per user; may exceed the size of the index.
            popularity_weight: γ, from 0 (affinity alone) to 1 (click probability): one number or one per user, [m];
                None for the score as it was trained, γ = γ₀.
            threads: that share the users; None leaves it to FAISS. A single query uses one.

        Returns:
            Scores ⟨u, v⟩/τ + b + (γ − γ₀)·log q, float32 [m, k], with log q and b as they were given, and positions
            into `item_ids`, int64 [m, k]. Where fewer than k items were found: −∞ and −1.

        Raises:
            ItemIndexError: wrong shapes, NaN or infinity in a query vector, γ outside 0 to 1, or k below 1.
        """
        users = self._user_vectors(user_vectors)
        added = np.zeros(()) if popularity_weight is None else self.log_q_weight(popularity_weight)
        weights = added.astype(np.float32)
        if weights.shape not in ((), (len(users),)):
            raise ItemIndexError(
                f"popularity_weight must be one number, or one for each of the {len(users)} users; "
                f"got shape {weights.shape}"
            )
        queries = self.geometry.queries(users, weights)
        found, positions = self._nearest(queries, k, threads)
        scores = self.geometry.scores(found, queries, weights)
        scores[positions == PADDING] = -np.inf
        return scores, positions

    def log_q_weight(self, popularity_weight: float | NDArray[Any]) -> NDArray[np.float64]:
        """γ − γ₀, the weight of log q in a query at γ.

        Raises:
            ItemIndexError: γ is not a number from 0 to 1.
        """
        try:
            return log_q_weight(popularity_weight, self.trained_popularity_weight)
        except ValueError as error:
            raise ItemIndexError(str(error)) from error

    def similar_items(self, item: int | NDArray[Any], k: int) -> tuple[FloatMatrix, IntMatrix]:
        """The k items with the largest inner product with this item, itself excluded.

        Bias and popularity are ignored. With normalised item vectors this is the cosine.

        Args:
            item: a position in `item_ids`, or a vector, float32 [d], that need not be in the index.
            k: number of items.

        Returns:
            Inner products, float32 [k], and positions, int64 [k]; −∞ and −1 where fewer were found. As exact
            as the index: a compressed index returns compressed vectors.

        Raises:
            ItemIndexError: no such position, a vector of the wrong shape or not finite, or k below 1.
        """
        own_position = PADDING
        if isinstance(item, int | np.integer):
            own_position = int(item)
            vector = self.item_vector(own_position)
        else:
            vector = self._user_vectors(np.asarray(item)[None, :])[0]
        query = np.zeros((1, self.geometry.width(self.dimension)), dtype=np.float32)
        query[0, : self.dimension] = vector
        found, positions = self._nearest(query, k + 1)
        products = self.geometry.inner_products(found, query)
        products[positions == PADDING] = -np.inf
        others = np.flatnonzero((positions[0] != own_position) | (positions[0] == PADDING))[:k]
        return products[0, others], positions[0, others]

    def item_vector(self, position: int) -> FloatMatrix:
        """The item vector at a position, float32 [d]."""
        if not 0 <= position < len(self):
            raise ItemIndexError(f"position {position} is outside [0, {len(self)})")
        try:
            stored = self.faiss_index.reconstruct(position)
        except RuntimeError as error:
            raise ItemIndexError(f"an index of type '{self.factory}' cannot return its vectors") from error
        vector: FloatMatrix = stored[: self.dimension]
        return vector

    def position_of(self, item_id: str) -> int:
        """The position of an item id, found in time proportional to the number of items."""
        try:
            return self.item_ids.index(item_id)
        except ValueError:
            raise ItemIndexError(f"item '{item_id}' is not among the {len(self):,} items indexed") from None

    def _user_vectors(self, vectors: NDArray[Any]) -> FloatMatrix:
        """The vectors as contiguous float32 [m, d], checked to be finite and of that shape."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ItemIndexError(f"expected vectors of shape [m, {self.dimension}], got {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise ItemIndexError("a query vector holds NaN or infinity")
        return vectors

    def _nearest(self, queries: FloatMatrix, k: int, threads: int | None = None) -> tuple[FloatMatrix, IntMatrix]:
        """Distances or inner products of query vectors [m, width], and positions; 0 and −1 where fewer were found."""
        if k < 1:
            raise ItemIndexError(f"k must be at least 1, got {k}")
        with faiss_threads(threads):
            found, positions = self.faiss_index.search(queries, k)
        found[positions == PADDING] = 0.0
        return found, positions


def build_index(
    item_ids: Sequence[str],
    item_vectors: NDArray[Any],
    *,
    inverse_temperature: float,
    log_q: NDArray[Any],
    trained_popularity_weight: float,
    trained_weight_is_known: bool = True,
    bias: NDArray[Any] | None = None,
    factory: str | None = None,
    search_depth: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    extra: dict[str, Any] | None = None,
) -> ItemIndex:
    """Build the index of all items.

    Args:
        item_ids: n distinct ids.
        item_vectors: float32 [n, d].
        inverse_temperature: 1/τ of the model; 1 where it was trained on plain inner products.
        log_q: log sampling probability, float32 [n], finite (clipped below for unseen items).
        trained_popularity_weight: γ₀, how much log q the trained score already contains.
        trained_weight_is_known: whether γ₀ follows from the recipe; if not, γ is relative to it.
        bias: learned additive bias b, float32 [n], or None.
        factory: a FAISS index-factory string; None chooses by size, see `default_factory`. Some types compress or
            rotate popularity along with the rest, so measure them at γ > 0 (`quality.measure_index`). `Flat` is by
            inner product, every other by distance, see `geometry`.
        search_depth: efSearch of a graph or nprobe of an inverted file, which trades speed for recall;
            None means 256, respectively an eighth of the lists but at least 8.
        seed: of clustering and graph levels. The same input and seed give the same index; for a graph this holds
            only with threads=1, because the insertion order of several threads varies.
        threads: for building; None leaves it to FAISS.
        extra: JSON values stored with the index, such as the checkpoint version.

    Raises:
        ItemIndexError: nothing to index, mismatched shapes, repeated ids, NaN or infinity, a factory
            string that FAISS does not know, or that needs more items than there are.
    """
    import faiss

    if not np.isfinite(trained_popularity_weight):
        raise ItemIndexError(f"trained_popularity_weight (γ₀) must be finite, got {trained_popularity_weight}")
    items = Items.checked(item_vectors, inverse_temperature, bias, log_q)
    n, dimension = items.vectors.shape
    ids = _distinct_ids(item_ids, n)
    chosen = default_factory(n) if factory is None else factory
    by_distance = chosen != "Flat"
    geometry, stored = Geometry.fit(items, by_distance)
    metric = faiss.METRIC_L2 if by_distance else faiss.METRIC_INNER_PRODUCT
    try:
        index = faiss.index_factory(stored.shape[1], chosen, metric)
        _seed(index, seed)
        with faiss_threads(threads):
            index.train(stored)
            index.add(stored)
    except RuntimeError as error:
        raise ItemIndexError(
            f"FAISS cannot build '{chosen}' over {n:,} vectors of dimension {stored.shape[1]} (the model's "
            f"{dimension} and {stored.shape[1] - dimension} for bias, popularity and length): {_reason(error)}. "
            "Choose another index-factory string, or none for the default"
        ) from error
    return ItemIndex(
        faiss_index=index,
        item_ids=ids,
        dimension=dimension,
        geometry=geometry,
        factory=chosen,
        trained_popularity_weight=float(trained_popularity_weight),
        trained_weight_is_known=bool(trained_weight_is_known),
        search_depth=set_search_depth(index, search_depth),
        extra=dict(extra or {}),
    )


def default_factory(n_items: int) -> str:
    """The FAISS index-factory string for a size: exact up to `FLAT_UP_TO` items, then an inverted file of 4·√n lists.

    A graph (HNSW32) of 200,000 items answers fewer queries per second at equal recall@100, is built more slowly and is
    twice as large: `benchmarks/index.py`.
    """
    return "Flat" if n_items <= FLAT_UP_TO else f"IVF{round(4 * n_items**0.5)},Flat"


def depths_to_try(index: ItemIndex) -> tuple[int, ...]:
    """Values of efSearch or nprobe to measure, ascending; empty for an index without a search depth."""
    import faiss

    if index.search_depth is None:
        return ()
    inverted_file = faiss.try_extract_index_ivf(index.faiss_index)
    if inverted_file is None:
        return HNSW_DEPTHS
    return inverted_file_depths(inverted_file.nlist)


def inverted_file_depths(lists: int) -> tuple[int, ...]:
    """4, 6, 8, 12, 16, 24, … up to the number of lists."""
    steps = (step for power in range(2, lists.bit_length()) for step in (2**power, 3 * 2 ** (power - 1)))
    return (*(step for step in steps if step < lists), lists)


def set_search_depth(index: Any, search_depth: int | None) -> int | None:
    """Set efSearch or nprobe, whichever the FAISS index has, and prepare it to reconstruct vectors.

    Returns the depth set, or None if the index has neither. Raises ItemIndexError for a depth below 1.
    """
    import faiss

    if search_depth is not None and search_depth < 1:
        raise ItemIndexError(f"search_depth must be at least 1, got {search_depth}")
    inverted_file = faiss.try_extract_index_ivf(index)
    if inverted_file is not None:
        inverted_file.make_direct_map()
        depth = search_depth or max(SMALLEST_NPROBE, inverted_file.nlist // 8)
        inverted_file.nprobe = depth
        return int(depth)
    depth = search_depth or HNSW_EF_SEARCH
    try:
        faiss.ParameterSpace().set_index_parameter(index, "efSearch", depth)
    except RuntimeError:
        return None
    return depth


@contextmanager
def faiss_threads(threads: int | None) -> Iterator[int]:
    """Run FAISS on this many threads inside the block; yields the number in use."""
    import faiss

    before: int = faiss.omp_get_max_threads()
    if threads is not None:
        if threads < 1:
            raise ItemIndexError(f"threads must be at least 1, got {threads}")
        faiss.omp_set_num_threads(threads)
    try:
        yield before if threads is None else threads
    finally:
        faiss.omp_set_num_threads(before)


def _distinct_ids(item_ids: Sequence[str], n: int) -> tuple[str, ...]:
    """The ids, checked to be n distinct strings."""
    ids = tuple(item_ids)
    if len(ids) != n:
        raise ItemIndexError(f"{len(ids)} item ids for {n} item vectors")
    not_strings = [item_id for item_id in ids if not isinstance(item_id, str)]
    if not_strings:
        raise ItemIndexError(f"item ids must be strings, got {not_strings[0]!r}")
    if len(set(ids)) < n:
        repeated = Counter(ids).most_common(1)[0][0]
        raise ItemIndexError(f"item id '{repeated}' occurs more than once; {n - len(set(ids))} ids are repeats")
    return ids


def _seed(index: Any, seed: int) -> None:
    """Seed the random parts of a FAISS index: clustering, and the levels of a graph."""
    import faiss

    swig: Any = faiss  # its type stubs lack the random generator
    inner: Any = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if isinstance(inner, faiss.IndexIVF):
        inner.cp.seed = seed
    if isinstance(inner, faiss.IndexHNSW):
        graph: Any = inner.hnsw
        graph.rng = swig.RandomGenerator(seed)
        graph.efConstruction = HNSW_EF_CONSTRUCTION


def _reason(error: RuntimeError) -> str:
    """The message of FAISS without the leading C++ signature and source line."""
    return re.sub(r"^Error in .*? at [^ ]+:\d+: ", "", str(error), flags=re.DOTALL).strip()
