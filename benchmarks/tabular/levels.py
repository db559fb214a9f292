"""One stage at one choice: what it makes of training images under re-estimation and of validation images; with float or shared weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from benchmarks.tabular.stages import cut, stage_space
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.base import Method
from mpsearch.models.resnet_cifar import CifarResNet
from mpsearch.network.baked import bake, install
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.network import Network
from mpsearch.training.supernet import Supernet
from mpsearch.trials.problem import Problem

__all__ = ["Activations", "Level", "float_levels", "shared_levels"]


@dataclass(frozen=True)
class Activations:
    """Batches on their way through the network: training images under re-estimation, validation images through finished stages."""

    calibration: list[Tensor]
    validation: list[Tensor]


class Level(Protocol):
    """One stage under quantization."""

    def run(self, choice: Choice, inputs: Activations) -> Activations:
        """Set the bits, re-estimate BatchNorm, and pass everything on."""


@dataclass(frozen=True)
class _FloatLevel:
    """The float network's weights rounded, as an untrained trial scores them: baked."""

    stage: nn.Module
    space: ResolvedSpace
    network: Network

    def run(self, choice: Choice, inputs: Activations) -> Activations:
        self.network.begin(Allocation(dict.fromkeys(self.space.names, choice)))
        calibrated = _reestimated(self.network.model, inputs.calibration)
        baked = install(self.stage, self.space.layers, bake(self.network))
        return Activations(calibrated, [baked(batch) for batch in inputs.validation])


@dataclass(frozen=True)
class _SharedLevel:
    """Weights trained at all allocations."""

    stage: nn.Module
    names: tuple[str, ...]
    supernet: Supernet
    smallest: Allocation

    def run(self, choice: Choice, inputs: Activations) -> Activations:
        # The bits of other stages play no part in this one's numbers.
        self.supernet.network.set_bits(Allocation({**self.smallest, **dict.fromkeys(self.names, choice)}))
        calibrated = _reestimated(self.stage, inputs.calibration)
        self.stage.eval()
        return Activations(calibrated, [self.stage(batch) for batch in inputs.validation])


def float_levels(problem: Problem, method: Method) -> list[Level]:
    """Levels of calibration without training.

    Raises:
        TypeError: the network cannot be cut.
        ValueError: the groups are no runs of blocks, or the method calibrates the whole network.
    """
    if type(method).calibrate is not Method.calibrate:
        raise ValueError("a method that calibrates the whole network cannot be tabulated stage by stage")
    levels: list[Level] = []
    for number, stage in enumerate(cut(_residual(problem.model), problem.space)):
        space = stage_space(problem.space, number)
        network = Network(stage, space, problem.calibration, method)
        network.model.to(memory_format=torch.channels_last)
        levels.append(_FloatLevel(stage, space, network))
    return levels


def shared_levels(problem: Problem, supernet: Supernet) -> list[Level]:
    """Levels of a trained and frozen supernet."""
    smallest = Allocation({name: menu[0] for name, menu in zip(problem.space.names, problem.space.menus, strict=True)})
    stages: Sequence[nn.Module] = cut(_residual(supernet.network.model), problem.space)
    return [_SharedLevel(stage, stage_space(problem.space, number).names, supernet, smallest) for number, stage in enumerate(stages)]


def _residual(model: nn.Module) -> CifarResNet:
    if not isinstance(model, CifarResNet):
        raise TypeError(f"stages are known for CifarResNet, not for {type(model).__name__}")
    return model


def _reestimated(stage: nn.Module, batches: list[Tensor]) -> list[Tensor]:
    """What the stage passes on while its statistics are re-estimated: normalised by each batch's own."""
    passed: list[Tensor] = []
    handle = stage.register_forward_hook(lambda _module, _args, output: passed.append(output))
    try:
        reestimate(stage, batches)
    finally:
        handle.remove()
    return passed
