"""Whether the tests notice mistakes in negatives, masks, corrections and the loss.

    python tools/mutate_loss.py [--only WORD] [--list]

Each mutation changes a line of a copy of the package; the tests of the loss then have to fail. A mutation that survives
is printed, and the program ends with 1. All of them take half an hour or more; `make mutations`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/two_tower/loss/test_every_loss.py",
    "tests/two_tower/sampling",
    "tests/two_tower/loss/test_compiled_softmax.py",
    "tests/two_tower/test_engines.py",
    "tests/two_tower/test_suite.py",
    "tests/two_tower/loss/test_simulated_market.py",
    "tests/two_tower/training",
)


class Mutation(NamedTuple):
    """A mistake: in this file under `two_tower/`, this text becomes that one."""

    file: str
    text: str
    instead: str


MUTATIONS = (
    # Which negatives there are, and how often they are expected.
    Mutation("sampling/negatives.py", "(len(batch) - 1) * self.proposal", "len(batch) * self.proposal"),
    Mutation("sampling/negatives.py", "self.count * self._probability[items]", "self._probability[items]"),
    Mutation("sampling/negatives.py", "clicks**settings.exponent", "clicks"),
    Mutation("sampling/negatives.py", "(np.arange(len(clicks)) > 0)", "(clicks > 0)"),
    Mutation("sampling/negatives.py", "return np.where(group[:, None] >= 0, drawn, 0)", "return drawn"),
    Mutation("sampling/negatives.py", "np.repeat(each, np.diff", "np.repeat(1.1 * each, np.diff"),
    Mutation("sampling/item_queue.py", "len(self) * self.proposal", "(len(self) + 1) * self.proposal"),
    Mutation("sampling/item_queue.py", 'side="right"', 'side="left"'),
    Mutation("sampling/item_queue.py", "self.batches <= self.warm_up", "self.batches < self.warm_up"),
    Mutation("sampling/own_source.py", "self.per_positive * probability", "probability"),
    Mutation("sampling/proposals.py", "age = (data.clicked_at.max() - data.clicked_at)", "age = (0 * data.clicked_at)"),
    Mutation("sampling/all_sources.py", "and not source.uncorrected", ""),
    Mutation("sampling/all_sources.py", 'math.log(getattr(settings, "weight", 1.0))', "0.0"),
    # The correction.
    Mutation("sampling/correction.py", "columns = np.log(candidates.count) -", "columns = 0.0 * candidates.count -"),
    Mutation("sampling/correction.py", "- self._log_unmasked[candidates", "+ self._log_unmasked[candidates"),
    Mutation("sampling/correction.py", "- self._log_unmasked[row_negatives]", ""),
    Mutation("sampling/correction.py", 'if config.correction == "logq":', 'if config.correction != "none":'),
    Mutation("sampling/correction.py", "pairs[:, 0] = -np.log", "pairs[:, 0] = np.log"),
    Mutation("sampling/correction.py", "columns -= np.log", "columns += np.log"),
    Mutation("sampling/correction.py", "pairs[:, 1:] -= np.log", "pairs[:, 1:] += np.log"),
    Mutation("sampling/correction.py", "-np.log(1.0 + expected.data / shared)", "-np.log(expected.data + shared)"),
    Mutation("sampling/correction.py", "np.maximum(drawn - masked, 1e-9)", "np.full(len(batch), float(drawn))"),
    Mutation("sampling/correction.py", "np.where(total > 0, total, unseen)", "np.maximum(total, 1.0)"),
    # Masks.
    Mutation("sampling/masks.py", 'if "clicked" not in names:', 'if "clicked" in names:'),
    Mutation("sampling/masks.py", "hits -= len(batch)", "hits -= 0"),
    Mutation("sampling/masks.py", "row_masked = row_negatives == 0", "row_masked = row_negatives < 0"),
    Mutation("sampling/masks.py", '|= _row_mask("accidental_hit"', '&= _row_mask("accidental_hit"'),
    Mutation("sampling/masks.py", 'row_masked |= _row_mask("clicked"', '_row_mask("clicked"'),
    Mutation("sampling/masks.py", "np.where(requests >= 0, index, -1)", "np.where(requests >= 0, -1, index)"),
    Mutation("sampling/masks.py", "candidates - (masked >> COLUMNS_BITS)", "candidates"),
    Mutation("sampling/masks.py", "np.log(np.maximum(1.0 - masked", "0.0 * np.log(np.maximum(1.0 - masked"),
    # What is sampled.
    Mutation("sampling/negative_sampler.py", "offsets.pairs[:, 1:][masks.row_negatives] = -np.inf", "pass"),
    Mutation("sampling/negative_sampler.py", "weights=data.weights[rows]", "weights=np.ones_like(data.weights[rows])"),
    Mutation("sampling/negative_sampler.py", "+ batch.item) * 2 + hidden", "+ batch.item) * 2"),
    Mutation("sampling/negative_sampler.py", "factor * shared.positive_count", "0 * shared.positive_count"),
    Mutation("sampling/negative_sampler.py", "self.proposal.update(batch.item)", "pass"),
    Mutation("sampling/negative_sampler.py", "share_of_item = share *", "share_of_item = 2 * share *"),
    # The engines.
    Mutation("loss/compiled_softmax.py", "powers[masked[index]] = -np.inf", "powers[masked[index]] += 0.0"),
    Mutation("loss/compiled_softmax.py", "powers[corrected[index]] += corrections[index]", "pass"),
    Mutation("loss/compiled_softmax.py", "+ column_offsets[column]", ""),
    Mutation("loss/compiled_softmax.py", "max(unmasked[row] - close, 1)", "max(unmasked[row] - close, 1) + 1"),
    Mutation("loss/compiled_softmax.py", "close += column_count[column]", "close += 1"),
    Mutation("loss/compiled_softmax.py", "row_pairs[0] -= share[row]", "row_pairs[0] -= 0.5 * share[row]"),
    Mutation("loss/compiled_softmax.py", "factor = share[row] / total", "factor = 1.01 * share[row] / total"),
    Mutation("loss/compiled_softmax.py", "grad_right += torch.mm", "grad_right = torch.mm"),
    Mutation("loss/compiled_softmax.py", "+= grad_pair * query[column]", "+= 0.0 * query[column]"),
    Mutation("loss/compiled_engine.py", "[:columns] += grad_shared", "[:columns] += 0.9 * grad_shared"),
    Mutation("loss/compiled_engine.py", "[-kept:]", "[:kept]"),
    Mutation("loss/compiled_engine.py", "2.0 * self._weight / len", "self._weight / len"),
    Mutation("loss/compiled_engine.py", "column_offsets + shared.numpy()", "column_offsets"),
    Mutation("loss/compiled_engine.py", "gradient[self._queued :] +=", "gradient[self._queued :] -="),
    Mutation("loss/torch_softmax.py", "masked[self.masked] = True", "pass"),
    Mutation("loss/torch_softmax.py", "index_put(self.corrected, self.row_corrections)", "clone()"),
    Mutation("loss/torch_engine.py", "gradient * ctx.saved_tensors[0]", "gradient"),
)  # fmt: skip


def survivors(only: str) -> list[Mutation]:
    """Mutations that no test noticed, of those whose file or text holds the word `only`."""
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("twotower_assets", "tests", "sql", "docs"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if not tests_pass(copy):
            raise SystemExit("the tests fail without any mutation")
        for mutation in MUTATIONS:
            if only not in f"{mutation.file} {mutation.text}":
                continue
            file = copy / "twotower_assets" / "two_tower" / mutation.file
            original, stat = file.read_text(encoding="utf-8"), file.stat()
            file.write_text(mutated(original, mutation), encoding="utf-8")
            started = time.perf_counter()
            noticed = not tests_pass(copy)
            file.write_text(original, encoding="utf-8")
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            print(
                f"{'noticed ' if noticed else 'SURVIVED'} {time.perf_counter() - started:4.0f} s  {mutation.file}: "
                f"{mutation.text}",
                flush=True,
            )
            if not noticed:
                alive.append(mutation)
    return alive


def mutated(source: str, mutation: Mutation) -> str:
    """The source with the mistake. Raises `SystemExit` if its text is not there exactly once."""
    if source.count(mutation.text) != 1:
        raise SystemExit(f"{mutation.file} has '{mutation.text}' {source.count(mutation.text)} times")
    return source.replace(mutation.text, mutation.instead)


def tests_pass(copy: Path) -> bool:
    """Whether the tests of the loss pass in a copy; they end with the first that fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), str(copy / "tests")])}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    if done.returncode > 1:
        raise SystemExit(done.stdout.decode()[-3000:])
    return done.returncode == 0


def main() -> None:
    """Run the mutations, or list them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose file or text holds this word")
    parser.add_argument("--list", action="store_true", help="print them, and check that their texts are there")
    arguments = parser.parse_args()
    if arguments.list:
        for mutation in MUTATIONS:
            mutated((ROOT / "twotower_assets" / "two_tower" / mutation.file).read_text(encoding="utf-8"), mutation)
            print(f"{mutation.file}: {mutation.text}  →  {mutation.instead}")
        return
    alive = survivors(arguments.only)
    print(f"{len(alive)} survived")
    raise SystemExit(1 if alive else 0)


if __name__ == "__main__":
    main()
