"""Summaries that look like real runs: a ResNet-20 with 22 layers, 20 trials at three rungs, a winner, a uniform reference and a control."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Reference, Summary
from mpsearch.core.table import Table
from mpsearch.costs.budgets import parse_budget
from mpsearch.targets.packed.layout import layer_bytes

FLOAT = Score(loss=0.361, error=1 - 0.8934, metric=0.8934)
OVERHEAD = 2_104
HOSTILE = '</script><script>window.stolen=1</script><img src=x onerror="window.stolen=1">'


def make_layers() -> tuple[Layer, ...]:
    shapes: list[tuple[str, tuple[int, ...], int]] = [("conv1", (16, 3, 3, 3), 32)]
    for stage, (width, side) in enumerate([(16, 32), (32, 16), (64, 8)], start=1):
        for block in range(3):
            first = shapes[-1][1][0] if block == 0 else width
            shapes.append((f"layer{stage}.{block}.conv1", (width, first, 3, 3), side))
            shapes.append((f"layer{stage}.{block}.conv2", (width, width, 3, 3), side))
            if block == 0 and stage > 1:
                shapes.append((f"layer{stage}.{block}.downsample.0", (width, first, 1, 1), side))
    shapes.append(("fc", (10, 64), 1))
    return tuple(_layer(name, shape, side) for name, shape, side in shapes)


def _layer(name: str, shape: tuple[int, ...], side: int) -> Layer:
    linear = len(shape) == 2
    return Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Linear" if linear else "Conv2d",
        weight_shape=shape,
        channels=shape[0],
        macs=int(np.prod(shape)) * side * side,
        input_elements=shape[1] * side * side,
        output_elements=shape[0] * side * side,
        act_quantizable=True,
        signed_input=name == "conv1",
        bias_elements=shape[0],
        norm="" if linear else f"{name}.bn",
    )


def make_table(layers: tuple[Layer, ...], name: str = "fisher", *, noise: float = 0.0, acts: bool = False, seed: int = 1) -> Table:
    rng = np.random.default_rng(seed)
    choices = tuple(sorted(Choice(w, a) for w in (1, 2, 3, 4, 8) for a in ((4, 8) if acts else (32,))))
    weight = np.array([2.5 if layer.name in ("conv1", "fc") else 1.0 for layer in layers]) * rng.uniform(0.6, 1.6, len(layers))
    values = np.array(
        [
            [
                s * (0.35 * 4.0 ** -(c.weight.bits - 1) + (0.02 * 4.0 ** -(c.activation.bits - 4) if c.activation.bits < 32 else 0))
                for c in choices
            ]
            for s in weight
        ]
    )
    values = values * np.exp(noise * rng.standard_normal(values.shape))
    return Table(
        name=name,
        unit="nats",
        layers=tuple(layer.name for layer in layers),
        choices=choices,
        values=values,
        cost={"seconds": 11.3, "passes": 3},
    )


def make_summary(*, seed: int = 0, acts: bool = False) -> Summary:
    layers = make_layers()
    random_source = random.Random(seed)
    table = make_table(layers, acts=acts)
    other = make_table(layers, "measured", noise=0.35, acts=acts, seed=4)

    def choose(mean: float) -> Allocation:
        picks = {}
        for layer in layers:
            large = layer.weights > 10_000
            menu = ([1, 2, 2, 2] if mean < 2.3 else [2, 2, 3]) if large else [2, 2, 3, 4] if layer.weights > 2_000 else [4, 8]
            picks[layer.name] = Choice(random_source.choice(menu), random_source.choice([4, 4, 8]) if acts else 32)
        return Allocation(picks)

    def size(allocation: Allocation) -> int:
        return OVERHEAD + sum(layer_bytes(layer, allocation[layer.name].weight, allocation[layer.name].activation) for layer in layers)

    def costs(allocation: Allocation) -> dict[str, float]:
        return {"size": float(size(allocation)), "bits": allocation.mean_weight_bits(layers)}

    trials = []
    for number in range(20):
        allocation = choose(1.9 + 0.9 * random_source.random())
        harm = table.total(allocation) * random_source.uniform(0.8, 1.25)
        scores = {"ptq": _score(0.8934 - min(0.78, 0.22 * harm**1.4), 0.36 + 0.8 * harm**1.3)}
        if number % 5 != 3:
            scores["short"] = _score(0.8934 - 0.012 * harm - 0.004 * random_source.random(), 0.37 + 0.05 * harm)
        if number % 4 == 0 and "short" in scores:
            scores["long"] = _score(scores["short"].metric + 0.006 + 0.003 * random_source.random(), scores["short"].loss - 0.01)
        amount = costs(allocation)
        origin = ("milp:fisher", "milp:measured", "swap", "sampled", "tpe")[number % 5]
        trials.append(
            Record(
                number=number,
                origin=origin,
                allocation=allocation,
                rung=list(scores)[-1],
                scores=scores,
                costs=amount,
                params={"method": "lsq", "lr": 0.02},
                feasible=amount["size"] <= 80_000,
                seconds=12.0 + number,
            )
        )
    trials[7] = replace(trials[7], status="failed", scores={}, rung="ptq", note="TrainingDiverged: the loss became NaN in epoch 1")
    best = min((t for t in trials if t.feasible and t.status == "complete"), key=lambda t: (t.score.error, t.number))
    uniform = Allocation({layer.name: Choice(2, 4 if acts else 32) for layer in layers})
    return Summary(
        name="cifar10_resnet20",
        model="resnet20_cifar",
        data="imagefolder:data/cifar10",
        metric="accuracy",
        seed=seed,
        effort="normal",
        command="mpsearch study studies/cifar10_resnet20.yaml --budget 80KB",
        budgets=(parse_budget("80KB"),),
        layers=layers,
        tables=(table, other),
        reachable={"size": (41_216.0, 278_000.0)},
        reference=Reference(scores={"validation": FLOAT}, costs={"size": 1_091_418.0}),
        trials=tuple(trials),
        winner=_retrained(best, 0.8912, 0.012),
        uniform=_retrained(
            Record(number=-1, origin="uniform", allocation=uniform, rung="ptq", scores={}, costs=costs(uniform)), 0.8794, 0.02
        ),
        control=replace(_retrained(best, 0.8951, -0.002), number=-1, origin="control"),
        test={
            "float": _score(0.8930, 0.37),
            "winner": _score(0.8901, 0.38),
            "uniform": _score(0.8781, 0.41),
            "control": _score(0.8943, 0.366),
        },
        artifact="model.safetensors",
        artifact_bytes=int(best.costs["size"]),
        formats=tuple(best.allocation[layer.name].weight for layer in layers),
        seconds={"float": 3.1, "signals": 14.2, "trials": 432.0, "retrain": 611.4, "export": 1.2},
        skipped=("The study ran 20 trials instead of the 60 it states (--trials 20).",),
    )


def _score(metric: float, loss: float) -> Score:
    return Score(loss=loss, error=1 - metric, metric=metric)


def _retrained(record: Record, metric: float, slope: float) -> Record:
    curve = tuple(
        {"epoch": float(e), "metric": metric - slope * np.exp(-e / 3) - 0.001 * (e % 2), "loss": 0.2 + 0.3 * np.exp(-e / 4) + slope}
        for e in range(1, 11)
    )
    last = _score(float(curve[-1]["metric"]), 0.37)
    return replace(record, rung="full", scores={**record.scores, "full": last}, curve=curve)


def make_trial(number: int, *, size: float, metric: float, rung: str = "ptq") -> Record:
    allocation = Allocation({layer.name: Choice(2) for layer in make_layers()})
    return Record(
        number=number,
        origin="milp:fisher",
        allocation=allocation,
        rung=rung,
        scores={rung: _score(metric, 1 - metric)},
        costs={"size": size},
    )


def _renamed(summary: Summary, name: str) -> Summary:
    old = summary.layers[0].name

    def rename(allocation: Allocation) -> Allocation:
        return Allocation({name if key == old else key: choice for key, choice in allocation.items()})

    assert summary.uniform is not None
    return replace(
        summary,
        layers=(replace(summary.layers[0], name=name, kind=name), *summary.layers[1:]),
        tables=tuple(replace(table, name=name, unit=name, layers=(name, *table.layers[1:])) for table in summary.tables),
        trials=tuple(replace(trial, allocation=rename(trial.allocation), origin=name, note=name) for trial in summary.trials),
        winner=replace(summary.winner, allocation=rename(summary.winner.allocation)),
        uniform=replace(summary.uniform, allocation=rename(summary.uniform.allocation)),
    )


def hostile_summary() -> Summary:
    """Every name that comes from outside tries to run a script."""
    return replace(
        _renamed(make_summary(), HOSTILE),
        name=HOSTILE,
        model=HOSTILE,
        data=HOSTILE,
        command=HOSTILE,
        skipped=(HOSTILE,),
        metric="accuracy" + HOSTILE,
    )
