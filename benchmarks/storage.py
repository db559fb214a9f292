"""What the storage of a trial costs: `python benchmarks/storage.py`.

Seconds of one process between a proposal and the end of its trial, without evaluation: wall time, which a loaded machine or a slow disk
prolongs, and processor time; and bytes on the disk. Two ways: `attribute`, as a study keeps its trials, and `parameters`, one categorical
parameter of Optuna a layer, as it does where another sampler draws them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from proposal import searcher
from results_file import append
from rich.console import Console
from rich.table import Table as Grid

from mpsearch.allocate.random_allocations import random_allocations
from mpsearch.core.allocation import Allocation
from mpsearch.core.record import Record, Score
from mpsearch.core.space import ResolvedSpace
from mpsearch.propose.observation import Proposal
from mpsearch.propose.searcher import Searcher
from mpsearch.study.records import Begun, begin_trial, proposal_attributes, write_record
from mpsearch.study.sampler import bits_space
from mpsearch.study.storage import open_study

DEPTHS = (20, 200, 2000)
TRIALS = 50


def by_attribute(study: optuna.Study, space: ResolvedSpace, proposal: Proposal, number: int) -> Begun:
    return begin_trial(study, proposal_attributes(proposal, number), {"size": -0.1})


def by_parameters(study: optuna.Study, space: ResolvedSpace, proposal: Proposal, number: int) -> Begun:
    study.enqueue_trial({f"bits/{name}": str(choice) for name, choice in proposal.allocation.items()})
    asked = study.ask()
    for name, menu in bits_space(space).items():
        asked.suggest_categorical(name, list(menu.choices))
    for name, value in proposal_attributes(proposal, number).items():
        asked.set_user_attr(name, value)
    asked.set_constraint("size", -0.1)
    return Begun(study=study, asked=asked)


WAYS: dict[str, Callable[[optuna.Study, ResolvedSpace, Proposal, int], Begun]] = {"attribute": by_attribute, "parameters": by_parameters}


def measured(url: str, way: str, found: Searcher, trials: int) -> tuple[float, float]:
    """(wall, processor) seconds a trial; bits differ from layer to layer, so that their text is as long as it gets."""
    space, budgets = found.indexed.space, found.indexed.budgets
    proposals = [Proposal(origin="ei", allocation=bits, improvement=0.1, noise=0.01) for bits in drawn(found, trials)]
    study = open_study(url, way)
    started, used = time.perf_counter(), time.process_time()
    for number, proposal in enumerate(proposals):
        begun = WAYS[way](study, space, proposal, number)
        lr = begun.asked.suggest_float("recipe.lr", 0.001, 0.1, log=True)
        write_record(begun, record(number, proposal.allocation, lr, found), budgets)
    return (time.perf_counter() - started) / trials, (time.process_time() - used) / trials


def drawn(found: Searcher, trials: int) -> list[Allocation]:
    """Random allocations within the budget."""
    return random_allocations(found.indexed.space, found.indexed.costs, found.indexed.budgets, trials, seed=0)


def record(number: int, allocation: Allocation, lr: float, found: Searcher) -> Record:
    """Of a trial that climbed two rungs and trained for three epochs."""
    return Record(
        number=number,
        origin="ei",
        allocation=allocation,
        rung="short",
        scores={
            "ptq": Score(loss=2.302585092994046, error=0.5123456789, metric=0.4876543211),
            "short": Score(loss=1.1234567890123456, error=0.2512345678, metric=0.7487654322),
        },
        costs={name: cost.total(allocation) for name, cost in found.indexed.costs.items()},
        params={"method": "lsq", "recipe.lr": lr},
        seconds=12.345678,
        curve=tuple({"epoch": epoch, "loss": 1.2345678901234567, "metric": 0.7487654322} for epoch in range(1, 4)),
    )


def main() -> None:
    """Print the table; add a line for each row to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, help="of the database; default: the system's for temporary files")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    grid = Grid("layers", "way", "wall, ms", "processor, ms", "bytes", title="Storage of a trial, SQLite")
    for depth in asked.depths:
        found, _ = searcher(depth)
        for way in asked.ways:
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                url, file = f"sqlite:///{folder}/trials.db", Path(folder, "trials.db")
                open_study(url, way)
                empty = file.stat().st_size
                wall, used = measured(url, way, found, asked.trials)
                size = (file.stat().st_size - empty) / asked.trials
            grid.add_row(str(depth), way, f"{wall * 1e3:.1f}", f"{used * 1e3:.1f}", f"{size:,.0f}")
            row = {"layers": depth, "way": way, "trials": asked.trials, "wall": wall, "processor": used, "bytes": size}
            if asked.out is not None:
                append(asked.out, row)
    Console().print(grid)


if __name__ == "__main__":
    main()
