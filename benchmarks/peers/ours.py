"""mpsearch's rows of the comparison with peers: CIFAR-10, ResNet-20, post-training only.

    python benchmarks/peers/ours.py --data DIR --weights FILE --out ours.json --bits 4 3.5 3 2.5 2.1
    python benchmarks/peers/ours.py … --menu 2 4 8
    python benchmarks/peers/ours.py … --method brecq --given ours.json        (the same allocations, calibrated otherwise)
    python benchmarks/peers/ours.py … --given ours.json --epochs 4                        (the same, trained after gptq)

Everything is chosen by the divergence from the float network on held-out training images, without labels; training distils from the float
network and reads none either. The test split is read once a row, at the end. Rows that the file holds already are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from mpsearch.config.study import validate_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.progress import Silent
from mpsearch.core.record import Record
from mpsearch.core.table import Table
from mpsearch.costs.budgets import parse_budgets
from mpsearch.data.split import Split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods import METHODS
from mpsearch.network.baked import bake
from mpsearch.network.inputs import call
from mpsearch.propose.observation import Observation
from mpsearch.propose.searcher import Searcher
from mpsearch.run.setup import Setup, build_setup
from mpsearch.signals import compute_signal
from mpsearch.signals.base import SignalInputs
from mpsearch.tasks.meters import SampleMeter
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

RECIPE = Recipe(epochs=0, warmup=0.05, distill=1.0, reestimate=2048)
FULL_MENU = (1, 2, 3, 4, 5, 6, 7, 8)


def setup_of(
    data: str, weights: str, menu: tuple[int, ...], act_bits: int, bits: float, seed: int, grid: str = "half", target: str = "packed"
) -> Setup:
    """Data, float network, space and ranges, as a study has them; the seed draws held-out and calibration images."""
    activations = "float" if act_bits == FLOAT_BITS else act_bits
    config = validate_study(
        {
            "name": "peers",
            "data": {
                "source": "imagefolder",
                "path": data,
                "options": {"size": 32, "mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010], "augment": "crop-flip"},
            },
            "model": {"factory": "resnet20_cifar", "weights": weights},
            "space": {"weights": ["float" if b == FLOAT_BITS else b for b in menu], "activations": [activations]},
            "budgets": [f"{bits}bit"],
            "target": target,
            "methods": {"gptq": {"grid": grid}},
            "recipe": {name: value for name, value in asdict(RECIPE).items() if name != "epochs"},
            "seed": seed,
        },
        label="peers",
    )
    return build_setup(config, Silent())


def by_divergence(problem: Problem, images: int) -> Problem:
    """The same search, scored by the mean divergence from the float outputs on held-out training images."""
    inputs = torch.cat([x for x, _ in problem.validation.take(images, 0).batches(256)])
    with torch.no_grad():
        outputs = torch.cat([call(problem.model, batch) for batch in torch.split(inputs, 256)])
    task = problem.task

    def mean(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return task.divergence(wanted, found).mean()

    def apart(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return task.divergence(wanted, found)

    scored: Task = replace(
        task,
        metric_name="divergence",
        loss=mean,
        per_sample=apart,
        meter=lambda: SampleMeter(apart, "divergence"),
        error=lambda value: value,
    )
    return replace(problem, validation=TensorSplit(inputs, outputs), task=scored)


def tables(problem: Problem, images: int, names: list[str]) -> list[Table]:
    """The signals, on training images."""
    batches = list(problem.train.take(images, problem.seed).batches(128))
    made: list[Table] = []
    for name in names:
        started = time.monotonic()
        made.append(
            compute_signal(
                name,
                SignalInputs(model=problem.model, space=problem.space, calibration=problem.calibration, batches=batches, task=problem.task),
            )
        )
        print(f"signal {name}: {time.monotonic() - started:.0f} s", flush=True)
    return made


def searched(problem: Problem, evaluator: Evaluator, found: list[Table], method: Any, trials: int, file: Path) -> list[Record]:
    """Proposals, the last quarter of them swaps, each calibrated and scored; best last. Those in the file are not run again."""
    searcher = Searcher(problem.space, found, problem.costs, problem.budgets, seed=problem.seed)
    records = [Record.from_dict(plain) for plain in json.loads(file.read_text())] if file.exists() else []
    for number in range(len(records), trials):
        observations = [Observation(allocation=record.allocation, losses={"ptq": record.score.loss}) for record in records]
        proposal = searcher.propose(observations, refine=number >= trials - trials // 4)
        started = time.monotonic()
        score = evaluator.untrained(proposal.allocation, method, RECIPE)
        amounts = problem.amounts(proposal.allocation, method)
        records.append(
            Record(number=number, origin=proposal.origin, allocation=proposal.allocation, rung="ptq", scores={"ptq": score}, costs=amounts)
        )
        file.write_text(json.dumps([record.to_dict() for record in records]))
        print(f"  {number} {proposal.origin}: {score.loss:.4f} nats, {time.monotonic() - started:.0f} s", flush=True)
    return sorted(records, key=lambda record: -record.score.loss)


def row(
    evaluator: Evaluator,
    plain: Evaluator,
    test: Split,
    allocation: Allocation,
    quantizer: Any,
    train: Recipe,
    images: int,
    words: dict[str, Any],
) -> dict[str, Any]:
    """Calibrate once more, train if epochs are asked for, and read the test split; `plain` knows labels and has the task's own metric."""
    network, started = evaluator.begin(allocation, quantizer), time.monotonic()
    score = evaluator.ptq(network, quantizer, RECIPE)
    parts = bake(network)
    if train.epochs:
        split = plain.problem.train.take(images, plain.problem.seed)
        plain.train(network, quantizer, train, seed=plain.problem.seed + 1, split=split, on_step=_told)
        after = evaluator.score(network)
        print(f"  {score.loss:.4f} nats, trained {after.loss:.4f}", flush=True)
        if after.loss < score.loss:
            score, parts = after, bake(network)
    seconds = time.monotonic() - started
    layers = plain.problem.space.layers
    return {
        **words,
        "mean_bits": allocation.mean_weight_bits(layers),
        "weight_bytes": sum(layer.weights * allocation[layer.name].weight.bits for layer in layers) / 8,
        "divergence": score.loss,
        "seconds": round(seconds, 1),
        "run": date.today().isoformat(),
        "test": plain.score_parts(parts, test).metric,
        "bits": {name: choice.weight.bits for name, choice in allocation.items()},
    }


def _told(step: int, total: int) -> None:
    if step % 20 == 0:
        print(f"  step {step} of {total}", flush=True)


def given_rows(file: Path, source: str | None, act_bits: int, bits: list[float]) -> list[dict[str, Any]]:
    """Rows of a file whose allocations are to be taken over, one for each source, menu and size."""
    firsts: dict[str, dict[str, Any]] = {}
    for entry in json.loads(file.read_text()):
        if source in (None, entry["source"]) and entry["act_bits"] == act_bits and entry["asked_bits"] in bits and "bits" in entry:
            firsts.setdefault(repr([entry["source"], entry.get("menu"), entry["asked_bits"]]), entry)
    return list(firsts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--bits", type=float, nargs="+", default=[4, 3.5, 3, 2.5, 2.1])
    parser.add_argument("--menu", type=int, nargs="+", default=list(FULL_MENU))
    parser.add_argument("--act-bits", type=int, default=8, help="32: float")
    parser.add_argument("--method", default="gptq")
    parser.add_argument("--set", nargs="*", default=[], help="hyperparameters of the method, such as iterations=200")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--images", type=int, default=1000, help="held-out training images that trials are scored on")
    parser.add_argument("--signals", nargs="+", default=["fisher", "measured"])
    parser.add_argument("--signal-images", type=int, default=512)
    parser.add_argument("--given", type=Path, help="JSON rows whose allocations are taken instead of searching")
    parser.add_argument("--source", help="of the rows in --given, those of this source alone")
    parser.add_argument("--given-act-bits", type=int, default=8, help="of the rows in --given, those chosen at these activation bits")
    parser.add_argument("--epochs", type=int, default=0, help="of training after the calibration; only with --given")
    parser.add_argument("--train-images", type=int, default=50_000, help="of it; at most what is not held out")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0, help="of held-out and calibration images, and of the search")
    asked = parser.parse_args()
    settings = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in asked.set)}
    method = METHODS[asked.method](**{"grid": "half", **settings})
    rows: list[dict[str, Any]] = json.loads(asked.out.read_text()) if asked.out.exists() else []
    menu = (*FULL_MENU, FLOAT_BITS) if asked.given else tuple(asked.menu)  # a peer may have left a layer alone
    made = setup_of(asked.data, asked.weights, menu, asked.act_bits, min(asked.bits), asked.seed)
    problem = by_divergence(made.problem, asked.images)
    evaluator, plain = (Evaluator(each, Compiler("off", problem.device, 0)) for each in (problem, made.problem))
    test = made.splits.test
    assert test is not None
    training = replace(RECIPE, epochs=asked.epochs, lr=asked.lr)
    images = min(asked.train_images, len(made.problem.train))
    effort = {"epochs": asked.epochs, "train_images": images, "lr": asked.lr} if asked.epochs else {}
    common = {"method": asked.method, "act_bits": asked.act_bits, **({"settings": settings} if settings else {}), **effort}
    common |= {"seed": asked.seed} if asked.seed else {}

    def keep(words: dict[str, Any], allocation: Allocation, **found: Any) -> None:
        entry = {**row(evaluator, plain, test, allocation, method, training, images, words), **found}
        rows.append(entry)
        asked.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"{entry['source']} {entry['asked_bits']} bits by {entry['method']}: test {entry['test']:.4f}", flush=True)

    def known(words: dict[str, Any]) -> bool:
        return any(
            {name: entry.get(name) for name in (*words, "epochs", "settings")} == {"epochs": None, "settings": None, **words}
            for entry in rows
        )

    if asked.given:
        for given in given_rows(asked.given, asked.source, asked.given_act_bits, asked.bits):
            words = {"source": given["source"], "menu": given.get("menu"), "asked_bits": given["asked_bits"], **common}
            if not known(words):
                chosen = {name: Choice(bits if bits <= 8 else FLOAT_BITS, asked.act_bits) for name, bits in given["bits"].items()}
                keep(words, Allocation({name: chosen[name] for name in problem.space.names}))
        return
    signals: list[Table] = []
    for bits in asked.bits:
        words = {"source": "mpsearch", "menu": asked.menu, "asked_bits": bits, **common}
        if known(words):
            continue
        signals = signals or tables(made.problem, asked.signal_images, asked.signals)
        evaluator.problem = replace(problem, budgets=parse_budgets([f"{bits}bit"]))
        name = f"{asked.out.stem}-{bits:g}-{''.join(map(str, asked.menu))}-a{asked.act_bits}.trials"
        best = searched(evaluator.problem, evaluator, signals, method, asked.trials, asked.out.with_name(name))[-1]
        keep(words, best.allocation, trials=asked.trials, images=asked.images, origin=best.origin)


if __name__ == "__main__":
    main()
