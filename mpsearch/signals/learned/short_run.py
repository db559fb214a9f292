"""A short training of a method on the signal's images; signals derive sensitivities from the trained network.

    minimise   mean_n D(f(x_n) ‖ q(x_n)) + terms of the method         D: the task's divergence, nats; f: the float network

The float outputs are the targets, so no labels are needed, and the loss is the divergence of `measured`. The order of the batches in each
pass depends on the seed; norms normalise by the batch, as in every training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError, TrainingDiverged
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS, NumberFormat
from mpsearch.core.pass_counts import PassCounts, count
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.base import Method
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.network import Network
from mpsearch.signals.base import SignalInputs, private_copy
from mpsearch.tasks.outputs import all_finite
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe

__all__ = ["ShortRun", "aim", "epochs_of", "in_uniform_bits", "mean_bits", "short_run", "uniform_bits", "widest"]

_WIDEST = 8
_PHASE = "short run"


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """The result of a short training.

    Args:
        network: trained, in evaluation mode.
        forwards: forward passes over the images, including those of the float network.
        backwards: backward passes over the images.
        images: number of images.
    """

    network: Network
    forwards: float
    backwards: float
    images: int


def short_run(
    inputs: SignalInputs, method: Method, start: Allocation, recipe: Recipe, *, steps: int, hooks: Callable[[Network], Hooks] | None = None
) -> ShortRun:
    """Train a copy of the model for about `steps` steps: whole passes over the batches, at least one.

    Args:
        inputs: model, ranges, images, seed.
        method: makes the quantizers.
        start: initial allocation.
        recipe: training recipe; its epochs, batch size, distillation, augmentation and re-estimation are overridden.
        steps: approximate number of steps.
        hooks: network → hooks of the training loop; those of the method by default.

    Raises:
        ModelError: the float outputs are not finite, or the training diverges.
    """
    passes = PassCounts()
    parameter = next(inputs.model.parameters())
    devices = [parameter.device] if parameter.is_cuda else []
    with passes.listening(_PHASE), torch.random.fork_rng(devices=devices):
        images = _Images(inputs)
        epochs = epochs_of(steps, images.steps(1))
        network = Network(inputs.model, inputs.space, inputs.calibration, method)
        network.model.requires_grad_(True)
        network.begin(start)
        run_hooks = Hooks.of(method, network) if hooks is None else hooks(network)
        run_hooks.on_step = inputs.report
        task = replace(inputs.task, loss=lambda outputs, targets: inputs.task.divergence(targets, outputs).mean())
        recipe = replace(recipe, epochs=epochs, batch_size=images.largest, distill=0.0, augment=False, reestimate=0)
        try:
            with torch.enable_grad():
                quantizer_parameters = network.quantizer_parameters()
                train(
                    network.model,
                    quantizer_parameters,
                    images,
                    task,
                    recipe,
                    device=parameter.device,
                    seed=inputs.seed,
                    hooks=run_hooks,
                    execution=inputs.execution,
                )
        except TrainingDiverged as error:
            raise ModelError(f"the short training of {type(method).__name__} did not stay finite: {error}") from error
    counted = passes[_PHASE]
    count(forward=counted.forward)  # backward passes are counted from the table's cost, as for every signal
    return ShortRun(network=network, forwards=counted.forward / len(images), backwards=counted.backward / len(images), images=len(images))


def epochs_of(steps: int, batches: int) -> int:
    """Whole passes over the batches that make about `steps` steps."""
    return max(1, round(steps / batches))


def in_uniform_bits(inputs: SignalInputs) -> SignalInputs:
    """The inputs with menus of uniform bits, which every method can train, in place of other formats.

    Learned bits measure the precision that a layer needs, independent of its number format.
    """
    menus = tuple(
        tuple(sorted({Choice(uniform_bits(choice.weight), choice.activation.bits) for choice in menu})) for menu in inputs.space.menus
    )
    return inputs if menus == inputs.space.menus else replace(inputs, space=replace(inputs.space, menus=menus))


def uniform_bits(weight: NumberFormat) -> NumberFormat:
    """The uniform format with the same number of bits per code."""
    return weight if weight.is_float else NumberFormat("uniform", weight.bits)


def widest(space: ResolvedSpace, limit: float = _WIDEST) -> Allocation:
    """Every layer at the most weight bits below float, with the most activation bits on the menu for them.

    Args:
        space: layers and menus.
        limit: largest weight bits, if the menu has any within the limit.
    """

    def most(menu: Sequence[Choice]) -> Choice:
        fitting = [choice.weight for choice in menu if choice.weight.bits_per_value <= limit]
        weight = max(fitting) if fitting else min(choice.weight for choice in menu)
        return max(choice for choice in menu if choice.weight == weight)

    return Allocation({name: most(menu) for name, menu in zip(space.names, space.menus, strict=True)})


def aim(inputs: SignalInputs, start: Allocation, lowest: float) -> float:
    """Target of the mean weight bits: those that the budgets allow, at least one bit above `lowest`, and below those of `start`.

    A method that cannot go below `lowest` bits could not distinguish layers there.
    """
    bits = {name: choice.weight.bits_per_value for name, choice in start.items() if not choice.weight.is_float}
    top = mean_bits(inputs.space.layers, bits) if bits else lowest
    wanted = (lowest + top) / 2 if inputs.target_bits is None else inputs.target_bits
    return min(max(wanted, lowest + 1), max(top - 1, (lowest + top) / 2))


def mean_bits(layers: Sequence[Layer], bits: Mapping[str, float]) -> float:
    """`Σ N_l b_l / Σ N_l` over the layers that have bits below float."""
    counted = [(layer.weights, bits[layer.name]) for layer in layers if bits.get(layer.name, FLOAT_BITS) < FLOAT_BITS]
    return math.fsum(n * b for n, b in counted) / max(sum(n for n, _ in counted), 1)


class _Images:
    """The signal's batches as a split, with the float outputs as targets."""

    indices = None

    def __init__(self, inputs: SignalInputs) -> None:
        batches = [batch for batch, _ in inputs.batches]
        several = [batch for batch in batches if batch_size(batch) > 1]  # a batch of one sample has no variance
        self._batches: list[tuple[Any, Any]] = []
        with torch.no_grad(), private_copy(inputs.model) as model:
            for batch in several or batches:
                outputs = call(model, batch)
                if not all_finite(outputs):
                    raise ModelError("the float network's outputs are not finite on the training data; check its weights and the data")
                self._batches.append((batch, outputs))
        self._count = sum(batch_size(batch) for batch, _ in self._batches)
        self.largest = max(batch_size(batch) for batch, _ in self._batches)

    def __len__(self) -> int:
        return self._count

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        return len(self._batches)

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        count = len(self._batches)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist() if shuffle else range(count)
        return (self._batches[index] for index in order)

    def take(self, n: int, seed: int) -> _Images:
        return self
