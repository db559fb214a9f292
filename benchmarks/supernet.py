"""What a score by shared weights is worth: its price, and how well it ranks allocations as short training does, beside calibration.

    python benchmarks/supernet.py --out runs/supernet.jsonl                 # some ten minutes on one core; killed, the same goes on
    python benchmarks/supernet.py --out runs/supernet.jsonl --minutes 4     # in pieces
    python benchmarks/supernet.py --out runs/supernet.jsonl --report        # the tables alone

Allocations are random ones that just fit the budget (90 to 100 % of it), so that size tells nothing. Each is scored on the validation split
by calibration with BatchNorm re-estimated (`ptq`), by the shared weights (`supernet`), and by short training from the float weights
(`short`); some by the same training from the shared weights (`inherited`), and from the float weights with another seed (`again`), which
says how far ranks can agree at all. One JSON line a score; seconds of processor and wall.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from mpsearch.config import load_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.progress import Silent
from mpsearch.core.record import Score
from mpsearch.network.network import Network
from mpsearch.report.progress import RichProgress
from mpsearch.run.setup import build_setup
from mpsearch.study.settings import search_settings
from mpsearch.training.compiled import Compiler
from mpsearch.training.sandwich import Sandwich
from mpsearch.training.supernet import SupernetRecipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

SPEED = 40
"""Different allocations whose scoring is timed."""
RESAMPLES = 2000


def fitting(problem: Problem, count: int, seed: int) -> list[Allocation]:
    """Different random allocations that take 90 to 100 % of the tightest budget."""
    aimed = Sandwich(problem.space, problem.costs, [Budget(b.cost, 0.86 * b.limit, b.text) for b in problem.budgets])
    torch.manual_seed(seed)
    found: dict[Allocation, None] = {}
    while len(found) < count:
        allocation = aimed.draw()
        used = max(problem.costs[b.cost].total(allocation) / b.limit for b in problem.budgets)
        if 0.9 <= used <= 1:
            found[allocation] = None
    return list(found)


def measure(arguments: argparse.Namespace, console: Console) -> None:
    """Append what is missing to the file, until time is up."""
    deadline = time.monotonic() + 60 * arguments.minutes
    asked = {
        "compile": "off",
        "budgets": [arguments.budget] if arguments.budget else None,
        "search.supernet.epochs": arguments.supernet_epochs,
    }
    config = load_study(arguments.study, {key: value for key, value in asked.items() if value is not None})
    progress = RichProgress(console)
    problem = build_setup(config, progress).problem
    hyper = search_settings(config).default
    short = with_epochs(hyper.recipe, arguments.epochs)
    plain = Evaluator(problem, Compiler("off", problem.device))
    settings = SupernetRecipe(
        recipe=with_epochs(hyper.recipe, config.search.supernet.epochs),
        draws=config.search.supernet.draws,
        images=config.search.supernet.images,
    )
    kept = arguments.out.with_suffix(".checkpoint")
    steps = Steps()
    shared = SupernetEvaluator(problem, Compiler("off", problem.device), settings, hyper.method, checkpoint=kept, progress=steps)

    def trained(allocation: Allocation, *, inherited: bool = False, seed: int = 1) -> Score:
        network = plain.begin(allocation, hyper.method)
        if inherited:
            inherit(shared.prepare().network, network)
        plain.train(network, hyper.method, short, seed=problem.seed + seed)
        return plain.score(network)

    kinds: dict[str, Callable[[Allocation], Score]] = {
        "ptq": lambda allocation: plain.untrained(allocation, hyper.method, hyper.recipe),
        "supernet": lambda allocation: shared.untrained(allocation, hyper.method, hyper.recipe),
        "short": trained,
        "inherited": lambda allocation: trained(allocation, inherited=True),
        "again": lambda allocation: trained(allocation, seed=2),
    }
    lines = read(arguments.out)
    done = {(line["kind"], line["allocation"]) for line in lines}

    def prepare() -> None:
        shared.prepare()

    trained_now = timed("training", "", prepare)
    if steps.done:
        append(arguments.out, trained_now, steps=len(steps.done), of=steps.total)
    if not any(line["kind"] == "speed" for line in lines):
        allocations = iter(fitting(problem, SPEED + 8, seed=99))
        for _ in range(8):  # the first ones quantize the weights that the others find kept
            kinds["supernet"](next(allocations))
        for allocation in allocations:
            append(arguments.out, timed("speed", allocation.spelled(), partial(kinds["supernet"], allocation)))
    compared = fitting(problem, arguments.allocations, seed=7)
    for kind, score in kinds.items():
        for allocation in compared[: {"inherited": arguments.inherited, "again": arguments.again}.get(kind)]:
            if time.monotonic() > deadline:
                console.print("time is up; the same command goes on")
                return
            if (kind, allocation.spelled()) not in done:
                append(arguments.out, timed(kind, allocation.spelled(), partial(score, allocation)))


@torch.no_grad()
def inherit(shared: Network, network: Network) -> None:
    """Put shared weights into a network that has begun at an allocation: weights, statistics, and steps to start from."""
    assert network.allocation is not None
    shared.set_bits(network.allocation)
    for name in network.architecture.state_dict():
        network.tensor(name).copy_(shared.tensor(name))
    for layer in network.space.layers:
        weight, act, donor = network.weight_quantizer(layer), network.act_quantizer(layer), shared.act_quantizer(layer)
        if weight.bits != FLOAT_BITS:
            rows = weight.rows.split(network.latent_weight(layer).detach())
            weight.begin(rows, shared.weight_quantizer(layer).steps(rows))
        if act is not None and donor is not None and act.bits != FLOAT_BITS:
            act.begin(donor.step_value())
    network.method.begin(network)


class Steps(Silent):
    """Notes the steps of training that this process made itself."""

    def __init__(self) -> None:
        self.done: list[float] = []
        self.total = 0.0

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        """One more."""
        self.done.append(done)
        self.total = total or 0.0


def timed(kind: str, allocation: str, run: Callable[[], Score | None]) -> dict[str, Any]:
    """One line: a score and what it took."""
    wall, processor = time.perf_counter(), time.process_time()
    score = run()
    took = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    return {"kind": kind, "allocation": allocation, **took, **({} if score is None else {"loss": score.loss, "metric": score.metric})}


def append(file: Path, line: dict[str, Any], **more: Any) -> None:
    """Add a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write(json.dumps({**line, **more}) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    """All lines, a last one that was cut off by a kill left out."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def spread(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Spearman's ρ and the 5 and 95 % points of its bootstrap."""
    random = np.random.default_rng(0)
    picks = random.integers(len(truth), size=(RESAMPLES, len(truth)))
    resampled = [spearmanr(found[rows], truth[rows]).statistic for rows in picks if len(set(rows)) > 2]
    low, high = np.nanpercentile(resampled, [5, 95])
    return float(spearmanr(found, truth).statistic), float(low), float(high)


def report(lines: list[dict[str, Any]], console: Console) -> None:
    """Print the tables."""
    by_kind: dict[str, dict[str, dict[str, Any]]] = {}
    for line in lines:
        by_kind.setdefault(line["kind"], {})[line["allocation"]] = line
    truth = by_kind.get("short", {})
    table = Table(title=f"against short training, {len(truth)} allocations that just fit")
    for column in ("score", "rank correlation", "5 to 95 %", "mean loss", "best by it: loss after short training", "processor s each"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for kind in ("ptq", "supernet", "again"):
        common = [name for name in truth if name in by_kind.get(kind, {})]
        if len(common) < 4:
            continue
        found, true = (np.array([side[name]["loss"] for name in common]) for side in (by_kind[kind], truth))
        rho, low, high = spread(found, true)
        each = np.mean([by_kind[kind][name]["processor_seconds"] for name in common])
        table.add_row(kind, f"{rho:.2f}", f"{low:.2f} to {high:.2f}", f"{found.mean():.4f}", f"{true[found.argmin()]:.4f}", f"{each:.2f}")
    console.print(table)
    if truth:
        losses = np.array([line["loss"] for line in truth.values()])
        console.print(f"short training itself: loss {losses.min():.4f} to {losses.max():.4f}, mean {losses.mean():.4f}")
    speed = list(by_kind.get("speed", {}).values())
    if speed:
        wall, processor = (np.array([line[name] for line in speed]) for name in ("seconds", "processor_seconds"))
        training = by_kind["training"][""]
        once = training["processor_seconds"] * training["of"] / training["steps"]
        console.print(
            f"supernet: {60 / np.median(processor):.0f} evaluations a processor minute, {60 / np.median(wall):.0f} by the wall clock "
            f"(medians of {len(speed)}); trained once in {once:.0f} processor s"
        )
    both = [name for name in truth if name in by_kind.get("inherited", {})]
    if both:
        pairs = np.array([[truth[name]["loss"], by_kind["inherited"][name]["loss"]] for name in both])
        console.print(
            f"short training of {len(both)}: from float weights {pairs[:, 0].mean():.4f}, from shared weights {pairs[:, 1].mean():.4f} "
            f"(mean validation loss; {int((pairs[:, 1] < pairs[:, 0]).sum())} of {len(both)} lower from shared weights)"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="digits_resnet18")
    parser.add_argument("--budget")
    parser.add_argument("--allocations", type=int, default=20)
    parser.add_argument("--inherited", type=int, default=8, help="how many are also trained from the shared weights")
    parser.add_argument("--again", type=int, default=20, help="how many are trained once more, with another seed: how far ranks can agree")
    parser.add_argument("--epochs", type=int, default=2, help="of short training")
    parser.add_argument("--supernet-epochs", type=int, help="instead of the study's")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console(width=140)
    if not arguments.report:
        measure(arguments, console)
    report(read(arguments.out), console)


if __name__ == "__main__":
    main()
