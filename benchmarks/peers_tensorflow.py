"""The TensorFlow Recommenders peer, as a process of its own: `peers.tensorflow_recommenders` starts it.

    python benchmarks/peers_tensorflow.py WORK.npz

Reads a number of steps per line from standard input, trains that many, and answers a JSON object per line. Imports
nothing of this project and no torch, so that it can run in another environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tfrs.Model overrides the train_step of Keras 2
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SHUFFLE_BUFFER = 100_000  # as in the tutorials of TensorFlow Recommenders


def answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def trained_steps(work: dict[str, Any]) -> Iterator[float]:
    """Seconds of each call of Keras' training function, which takes one batch from the pipeline."""
    import tensorflow as tf
    import tensorflow_recommenders as tfrs

    threads, dimensions = int(work["threads"]), int(work["dimensions"])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.keras.utils.set_random_seed(int(work["seed"]))

    def tower(rows: int) -> tf.keras.Model:
        return tf.keras.Sequential(
            [
                tf.keras.layers.Embedding(rows, dimensions),
                tf.keras.layers.Dense(dimensions, activation="relu"),
                tf.keras.layers.Dense(dimensions),
                tf.keras.layers.UnitNormalization(),
            ]
        )

    class TwoTowers(tfrs.Model):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.items = tower(int(work["n_users"])), tower(int(work["n_items"]))
            self.task = tfrs.tasks.Retrieval(temperature=float(work["temperature"]))

        def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
            users, items = self.users(inputs["user"]), self.items(inputs["item"])
            return self.task(users, items, compute_metrics=not training)

    pairs = tf.data.Dataset.from_tensor_slices({"user": work["user"], "item": work["item"]})
    pairs = pairs.shuffle(SHUFFLE_BUFFER).repeat().batch(int(work["batch_size"]), drop_remainder=True)
    model = TwoTowers()
    optimizer = tf.keras.optimizers.Adam(float(work["learning_rate"]))
    model.compile(optimizer=optimizer, jit_compile=bool(work["jit"]) or None)
    batches, step = iter(pairs.prefetch(tf.data.AUTOTUNE)), model.make_train_function()
    answer(version=f"{tfrs.__version__.lstrip('v')}, TensorFlow {tf.__version__}")
    while True:
        started = time.perf_counter()
        float(step(batches)["loss"])
        yield time.perf_counter() - started


def main() -> None:
    with np.load(sys.argv[1]) as file:
        work = {name: file[name] for name in file.files}
    seconds = trained_steps(work)
    try:
        first = next(seconds)
    except ImportError as error:
        answer(missing=str(error))
        return
    answer(seconds=first)
    for line in sys.stdin:
        answer(seconds=sum(next(seconds) for _ in range(int(line))))


if __name__ == "__main__":
    main()
