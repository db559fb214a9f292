"""The rows of the table, each a function of a network: figures by name, all of them ratios within one process."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpsearch
from benchmarks.large.memory import Peak
from benchmarks.large.networks import Network
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import bake, evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.network import Network as Quantized
from mpsearch.network.trace import trace
from mpsearch.run.setup import TRACE_BATCH
from mpsearch.signals import SignalInputs, compute_signal
from mpsearch.targets import TARGETS
from mpsearch.targets.blueprint import Blueprint
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.training.evaluate import evaluate
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

__all__ = ["ROWS", "Figures", "float_bytes"]

Figures = Mapping[str, float]
"""Figure by name; the name says the unit."""
_CPU = torch.device("cpu")
_TWO, _THREE, _EIGHT = (4, 2), (2, 4, 8), tuple(range(1, 9))
_REPEATS = 3


def float_bytes(model: nn.Module) -> int:
    """W: bytes of all parameters and buffers."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def traced(network: Network) -> Figures:
    """Peak of tracing over that of one forward pass of the same samples, and samples that a study traces."""
    model, (inputs, _) = canonical(network.build()), next(network.samples(8).batches(8))
    peak = Peak()
    with torch.no_grad():
        model(inputs)  # what the first pass allocates for good
    _, one = peak.of(partial(_forward, model, inputs))
    _, whole = peak.of(partial(trace, model, inputs))
    return {"forwards of 8 samples (memory)": whole / one, "MB held a sample": whole / 8e6, "samples": TRACE_BATCH}


def trial(network: Network) -> Figures:
    """Peak of the first and the second score of an allocation by calibration alone, with the user's model, in W; one sample at a time."""
    network.build()
    peak = Peak()
    model = network.build()
    whole = float_bytes(model)
    problem = _problem(network, canonical(model), samples=1, widths=_TWO)
    evaluator = Evaluator(problem, Compiler("off", _CPU, 0))
    for name in problem.space.names:  # steps are fitted once in a study
        for bits in _TWO:
            problem.calibration.weight_steps(name, NumberFormat("uniform", bits), Lsq().grid)

    def scores() -> None:
        for bits in _TWO:
            evaluator.untrained(problem.space.uniform(Choice(NumberFormat("uniform", bits))), Lsq(), Recipe(epochs=0, reestimate=1))

    _, most = peak.of(scores)
    del model
    return {"W": most / whole}


def loaded(network: Network) -> Figures:
    """Peak of loading an artifact of 4 bits above what was resident with its architecture built, in W; what is loaded is 1 W."""
    model = canonical(network.build())
    problem = _problem(network, model, samples=1, widths=(4,))
    quantized = Quantized(model, problem.space, problem.calibration, Lsq())
    quantized.begin(problem.space.uniform(Choice(NumberFormat("uniform", 4))))
    whole = float_bytes(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        inputs, _ = next(network.samples(1).batches(1))
        TARGETS["packed"]().writer(Blueprint.of(model, inputs, problem.space)).write(path, bake(quantized))
        del quantized, problem
        _, most = Peak().of(lambda: mpsearch.load(path, model))
    return {"W": most / whole}


def fisher(network: Network) -> Figures:
    """Time and memory of `fisher` over those of one forward and backward pass of the same samples; three and eight widths."""
    return {
        f"{name}, {len(widths)} widths": value
        for widths in (_THREE, _EIGHT)
        for name, value in _signal(network, "fisher", widths, 4).items()
    }


def measured(network: Network) -> Figures:
    """The same of `measured` at eight widths."""
    return _signal(network, "measured", _EIGHT, 2)


def hessian(network: Network) -> Figures:
    """The same of `hessian`; it probes 64 times."""
    return _signal(network, "hessian", _THREE, 4)


def steps(network: Network) -> Figures:
    """Time of fitting the steps of all weights at eight widths, in forward passes of a sample."""
    model, (inputs, _) = canonical(network.build()), next(network.samples(1).batches(1))
    space = _space(model, inputs, _EIGHT)

    def fit() -> None:
        calibration = Calibration(model, space, {})
        for name, bits in ((name, bits) for name in space.names for bits in _EIGHT):
            calibration.weight_steps(name, NumberFormat("uniform", bits))

    one = _seconds(partial(_forward, model, inputs))
    return {"forwards of a sample (time)": _seconds(fit, 1) / one}


def trial_time(network: Network) -> Figures:
    """Time of a trial by calibration alone over that of one evaluation; statistics follow on as many samples as are scored."""
    count = 16
    model = canonical(network.build())
    problem = _problem(network, model, samples=count, widths=_THREE)
    evaluator = Evaluator(problem, Compiler("off", _CPU, 0))
    allocation = problem.space.uniform(Choice(NumberFormat("uniform", 4)))

    def untrained() -> None:
        evaluator.untrained(allocation, Lsq(), Recipe(epochs=0, reestimate=count))

    untrained()
    one = _seconds(lambda: evaluate(model, problem.validation, problem.task, device=_CPU))
    quantized = evaluator.begin(allocation, Lsq())
    return {"evaluations (time)": _seconds(untrained) / one, "of that, making the network": _seconds(lambda: evaluated(quantized)) / one}


def _signal(network: Network, name: str, widths: tuple[int, ...], count: int) -> Figures:
    model, batches = canonical(network.build()), list(network.samples(count).batches(count))
    space = _space(model, batches[0][0], widths)
    calibration = Calibration(model, space, {})
    for layer, bits in ((layer, bits) for layer in space.names for bits in widths):
        calibration.weight_steps(layer, NumberFormat("uniform", bits))
    inputs = SignalInputs(model=model, space=space, calibration=calibration, batches=batches, task=Task.classification())
    both = partial(_forward_and_backward, model, *batches[0])
    both()
    model.zero_grad(set_to_none=True)
    one, base = _cost(both)
    model.zero_grad(set_to_none=True)
    whole, most = _cost(lambda: compute_signal(name, inputs))
    return {"F+B (time)": whole / one, "F+B (memory)": most / base, "W": most / float_bytes(model)}


def _cost(function: Callable[[], object]) -> tuple[float, int]:
    """Processor seconds and peak bytes of one call."""
    peak = Peak()
    seconds, most = peak.of(partial(_seconds, function, 1))
    return seconds, most


def _space(model: nn.Module, inputs: Tensor, widths: tuple[int, ...]) -> ResolvedSpace:
    return Space(name="widths", weights=widths).resolve(trace(model, inputs[:2]))


def _problem(network: Network, model: nn.Module, *, samples: int, widths: tuple[int, ...]) -> Problem:
    split = network.samples(samples)
    inputs, _ = next(split.batches(1))
    space = _space(model, inputs, widths)
    return Problem(
        model=model,
        train=split,
        validation=split,
        task=Task.classification(),
        space=space,
        costs={},
        budgets=(),
        calibration=Calibration(model, space, {}),
        device=_CPU,
        seed=0,
    )


def _forward(model: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad():
        model(inputs)


def _forward_and_backward(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]


def _seconds(function: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Processor seconds of a call, the median of several: other work on the machine counts less in them."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        found.append(time.process_time() - began)
    return statistics.median(found)


ROWS: Mapping[str, Callable[[Network], Figures]] = {
    "trace": traced,
    "trial": trial,
    "load": loaded,
    "fisher": fisher,
    "measured": measured,
    "hessian": hessian,
    "steps": steps,
    "trial-time": trial_time,
}
"""By name, in the order of the table."""
