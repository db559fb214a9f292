"""LSQ with one step per tensor, per output channel, and of activations, against two implementations by others; its authors published none.

Every case is compared. Conventions and deviations, v = x/step:

- Theirs passes the gradient of x for lo < v < hi, ours half a step further on both sides, since the last level of one bit would freeze
  most weights. Between the two, x gets the gradient, and the step that of a rounding, `round(v) − v`, in place of lo or hi.
- At v = lo and v = hi exactly, theirs has two conventions; ours is the one with the border inside, `dw_inclusive` and `dstep_inclusive`.
- Theirs multiplies the step's gradient by 1/√(count · hi) with all values of the tensor, for activations those of the batch. Ours counts
  the values that share a step, for activations those of one sample, since our loss is a mean over the batch.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.methods.learned_step import LearnedStepActivation, LearnedStepWeight
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import Grid
from tests.gold import gold

CASES = gold("lsq")["cases"]


def parts(*names: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["part"] in names]
    ids = ["{part} {inputs[bits]} bits: {case}".format(**case) for case in chosen]
    return pytest.mark.parametrize(("inputs", "outputs"), [(case["inputs"], case["outputs"]) for case in chosen], ids=ids)


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def between(v: Tensor, inputs: Any) -> Tensor:
    """Where theirs clips and ours rounds."""
    lo, hi = inputs["lo"], inputs["hi"]
    return ((v > lo - 0.5) & (v <= lo)) | ((v >= hi) & (v < hi + 0.5))


def compare(found: tuple[Tensor, Tensor, Tensor], x: Tensor, step: Tensor, inputs: Any, outputs: Any, name: str, ours: float) -> None:
    """Values and gradients; `ours` is our factor on the step's gradient, and `step` broadcasts against x."""
    upstream, v = double(inputs["upstream"]), x / step
    edge = between(v, inputs)
    torch.testing.assert_close(found[0], double(outputs["w_q" if name == "dw" else "y"]), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1], torch.where(edge, upstream, double(outputs[name])), rtol=1e-10, atol=1e-12)
    theirs = 1 / math.sqrt(inputs["count"] * inputs["hi"])
    bound = torch.where(v < (inputs["lo"] + inputs["hi"]) / 2, inputs["lo"], inputs["hi"])
    moved = torch.where(edge, upstream * (v.round() - v - bound), 0.0)
    expected = double(outputs["dstep"]) / theirs + (moved.sum() if step.dim() == 0 else moved.sum(1))
    torch.testing.assert_close(found[2], ours * expected.reshape(found[2].shape), rtol=1e-9, atol=1e-10)
    if f"{name}_inclusive" in outputs and not (edge & (v != inputs["lo"]) & (v != inputs["hi"])).any():
        torch.testing.assert_close(found[1], double(outputs[f"{name}_inclusive"]), rtol=1e-10, atol=1e-12)
        inclusive = double(outputs["dstep_inclusive"]).reshape(found[2].shape)
        torch.testing.assert_close(found[2], ours / theirs * inclusive, rtol=1e-9, atol=1e-10)


@parts("weights_per_tensor", "weights_per_channel")
def test_weights(inputs: Any, outputs: Any) -> None:
    w, step = double(inputs["w"]), double(inputs["step"])
    per_channel = step.dim() > 0
    quantizer = LearnedStepWeight(Rows("first", tuple(w.shape), granularity="channel" if per_channel else "tensor"))
    quantizer.set_grid(inputs["bits"], Grid(inputs["lo"], inputs["hi"]))
    quantizer.double()
    rows = quantizer.rows.split(w)
    quantizer.begin(rows, step.reshape(-1))
    w.requires_grad_()
    y = quantizer(w)
    dw, dstep = torch.autograd.grad((y * double(inputs["upstream"])).sum(), [w, quantizer.step])
    own = 1 / math.sqrt(rows.shape[1] * inputs["hi"])
    assert float(quantizer.factor) == pytest.approx(own, rel=1e-12)
    compare((y.detach(), dw, dstep), w.detach(), step[:, None] if per_channel else step, inputs, outputs, "dw", own)


@parts("activations")
def test_activations(inputs: Any, outputs: Any) -> None:
    x, step = double(inputs["x"]), double(inputs["step"])
    quantizer = LearnedStepActivation()
    quantizer.set_grid(inputs["bits"], Grid(inputs["lo"], inputs["hi"]))
    quantizer.double()
    quantizer.begin(step)
    x.requires_grad_()
    y = quantizer.train()(x)
    dx, dstep = torch.autograd.grad((y * double(inputs["upstream"])).sum(), [x, quantizer.step])
    compare((y.detach(), dx, dstep), x.detach(), step, inputs, outputs, "dx", 1 / math.sqrt(x[0].numel() * inputs["hi"]))
