"""Programs that runs delivered, compiled and run on the whole test split, beside what torch scores.

    python benchmarks/score_c.py RUN...        # runs of the target c; `-O2`, one thread

The test split is read once more, to compare programs with networks; nothing is chosen by it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from mpsearch.config import load_study
from mpsearch.data import load_data
from mpsearch.models import build_model
from mpsearch.network.canonical import canonical
from mpsearch.network.inputs import call
from mpsearch.targets import TARGETS
from mpsearch.targets.c.program import FLAGS, CompiledModel

_TIMED = 200


@torch.no_grad()
def row(run: Path) -> str:
    """A line of the table."""
    config, target = load_study(run / "study.yaml"), TARGETS["c"]()
    path = run / target.file
    model = canonical(build_model(config.model.factory, dict(config.model.options)))
    scored, program = target.read(path).install(model), CompiledModel(path, (*FLAGS, "-O2"))
    splits = load_data(config.data.reference, seed=config.seed, **config.data.options)
    assert splits.test is not None
    right = ours = other = samples = 0
    times: list[float] = []
    for inputs, labels in splits.test.batches(256):
        expected, computed = call(scored, inputs).argmax(1), program(inputs).argmax(1)
        right, ours = right + int((expected == labels).sum()), ours + int((computed == labels).sum())
        other, samples = other + int((expected != computed).sum()), samples + len(labels)
        if len(times) < _TIMED:
            one = program.prepared(inputs[:1])
            began = time.process_time()
            one()
            times.append(time.process_time() - began)
    cells = [run.name, f"{target.deployed_bytes(path):,}", f"{100 * right / samples:.2f}", f"{100 * ours / samples:.2f}"]
    return "| " + " | ".join([*cells, f"{other} of {samples:,}", f"{1e3 * statistics.median(times):.2f}"]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| run | flash B | in torch | compiled | answers that differ | ms a sample |")
    print("|---|---|---|---|---|---|")
    for run in asked.runs:
        print(row(run), flush=True)


if __name__ == "__main__":
    main()
