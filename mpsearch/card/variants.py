"""`Bench`: scores variants of one float network that differ in a single number format, without training.

Every variant takes the same path: weights are fake-quantized into a copy of the float network, inputs get calibrated quantizers, BatchNorm
follows on training samples as in the study, and the copy is scored on validation samples.
Steps minimise the squared error, as everywhere else.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.record import Score
from mpsearch.core.statistics import CORRECTED
from mpsearch.network.inputs import concatenated, to_device
from mpsearch.network.modes import evaluating
from mpsearch.network.network import keep_slow_attention
from mpsearch.network.observe import collect_inputs, draw
from mpsearch.network.quantizers import FixedActQuantizer, attach_act_quantizer
from mpsearch.numbers.asymmetric import fake_quantize_between, fit_asymmetric
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid, GridStyle, act_grid, weight_grid
from mpsearch.numbers.ranges import fit_step, fit_steps
from mpsearch.training.evaluate import evaluate
from mpsearch.training.recipe import Recipe
from mpsearch.trials.problem import Problem
from mpsearch.trials.statistics import Corrector, update_statistics

__all__ = ["CALIBRATED", "OUT_OF_TIME", "SCORED", "ActFormat", "Bench", "Variant", "WeightFormat", "quantized_rows"]

SCORED = 2048
"""Most validation samples of a score."""
CALIBRATED = 512
"""Most training samples on which BatchNorm is re-estimated."""
OUT_OF_TIME = "the flips had taken a tenth of the run's time; --card full measures all"
_KEPT = 2**16

WeightFormat = Literal["row", "tensor", "asymmetric"]
ActFormat = Literal["auto", "symmetric", "asymmetric"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An allocation in certain number formats.

    Args:
        allocation: bits of every layer; they need not be on a menu.
        weights: one symmetric step per `row`, one for the whole `tensor`, or `asymmetric` per row.
        activations: `auto` is unsigned where calibration saw no negative input, and symmetric elsewhere.
    """

    allocation: Allocation
    weights: WeightFormat = "row"
    activations: ActFormat = "auto"


class Bench:
    """Scores variants.

    Args:
        problem: float network, data, calibrated ranges.
        style: grid of symmetric weights.
        recipe: how BatchNorm is re-estimated, here on at most 512 samples.
        limit: seconds that all scores may take; see `left`.
    """

    def __init__(self, problem: Problem, style: GridStyle, recipe: Recipe, *, limit: float = math.inf) -> None:
        self.problem = problem
        self.style = style
        self._ends = time.monotonic() + limit
        self.validation = problem.validation.take(min(SCORED, len(problem.validation)), problem.seed)
        self.samples = len(self.validation)
        self._recipe = replace(recipe, reestimate=min(recipe.reestimate, CALIBRATED))
        self._scores: dict[Variant, Score] = {}

    @property
    def left(self) -> float:
        """Seconds of the limit that are left, below zero once it is passed; who asks for further scores decides by it."""
        return self._ends - time.monotonic()

    def on(self, problem: Problem) -> Bench:
        """The same bench for another float network with the same layers."""
        return Bench(problem, self.style, self._recipe)

    def score(self, variant: Variant) -> Score:
        """Validation score; each variant is computed once."""
        if variant not in self._scores:
            problem = self.problem
            model = self._build(variant)
            corrector = None if problem.statistics != CORRECTED else Corrector(problem.model, model, self._images)
            update_statistics(model, problem.statistics, problem, self._recipe, corrector)
            self._scores[variant] = evaluate(model, self.validation, problem.task, device=problem.device, batch=problem.execution.batch)
        return self._scores[variant]

    @torch.no_grad()
    def _build(self, variant: Variant) -> nn.Module:
        model = evaluating(copy.deepcopy(self.problem.model).requires_grad_(False))
        for layer in self.problem.space.layers:
            module, choice = model.get_submodule(layer.module), variant.allocation[layer.name]
            weight = getattr(module, layer.parameter)
            if choice.weight.bits != FLOAT_BITS:
                rows = Rows.of_layer(model, layer)
                steps = self.problem.calibration.weight_steps(layer.name, choice.weight, self.style)
                # In place: whatever shares the tensor follows.
                weight.copy_(rows.join(quantized_rows(rows.split(weight.float()), choice.weight.bits, variant.weights, self.style, steps)))
            if choice.activation.bits != FLOAT_BITS:
                attach_act_quantizer(module, self._act_quantizer(layer.name, choice.activation.bits, variant.activations))
        keep_slow_attention(model)
        return model

    def _act_quantizer(self, name: str, bits: int, format: ActFormat) -> FixedActQuantizer:
        values = self._inputs[name]
        if format == "asymmetric":
            steps, lowest = fit_asymmetric(values.reshape(1, -1), bits)
            step, grid = steps[0], Grid(int(lowest[0]), int(lowest[0]) + 2**bits - 1)
        else:
            grid = act_grid(bits, format == "symmetric" or self.problem.calibration.signed(name))
            step = fit_step(values, grid)
        quantizer = FixedActQuantizer().to(values.device)
        quantizer.set_grid(bits, grid)
        quantizer.begin(step)
        return quantizer

    @cached_property
    def _images(self) -> Any:
        """Training samples in one batch."""
        problem = self.problem
        taken = problem.train.take(min(CALIBRATED, len(problem.train)), problem.seed)
        return concatenated([to_device(inputs, problem.device) for inputs, _ in taken.batches(problem.execution.batch)], CALIBRATED)

    @cached_property
    def _inputs(self) -> dict[str, Tensor]:
        """Samples of the input of each layer of the float network, 1-D float32."""
        problem = self.problem
        images = problem.train.take(min(CALIBRATED, len(problem.train)), problem.seed)
        generator = torch.Generator().manual_seed(problem.seed)
        share = max(_KEPT * 64 // len(images), 1)
        return collect_inputs(
            problem.model,
            {layer.name: layer.module for layer in problem.space.layers if layer.act_quantizable},
            (to_device(inputs, problem.device) for inputs, _ in images.batches(64)),
            lambda values: draw(values, min(share, values.numel()), generator),
        )


@torch.no_grad()
def quantized_rows(rows: Tensor, bits: int, format: WeightFormat, style: GridStyle, steps: Tensor | None = None) -> Tensor:
    """A weight `[C, n]` quantized and dequantized in one format; the input is not changed.

    One-bit weights stay symmetric even if `asymmetric` is asked for: with an exact zero they would have one useful level.

    Args:
        rows: float `[C, n]`.
        bits: 1 to 8.
        format: see `Variant`.
        style: of the symmetric grid.
        steps: `[C]` for the row format; fitted if not given.
    """
    if format == "asymmetric" and bits > 1:
        fitted, lowest = fit_asymmetric(rows, bits)
        return fake_quantize_between(rows, fitted, lowest, 2**bits)
    grid = weight_grid(bits, style)
    if format == "tensor":
        steps = fit_step(rows, grid).expand(len(rows))
    elif steps is None:
        steps = fit_steps(rows, grid)
    column = steps.unsqueeze(1)
    return dequantize(codes(rows, column, grid), column, grid.offset)
