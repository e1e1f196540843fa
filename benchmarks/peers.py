"""What the training core is compared with: a tutorial's loop, TensorFlow Recommenders, ALS, and the matrix products.

Here: how each peer trains, and pairs per second of those that train in steps. Not here: what they are compared with,
and on which data. A peer is built once and asked many times, so that `timing.alternate` can ask them in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import timing
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

TENSORFLOW_PYTHON = "TENSORFLOW_PYTHON"
"""Environment variable: the Python that has tensorflow_recommenders, where it is not this one."""

Peer = Callable[[int], float]
"""Trains that many steps and gives positive pairs per second over them."""


class PeerMissingError(RuntimeError):
    """A peer cannot be measured here; says why, and what to install."""


@dataclass(frozen=True)
class Work:
    """What every peer trains on: N positive pairs, user and item int64 [N], as rows of the towers' tables."""

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    n_users: int
    n_items: int
    dimensions: int = 64
    batch_size: int = 1024
    temperature: float = 0.1
    learning_rate: float = 1e-3
    seed: int = 0


def zipf_work(n_users: int, n_items: int, n_pairs: int, **settings: Any) -> Work:
    """Random pairs: users uniform, items in proportion to 1 / rank."""
    random = np.random.default_rng(settings.get("seed", 0))
    popularity = 1.0 / np.arange(1, n_items + 1)
    item = random.choice(n_items, n_pairs, p=popularity / popularity.sum())
    return Work(random.integers(n_users, size=n_pairs), item, n_users, n_items, **settings)


class TextbookTowers(nn.Module):
    """An embedding and a small MLP per tower, L2-normalised."""

    def __init__(self, work: Work, *, sparse: bool = False) -> None:
        super().__init__()
        self.user_table = nn.Embedding(work.n_users, work.dimensions, sparse=sparse)
        self.item_table = nn.Embedding(work.n_items, work.dimensions, sparse=sparse)
        self.user_mlp = _mlp(work.dimensions)
        self.item_mlp = _mlp(work.dimensions)

    def users(self, rows: Tensor) -> Tensor:
        """int64 [n] to float32 [n, d] of length 1."""
        return functional.normalize(self.user_mlp(self.user_table(rows)), dim=1)

    def items(self, rows: Tensor) -> Tensor:
        """int64 [n] to float32 [n, d] of length 1."""
        return functional.normalize(self.item_mlp(self.item_table(rows)), dim=1)


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


class TextbookLoop:
    """The loop of a tutorial: in-batch softmax, Adam.

    `sparse` has sparse gradients of the tables and SparseAdam for them. `batches` is 'loader' for the DataLoader of a
    TensorDataset, which collates pair by pair, or 'sliced' for slices of a permutation.
    """

    def __init__(self, work: Work, *, sparse: bool = False, batches: Literal["loader", "sliced"] = "loader") -> None:
        torch.manual_seed(work.seed)
        self.work = work
        self.towers = TextbookTowers(work, sparse=sparse)
        tables = [self.towers.user_table.weight, self.towers.item_table.weight]
        mlps = [*self.towers.user_mlp.parameters(), *self.towers.item_mlp.parameters()]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam([*tables, *mlps], lr=work.learning_rate)]
        if sparse:
            self.optimizers = [
                torch.optim.SparseAdam(tables, lr=work.learning_rate),
                torch.optim.Adam(mlps, lr=work.learning_rate),
            ]
        self.pairs = TensorDataset(torch.from_numpy(work.user), torch.from_numpy(work.item))
        self.loader = DataLoader(self.pairs, batch_size=work.batch_size, shuffle=True, drop_last=True)
        self.sliced = batches == "sliced"

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch: users and items, int64 [B] each; the incomplete last one is left out."""
        if not self.sliced:
            yield from self.loader
            return
        user, item = self.pairs.tensors
        for rows in torch.split(torch.randperm(len(user)), self.work.batch_size):
            if len(rows) == self.work.batch_size:
                yield user[rows], item[rows]

    def step(self, user: Tensor, item: Tensor) -> float:
        """One optimiser step; the loss before it."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        logits = self.towers.users(user) @ self.towers.items(item).T / self.work.temperature  # (B, B)
        loss = functional.cross_entropy(logits, torch.arange(len(user)))
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.item()

    def train_epoch(self) -> None:
        for user, item in self.epoch():
            self.step(user, item)


def textbook(work: Work, *, sparse: bool = False, batches: Literal["loader", "sliced"] = "loader") -> Peer:
    """A tutorial's loop, see `TextbookLoop`."""
    loop = TextbookLoop(work, sparse=sparse, batches=batches)

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loop.epoch()

    pairs = endless()
    return per_second(work.batch_size, lambda: loop.step(*next(pairs)))


def plain_loss(work: Work) -> Peer:
    """The loss alone, by autograd over the B × B logits: forward, and backward to the vectors of users and items."""
    users, items = _vectors(work)
    users.requires_grad_()
    items.requires_grad_()

    def step() -> None:
        users.grad = items.grad = None
        logits = users @ items.T / work.temperature
        functional.cross_entropy(logits, torch.arange(len(users))).backward()  # type: ignore[no-untyped-call]

    return per_second(work.batch_size, step)


def three_products(work: Work) -> Peer:
    """The physical limit: the three float32 matrix products of a dense step, untiled, into buffers that exist.

    U Vᵀ [B, B] is written where the softmax P would overwrite it; then P V [B, d], and Pᵀ U [B, d].
    """
    users, items = _vectors(work)
    square = torch.empty(work.batch_size, work.batch_size)
    user_gradient, item_gradient = torch.empty_like(users), torch.empty_like(items)

    def step() -> None:
        torch.mm(users, items.T, out=square)
        torch.mm(square, items, out=user_gradient)
        torch.mm(square.T, users, out=item_gradient)

    return per_second(work.batch_size, step)


def _vectors(work: Work) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(work.seed)
    shape = (2, work.batch_size, work.dimensions)
    users, items = functional.normalize(torch.randn(shape, generator=generator), dim=2).unbind()
    return users.contiguous(), items.contiguous()


def per_second(pairs_per_step: int, step: Callable[[], object]) -> Peer:
    def run(steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            step()
        return steps * pairs_per_step / (time.perf_counter() - started)

    return run


@contextmanager
def tensorflow_recommenders(work: Work, python: str | Path | None = None, *, jit: bool = False) -> Iterator[Peer]:
    """`tfrs.tasks.Retrieval` with the same towers, in a process of its own with as many threads as torch has here.

    Args:
        work: Dense Adam here too.
        python: Interpreter that has tensorflow_recommenders; else the one in TENSORFLOW_PYTHON, else this one.
        jit: Compile the step with XLA.

    Raises:
        PeerMissingError: That interpreter has no tensorflow_recommenders.
    """
    interpreter = str(python or os.environ.get(TENSORFLOW_PYTHON) or sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.npz"
        np.savez(file, threads=torch.get_num_threads(), jit=jit, **asdict(work))
        script = Path(__file__).with_name("peers_tensorflow.py")
        with subprocess.Popen(
            [interpreter, str(script), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                _told(process, interpreter)
                _told(process, interpreter)
                yield partial(_asked, process, interpreter, work.batch_size)
            finally:
                process.kill()


def _asked(process: subprocess.Popen[str], interpreter: str, batch_size: int, steps: int) -> float:
    assert process.stdin is not None
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return steps * batch_size / float(_told(process, interpreter)["seconds"])


def _told(process: subprocess.Popen[str], interpreter: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"missing": "its process ended"}
    if "missing" in answer:
        raise PeerMissingError(
            f"TensorFlow Recommenders is left out: {interpreter}: {answer['missing']}. "
            f"Install '.[bench]', or name a Python that has it in {TENSORFLOW_PYTHON}"
        )
    return answer


@dataclass(frozen=True)
class Factors:
    """Vectors float32 [n_users, f] and [n_items, f], and the seconds from the pairs to them."""

    users: npt.NDArray[np.float32]
    items: npt.NDArray[np.float32]
    seconds: float


def implicit_als(
    user: npt.NDArray[np.int64],
    item: npt.NDArray[np.int64],
    n_users: int,
    n_items: int,
    *,
    factors: int = 64,
    regularization: float = 0.01,
    alpha: float = 1.0,
    iterations: int = 15,
    seed: int = 0,
) -> Factors:
    """Alternating least squares of `implicit`, on as many threads as torch has.

    Raises:
        PeerMissingError: implicit is not installed.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError as error:
        raise PeerMissingError("ALS is left out: implicit is not installed. Install '.[bench]'") from error
    from scipy.sparse import csr_matrix

    with blas_threads(1):  # implicit's own threads call BLAS
        started = time.perf_counter()
        clicks = csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=(n_users, n_items))
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            num_threads=torch.get_num_threads(),
            random_state=seed,
        )
        model.fit(clicks, show_progress=False)
        return Factors(model.user_factors, model.item_factors, time.perf_counter() - started)


def blas_threads(threads: int) -> AbstractContextManager[Any]:
    """Threads of the BLAS of numpy and scipy; leaves them as they are where threadpoolctl is not installed."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(threads, "blas")
    return limits


def measure(peers: Mapping[str, Peer], seconds: float = 2.0, rounds: int = 5) -> dict[str, list[float]]:
    """Pairs per second of each peer in each round, in alternation.

    Args:
        peers: By name.
        seconds: About how long each peer trains per round; a trial run says how many steps that is.
        rounds: Counted rounds, after one that is not.
    """
    steps: dict[str, int] = {}
    for name, peer in peers.items():
        peer(2)
        started = time.perf_counter()
        peer(3)
        steps[name] = max(3, round(3 * seconds / (time.perf_counter() - started)))
    return timing.alternate({name: partial(peer, steps[name]) for name, peer in peers.items()}, rounds)
