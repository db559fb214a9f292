"""The signals of a tabulated network: mpsearch's own, and the two that other tools choose bits by.

Those two measure a whole tie group at once, all other weights float, on the same images as ours. Their numbers are no nats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.tabular.truth import ACTIVATION_DISTANCE, SQNR
from mpsearch.config import SignalsConfig
from mpsearch.core.choice import Choice
from mpsearch.core.files import write_text
from mpsearch.core.json_data import json_data
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.summary import table_from_dict
from mpsearch.core.table import Table
from mpsearch.network.inputs import call, to_device
from mpsearch.signals import SignalInputs, compute_signal
from mpsearch.signals.base import private_copy
from mpsearch.trials.problem import Problem

__all__ = ["signal_tables"]

Measure = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


def signal_tables(problem: Problem, config: SignalsConfig, file: Path) -> dict[str, Table]:
    """All tables, `[L, C]`, by name; kept in `file` one by one, and read from it where they are there."""
    images = problem.train.take(min(config.images, len(problem.train)), problem.seed)
    batches = [(to_device(inputs, problem.device), targets.to(problem.device)) for inputs, targets in images.batches(config.batch_size)]
    inputs = SignalInputs(
        model=problem.model,
        space=problem.space,
        calibration=problem.calibration,
        batches=batches,
        task=problem.task,
        seed=problem.seed,
    )
    tensors = [batch for batch, _ in batches]
    makers: dict[str, Callable[[], Table]] = {name: partial(compute_signal, name, inputs) for name in config.names}
    makers[ACTIVATION_DISTANCE] = partial(_grouped_table, ACTIVATION_DISTANCE, problem, tensors, activation_distances, _mean)
    makers[SQNR] = partial(_grouped_table, SQNR, problem, tensors, output_powers, _noise_to_signal)
    kept = json.loads(file.read_text()) if file.exists() else {}
    for name, make in makers.items():
        if name not in kept:
            kept[name] = json_data(make())
            write_text(file, json.dumps(kept))
            print(f"signal {name}", flush=True)
    return {name: table_from_dict(kept[name]) for name in makers}


def activation_distances(reference: list[Tensor], changed: list[Tensor]) -> list[Tensor]:
    """`mean (a − â)² / mean a²` of every layer's output, the network's own last; Sony's Model Compression Toolkit, default weighting."""
    return [(a - b).square().mean() / a.square().mean().clamp_min(1e-12) for a, b in zip(reference, changed, strict=True)]


def output_powers(reference: list[Tensor], changed: list[Tensor]) -> list[Tensor]:
    """Powers of the float logits and of their change; AIMET's signal-to-quantization-noise ratio is their quotient in decibels."""
    z, z_hat = reference[-1], changed[-1]
    return [z.square().mean(), (z - z_hat).square().mean()]


def _mean(measured: list[Tensor]) -> float:
    return float(torch.stack(measured).mean())


def _noise_to_signal(powers: list[Tensor]) -> float:
    """Orders as AIMET's decibels do, the other way round: `−10 log₁₀` of it is SQNR."""
    return float((powers[1] + 1e-4) / powers[0])


def _grouped_table(name: str, problem: Problem, batches: list[Tensor], measure: Measure, summary: Callable[[list[Tensor]], float]) -> Table:
    """A value a group and choice, in the row of the group's first layer; the rows of layers tied to it are zero."""
    space = problem.space
    values = np.where(space.allowed, 0.0, np.nan)
    with torch.no_grad(), private_copy(problem.model) as model, _outputs(model, [layer.module for layer in space.layers]) as outputs:
        floats = {layer.name: getattr(model.get_submodule(layer.module), layer.parameter) for layer in space.layers}
        kept = {layer: weight.detach().clone() for layer, weight in floats.items()}

        def run(batch: Tensor) -> list[Tensor]:
            outputs.clear()
            logits = call(model, batch)
            return [*outputs, logits]

        sums: dict[tuple[int, Choice], list[Tensor]] = {}
        for batch in batches:
            reference = run(batch)
            for group in space.groups:
                for choice in space.menus[group[0]]:
                    for index in group:
                        layer = space.names[index]
                        floats[layer].copy_(problem.calibration.weight(layer, choice.weight))
                    new = [value * (len(batch) / sum(map(len, batches))) for value in measure(reference, run(batch))]
                    before = sums.get((group[0], choice))
                    sums[group[0], choice] = new if before is None else [a + b for a, b in zip(before, new, strict=True)]
                for index in group:
                    floats[space.names[index]].copy_(kept[space.names[index]])
    for (row, choice), measured in sums.items():
        assert choice.activation.bits == FLOAT_BITS
        values[row, space.choices.index(choice)] = summary(measured)
    return Table(name=name, unit="", layers=space.names, choices=space.choices, values=values)


@contextmanager
def _outputs(model: nn.Module, paths: list[str]) -> Iterator[list[Tensor]]:
    """Outputs of the modules in the order they run."""
    found: list[Tensor] = []
    handles = [model.get_submodule(path).register_forward_hook(lambda _m, _a, output: found.append(output)) for path in paths]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
