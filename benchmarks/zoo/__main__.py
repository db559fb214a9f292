"""Make trained networks smaller, unmodified and with the weights of their packages, and print the table.

    pip install -r benchmarks/zoo/requirements.txt
    pip install --no-deps -r benchmarks/zoo/requirements-no-deps.txt   # packages that ask for an old torch, or for one of their own

    python -m benchmarks.zoo --out docs/results/zoo.jsonl              # all that is missing; 40 minutes on one thread
    python -m benchmarks.zoo --out docs/results/zoo.jsonl rnet fracast # some
    python -m benchmarks.zoo --out docs/results/zoo.jsonl --report     # the table alone

Each row is one `mpsearch.search` at 25 or 12 percent of the bytes of the float tensors, by calibration alone or with a short training.
The test split is read by the search itself, once. Finished rows are lines of the file, which the same command goes on from.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from results_file import append, known, read

from benchmarks.zoo.measure import KEY, Job, measure, measure_rivals
from benchmarks.zoo.networks import NETWORKS, Network
from benchmarks.zoo.table import table

__all__ = ["jobs", "main", "run"]

SHARES = (0.25, 0.12)


def jobs(names: list[str]) -> list[Job]:
    """All rows of these networks: calibration alone of every network first."""
    return [Job(network=name, share=share, trained=trained) for trained in (False, True) for name in names for share in SHARES]


def run(out: Path, names: list[str], minutes: float, networks: Mapping[str, Network] = NETWORKS) -> None:
    """Append what is missing, until time is up."""
    deadline = time.monotonic() + 60 * minutes
    for job in jobs(names):
        if (job.network, job.share, job.trained) in known(read(out), KEY):
            continue
        if time.monotonic() > deadline:
            print("time is up; the same command goes on")
            return
        case = networks[job.network].build()
        if job.trained and not case.epochs:
            continue
        if case.rivals and (job.network, "rival") not in known(read(out), ("network", "status")):
            for row in measure_rivals(job.network, case):
                append(out, row)
        row = measure(job, case)
        append(out, row)
        print(row, flush=True)


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--out", type=Path, required=True, help="file of results: a JSON object a line, added to")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after so long")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - NETWORKS.keys()):
        parser.error(f"no network is called {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    if not arguments.report:
        run(arguments.out, arguments.names or list(NETWORKS), arguments.minutes)
    print(table(read(arguments.out)))


if __name__ == "__main__":
    main()
