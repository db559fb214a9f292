"""What each part of the search is worth where nobody can try everything: the digits study's own space, 21 layers of 1 to 8 bits in 2 MB.

    python benchmarks/large_space.py --out docs/results/large_space.jsonl          # a quarter of an hour a seed on one thread
    python benchmarks/large_space.py --out docs/results/large_space.jsonl --report # the table alone

A trial is a real one: calibration, BatchNorm re-estimated, loss on the validation split; the test split is not read. Every contestant has
the same float network (one a seed), budget and number of trials. Optuna's samplers begin with ten random allocations that use 90 to 100 %
of the budget, see the violation as a constraint, and are not charged for proposals outside the budget or measured before, up to a hundred
of them; after that such a proposal is a trial in which nothing is found. Finished runs are lines of the file, which the same command
goes on from.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
import torch
from results_file import Row, append, read
from supernet import fitting
from tabular.signal_search import SignalSearch
from training_tasks import signal_inputs

from mpsearch.config import load_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.progress import Silent
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation
from mpsearch.propose.searcher import Searcher
from mpsearch.run.setup import build_setup
from mpsearch.signals import compute_signal
from mpsearch.study.sampler import suggest_bits
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

TRIALS = 40
REFINE = 30
"""The trial from which on the whole search swaps around the best: the last quarter, as shipped."""
COUNTS = (3, 5, 10, 20, 30, 40)
STARTS = 10
REDRAWS = 100
SIGNALS = ("fisher", "measured")

Loss = Callable[[Allocation], float]


def ours(problem: Problem, tables: Sequence[Table], seed: int, loss: Loss, *, refine: int = TRIALS) -> list[float]:
    """Losses of the trials of our search, in order."""
    searcher = Searcher(problem.space, tables, problem.costs, problem.budgets, seed=seed)
    seen: list[Observation] = []
    while len(seen) < TRIALS:
        allocation = searcher.propose(seen, refine=len(seen) >= refine).allocation
        seen.append(Observation(allocation=allocation, losses={"ptq": loss(allocation)}))
    return [observation.losses["ptq"] for observation in seen]


def without_surrogate(problem: Problem, tables: Sequence[Table], seed: int, loss: Loss) -> list[float]:
    """The same of the search that has no surrogate."""
    search = SignalSearch(problem.space, tables, problem.costs, problem.budgets, seed=seed)
    seen: list[Observation] = []
    while len(seen) < TRIALS:
        allocation = search.propose(seen).allocation
        seen.append(Observation(allocation=allocation, losses={"ptq": loss(allocation)}))
    return [observation.losses["ptq"] for observation in seen]


def optunas(problem: Problem, sampler: optuna.samplers.BaseSampler, seed: int, loss: Loss) -> list[float]:
    """The same of one of Optuna's samplers; infinite where nothing was found."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    names = [problem.space.names[group[0]] for group in problem.space.groups]
    for start in fitting(problem, STARTS, seed):
        study.enqueue_trial({f"bits/{name}": str(start[name]) for name in names})
    known: dict[Allocation, float] = {}
    found: list[float] = []
    redrawn = 0
    while len(found) < TRIALS:
        trial = study.ask()
        allocation = suggest_bits(trial, problem.space)
        violation = max(problem.costs[b.cost].total(allocation) / b.limit - 1 for b in problem.budgets)
        trial.set_constraint("size", violation)
        new = violation <= 0 and allocation not in known
        if new:
            known[allocation] = loss(allocation)
            found.append(known[allocation])
        elif (redrawn := redrawn + 1) > REDRAWS:
            found.append(math.inf)
        # What lies outside is told what the worst inside has: measuring it would cost a trial.
        study.tell(trial, math.log(known.get(allocation, max(known.values(), default=1.0))))
    return found


def gaussian_process(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's, which is called experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)


ENTRIES: dict[str, Callable[[Problem, Sequence[Table], int, Loss], list[float]]] = {
    "whole": lambda p, t, s, f: ours(p, t, s, f, refine=REFINE),
    "without refine": lambda p, t, s, f: ours(p, t, s, f),
    "without signals": lambda p, t, s, f: ours(p, (), s, f, refine=REFINE),
    "without the surrogate": without_surrogate,
    "Optuna TPE": lambda p, t, s, f: optunas(p, optuna.samplers.TPESampler(seed=s), s, f),
    "Optuna GP": lambda p, t, s, f: optunas(p, gaussian_process(s), s, f),
}


def ground(seed: int) -> tuple[Problem, list[Table], Loss]:
    """The study's problem, its signals, and what a trial measures."""
    config = load_study("digits_resnet18", {"seed": seed, "compile": "off"})
    problem = build_setup(config, Silent()).problem
    default = search_settings(config).default
    evaluator = Evaluator(problem, Compiler("off", problem.device))
    inputs = signal_inputs(problem, config)
    tables = [compute_signal(name, inputs) for name in SIGNALS]
    return problem, tables, lambda allocation: evaluator.untrained(allocation, default.method, default.recipe).loss


def run(out: Path, seeds: int, minutes: float) -> None:
    """Append what is missing, until time is up."""
    deadline = time.monotonic() + 60 * minutes
    done = {(row["seed"], row["entry"]) for row in read(out)}
    for seed in range(seeds):
        missing = [name for name in ENTRIES if (seed, name) not in done]
        if not missing:
            continue
        problem, tables, loss = ground(seed)
        for name in missing:
            if time.monotonic() > deadline:
                print("time is up; the same command goes on")
                return
            began = time.monotonic()
            losses = ENTRIES[name](problem, tables, seed, loss)
            append(out, {"seed": seed, "entry": name, "losses": [float(f"{value:.6g}") for value in losses]})
            print(f"seed {seed} {name}: {min(losses):.4f} after {time.monotonic() - began:.0f} s", flush=True)


def table(rows: Sequence[Row]) -> str:
    """Best loss so far over the whole search's after all trials, at the same seed: geometric mean over seeds, Markdown."""
    last = {row["seed"]: min(row["losses"]) for row in rows if row["entry"] == "whole"}
    lines = ["| | seeds | " + " | ".join(f"at {count}" for count in COUNTS) + " |", "|---" * (len(COUNTS) + 2) + "|"]
    for name in ENTRIES:
        own = [row for row in rows if row["entry"] == name and row["seed"] in last]
        if not own:
            continue
        logs = np.array([[math.log(min(row["losses"][:count]) / last[row["seed"]]) for count in COUNTS] for row in own])
        errors = logs.std(axis=0, ddof=1) / math.sqrt(len(own)) if len(own) > 1 else np.full(len(COUNTS), np.nan)
        cells = [f"{math.exp(mean):.3f} ± {error:.3f}" for mean, error in zip(logs.mean(axis=0), errors, strict=True)]
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of results: a JSON object a line, added to")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after so long")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.report:
        run(arguments.out, arguments.seeds, arguments.minutes)
    print(table(read(arguments.out)))


if __name__ == "__main__":
    main()
