"""The first computations of a process, in which Numba has launched no thread yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
import torch

from twotower_assets.two_tower.kernels.threads import computing_threads

IDLE = "import os, twotower_assets; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
LOOP = """
import numpy as np, numba, torch
from twotower_assets.two_tower.kernels.threads import computing_threads

@numba.njit(parallel=True)
def total(values):
    result = 0.0
    for place in numba.prange(len(values)):
        result += values[place]
    return result

with computing_threads(1):
    total(np.ones(1000))
    print(torch.get_num_threads(), numba.get_num_threads())
"""
TRAINING = """
import numpy as np, pyarrow as pa, torch, numba
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import build_training_set
from twotower_assets.two_tower.training.loop import train

ids = [str(place % 7) for place in range(200)]
pairs = pa.table({"user_id": ids, "item_id": ids[::-1], "history": [["1", "2"]] * 200})
items = pa.table({"item_id": [str(place) for place in range(7)]})
config = TrainingConfig(epochs=1, dimensions=8, batch_size=64)
data = build_training_set(pairs, items, pa.table({"user_id": pa.array([], pa.string())}), config)
train(data, config, threads=1, on_epoch=lambda _: print(torch.get_num_threads(), numba.get_num_threads()))
"""


@pytest.mark.parametrize("program", [LOOP, TRAINING], ids=["a loop compiled anew", "a training"])
@pytest.mark.slow
def test_the_first_computation_of_a_process_keeps_to_its_threads(program: str, tmp_path: Path) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_numbers_of_threads_are_restored(threads: int) -> None:
    before = torch.get_num_threads(), numba.get_num_threads()
    with computing_threads(threads) as used:
        assert (used, torch.get_num_threads()) == (threads, threads)
        assert numba.get_num_threads() == min(threads, numba.config.NUMBA_NUM_THREADS)
        with computing_threads(None) as again:
            assert again == threads
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
def test_idle_threads_sleep_soon_unless_the_user_says_otherwise(given: dict[str, str], found: str) -> None:
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours} | given
    printed = subprocess.run([sys.executable, "-c", IDLE], env=environment, check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == found
