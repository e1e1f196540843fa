"""What does an index cost, and what does it find: build time, recall@100, queries per second, bytes per vector.

    python benchmarks/index.py [--vectors 200000 1000000] [--kinds flat IVF …] [--spread .3] [--json FILE]
    python benchmarks/index.py --short      50,000 vectors in under a minute

Needs `pip install hnswlib` (the extra `bench`) for the rows of hnswlib; without it they are left out.

The vectors are made, not trained, with a seed. They are clustered and skewed as trained ones are, but were not fitted
to those of any model:

- items, 64 dimensions, length 1: around centres, one for every 30 items, these around 50 broad ones, all with a
  spectrum that falls as 1/j. Uniform noise would be pathologically hard, a few tight
  clusters too easy;
- clicks: Zipf–Mandelbrot, (rank + 20)^−1.1, so that log q spans 8 nats and more. An item's rank follows its centre, a
  direction of the space, and chance, 25 : 16 : 59 of the variance;
- users: near an item drawn by its clicks;
- scores: cosine / τ + b + w·log q, with τ = .15 and b of deviation .25. `--bias log_q` puts log q into the bias, as a
  recipe does that starts it there: the same scores at γ from γ₀ = 1 instead of 0.

Protocol: every core builds, one thread searches, all users in one batch. Recall@100 is of exact search, at γ = 0, ½
and 1. The depth (efSearch, nprobe) is the smallest of those tried whose recall is at least `--recall` at all three, as
the asset `ann_index` chooses it. Queries per second are the median of `--repeats` batches, with the smallest and the
largest. Bytes are of the saved index without its ids.

Rows "by inner product" store [v/τ, b, log q − mean] as it is, without the layout of `retrieval/geometry.py`: what that
brings. Rows "without γ" are the same kind over cosines alone: what the dial costs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np

from twotower_assets.core.cores import available_cores
from twotower_assets.core.popularity import KEY_WEIGHTS, log_q_weight
from twotower_assets.retrieval import geometry
from twotower_assets.retrieval.geometry import Geometry, Items
from twotower_assets.retrieval.index import (
    HNSW_DEPTHS,
    HNSW_EF_CONSTRUCTION,
    build_index,
    depths_to_try,
    inverted_file_depths,
)

DIMENSION, USERS, K = 64, 1_000, 100
INVERSE_TEMPERATURE: Final = 1 / 0.15
LINKS: Final = 32


@dataclass(frozen=True)
class Catalogue:
    """Items and the users that ask, with the best K of every user by exact search at every γ."""

    vectors: np.ndarray
    users: np.ndarray
    bias: np.ndarray
    log_q: np.ndarray
    trained_weight: float
    exact: dict[float, np.ndarray]

    def log_q_weight(self, gamma: float) -> float:
        """γ − γ₀."""
        return float(log_q_weight(gamma, self.trained_weight))


@dataclass(frozen=True)
class Built:
    """An index that can be asked.

    Attributes:
        search: gives positions, int64 [users, K], for a γ, at the depth set.
        at_depth: sets the depth.
        depths: to try; none where the index has no dial.
        write: writes the index to a file.
    """

    search: Callable[[float], np.ndarray]
    at_depth: Callable[[int], Any]
    depths: Sequence[int]
    write: Callable[[Path], None]


@dataclass(frozen=True)
class Kind:
    """A kind of index: how it is built from a catalogue with this many threads, and whether it knows popularity."""

    build: Callable[[Catalogue, int], Built]
    popularity: bool = True


@dataclass(frozen=True)
class Row:
    """One index at one γ (null without popularity)."""

    vectors: int
    kind: str
    gamma: float | None
    build_seconds: float
    build_threads: int
    depth: int | None
    recall_at_100: float
    queries_per_second: float
    slowest: float
    fastest: float
    bytes_per_vector: float


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_catalogue(n: int, popularity: bool = True, bias_holds: str = "noise", seed: int = 0) -> Catalogue:
    """The items and users that the module describes; without popularity, the same vectors with b = log q = 0."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, DIMENSION + 1) ** -0.5).astype(np.float32)

    def noise(size: int) -> np.ndarray:
        return rng.standard_normal((size, DIMENSION), dtype=np.float32) * spectrum

    n_centres = n // 30
    centres = noise(50)[rng.integers(0, 50, n_centres)] + 0.8 * noise(n_centres)
    sizes = rng.pareto(2.0, n_centres) + 0.2
    own = rng.choice(n_centres, n, p=sizes / sizes.sum())
    vectors = unit(centres[own] + 0.6 * noise(n))
    along = vectors @ unit(noise(1))[0]
    liking = 0.5 * rng.standard_normal(n_centres)[own] + 0.4 * along / along.std() + 0.77 * rng.standard_normal(n)
    rank = np.empty(n)
    rank[np.argsort(-liking)] = np.arange(n)
    clicks = np.maximum(20 * n * _shares((rank + 20) ** -1.1), 0.5)
    log_q = np.log(_shares(clicks))
    liked = rng.choice(n, USERS, p=_shares(clicks))
    users = unit(vectors[liked] + 0.8 * noise(USERS) / np.linalg.norm(spectrum))
    bias = 0.25 * rng.standard_normal(n) + (log_q if bias_holds == "log_q" else 0)
    if not popularity:
        log_q, bias = np.zeros(n), np.zeros(n)
    trained_weight = 1.0 if bias_holds == "log_q" else 0.0
    plain = _plain(vectors, bias, log_q)
    exact = {
        gamma: faiss.knn(
            _asking(users, float(log_q_weight(gamma, trained_weight))), plain, K, metric=faiss.METRIC_INNER_PRODUCT
        )[1]
        for gamma in (KEY_WEIGHTS if popularity else KEY_WEIGHTS[:1])
    }
    return Catalogue(vectors, users, bias, log_q, trained_weight, exact)


def _plain(vectors: np.ndarray, bias: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """[v/τ, b, log q], the last two less their means: float32 [n, d + 2]."""
    parts = [vectors * np.float32(INVERSE_TEMPERATURE), bias - bias.mean(), log_q - log_q.mean()]
    return np.column_stack(parts).astype(np.float32)


def _asking(users: np.ndarray, weight: float) -> np.ndarray:
    """[u, 1, w], float32 [m, d + 2]."""
    asking: np.ndarray = np.hstack([users, np.broadcast_to(np.array([1.0, weight], np.float32), (len(users), 2))])
    return asking


def _shares(values: np.ndarray) -> np.ndarray:
    shares: np.ndarray = values / values.sum()
    return shares


def by_faiss(factory: str, data: Catalogue, threads: int) -> Built:
    """The platform's own index of this kind."""
    index = build_index(
        [str(position) for position in range(len(data.vectors))],
        data.vectors,
        inverse_temperature=INVERSE_TEMPERATURE,
        log_q=data.log_q,
        trained_popularity_weight=data.trained_weight,
        bias=data.bias,
        factory=factory,
        threads=threads,
    )
    return Built(
        search=lambda gamma: index.search(data.users, K, gamma, threads=1)[1],
        at_depth=index.at_depth,
        depths=depths_to_try(index),
        write=lambda path: faiss.write_index(index.faiss_index, str(path)),
    )


def by_inner_product(factory: str, data: Catalogue, threads: int) -> Built:
    """FAISS over [v/τ, b, log q − mean], or, without popularity, over v alone: by inner product, not laid out."""
    stored, popularity = data.vectors, data.log_q.any()
    if popularity:
        stored = _plain(data.vectors, data.bias, data.log_q)
    faiss.omp_set_num_threads(threads)
    index = faiss.index_factory(stored.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if inverted := faiss.try_extract_index_ivf(index):
        dial, depths = "nprobe", inverted_file_depths(inverted.nlist)
    else:
        dial, depths = "efSearch", () if factory == "Flat" else HNSW_DEPTHS
    if factory.startswith("HNSW"):
        faiss.ParameterSpace().set_index_parameter(index, "efConstruction", HNSW_EF_CONSTRUCTION)
    index.train(stored)
    index.add(stored)

    def search(gamma: float) -> np.ndarray:
        faiss.omp_set_num_threads(1)
        queries = _asking(data.users, data.log_q_weight(gamma)) if popularity else data.users
        found: np.ndarray = index.search(queries, K)[1]
        return found

    return Built(
        search=search,
        at_depth=lambda depth: faiss.ParameterSpace().set_index_parameter(index, dial, depth),
        depths=depths,
        write=lambda path: faiss.write_index(index, str(path)),
    )


def by_hnswlib(data: Catalogue, threads: int) -> Built:
    """hnswlib over the same layout of items and queries, with as many links and as careful a construction."""
    import hnswlib

    items = Items.checked(data.vectors, INVERSE_TEMPERATURE, data.bias, data.log_q)
    layout, stored = Geometry.fit(items, by_distance=True)
    index = hnswlib.Index(space="l2", dim=stored.shape[1])
    index.init_index(max_elements=len(stored), M=LINKS, ef_construction=HNSW_EF_CONSTRUCTION, random_seed=0)
    index.add_items(stored, num_threads=threads)

    def search(gamma: float) -> np.ndarray:
        queries = layout.queries(data.users, np.array(data.log_q_weight(gamma), np.float32))
        found: np.ndarray = index.knn_query(queries, K, num_threads=1)[0].astype(np.int64)
        return found

    return Built(search, index.set_ef, HNSW_DEPTHS, lambda path: index.save_index(str(path)))


def kinds_for(n: int) -> dict[str, Kind]:
    """What is compared, by name."""
    factories = {
        "Flat": "Flat",
        "IVF": f"IVF{round(4 * n**0.5)},Flat",
        "IVF fp16": f"IVF{round(4 * n**0.5)},SQfp16",
        "IVF SQ8": f"IVF{round(4 * n**0.5)},SQ8",
        "HNSW": f"HNSW{LINKS}",
    }
    kinds = {name: Kind(partial(by_faiss, factory)) for name, factory in factories.items()}
    if importlib.util.find_spec("hnswlib"):
        kinds["hnswlib"] = Kind(by_hnswlib)
    for name in ("IVF", "HNSW"):
        kinds[f"{name} by inner product"] = Kind(partial(by_inner_product, factories[name]))
    for name in ("Flat", "IVF"):
        kinds[f"{name} without γ"] = Kind(partial(by_inner_product, factories[name]), popularity=False)
    return kinds


def measure(name: str, kind: Kind, data: Catalogue, floor: float, repeats: int) -> Iterator[Row]:
    """Build, choose the depth, and time it: one row per γ."""
    n, threads = len(data.vectors), available_cores()
    start = time.perf_counter()
    built = kind.build(data, threads)
    seconds = time.perf_counter() - start
    depth, recalls = None, {}
    for depth in built.depths or (None,):
        if depth is not None:
            built.at_depth(depth)
        recalls = {gamma: recall(built.search(gamma), data.exact[gamma]) for gamma in data.exact}
        if min(recalls.values()) >= floor:
            break
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index"
        built.write(file)
        size = file.stat().st_size / n
    for gamma, found in recalls.items():
        speeds = []
        for _ in range(repeats):
            start = time.perf_counter()
            built.search(gamma)
            speeds.append(USERS / (time.perf_counter() - start))
        weight, speed = gamma if kind.popularity else None, statistics.median(speeds)
        yield Row(n, name, weight, seconds, threads, depth, found, speed, min(speeds), max(speeds), size)


def recall(lists: np.ndarray, exact: np.ndarray) -> float:
    """Share of the exact lists, [users, K], that stands in the lists found."""
    return sum(len(set(a) & set(b)) for a, b in zip(lists.tolist(), exact.tolist(), strict=True)) / exact.size


HEAD = """
| vectors | index | build, s | depth | bytes per vector | γ | recall@100 | queries per second, one thread |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def as_line(row: Row) -> str:
    """A row of the table."""
    gamma, depth = "–" if row.gamma is None else f"{row.gamma:g}", row.depth or "–"
    return (
        f"| {row.vectors:,} | {row.kind} | {row.build_seconds:.1f} | {depth} | {row.bytes_per_vector:.0f} | {gamma} | "
        f"{row.recall_at_100:.3f} | {row.queries_per_second:,.0f} [{row.slowest:,.0f}–{row.fastest:,.0f}] |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=kinds_for(1), metavar="KIND", help=", ".join(kinds_for(1)))
    parser.add_argument("--recall", type=float, default=0.95, help="that the depth is chosen for, at every γ")
    parser.add_argument("--repeats", type=int, default=5, help="batches timed")
    parser.add_argument("--bias", choices=("noise", "log_q"), default="noise", help="what the learned bias holds")
    parser.add_argument(
        "--spread", type=float, default=geometry.POPULARITY_SPREAD, help="POPULARITY_SPREAD to lay out by"
    )
    parser.add_argument("--short", action="store_true", help="50,000 vectors and three batches")
    parser.add_argument("--json", type=Path, help="file to write the rows to, one JSON object a line")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.vectors, arguments.repeats = [50_000], 3
    vars(geometry)["POPULARITY_SPREAD"] = arguments.spread
    print(f"{available_cores()} cores, FAISS {faiss.__version__}; all build, one thread searches", flush=True)
    print(HEAD)
    rows = []
    for n in arguments.vectors:
        kinds = kinds_for(n)
        chosen = {name: kinds[name] for name in arguments.kinds or kinds if name in kinds}
        for popularity in (True, False):
            here = {name: kind for name, kind in chosen.items() if kind.popularity == popularity}
            if not here:
                continue
            data = make_catalogue(n, popularity, arguments.bias)
            for name, kind in here.items():
                for row in measure(name, kind, data, arguments.recall, arguments.repeats):
                    print(as_line(row), flush=True)
                    rows.append(row)
    if arguments.json:
        arguments.json.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))


if __name__ == "__main__":
    main()
