"""The hard concrete gates of `cpq` against the authors' code, in double precision.

`log_alpha` is φ; `noise = ln u − ln(1 − u)`. Not compared: `cdf_at` but at 0, where it is 1 − `probability_open`; no other value is used.
Deviation: theirs clips the distribution function to [1e-6, 1 − 1e-6], where its gradient is then 0; ours goes on.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.gradients.hard_concrete import gate, keep_probability, sample
from tests.gold import gold

sets = pytest.mark.parametrize(
    ("inputs", "outputs"), [pytest.param(case["inputs"], case["outputs"], id=case["case"]) for case in gold("hard_concrete")["cases"]]
)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.detach(), theirs, rtol=1e-10, atol=1e-10)


@sets
def test_masks_and_their_gradients(inputs: Any, outputs: Any) -> None:
    phi = tensor(inputs["log_alpha"]).requires_grad_()
    mask = sample(phi, torch.logit(tensor(inputs["uniform"])))
    close(mask, tensor(outputs["gate"]))
    close(mask, tensor(outputs["stretched"]).clamp(0, 1))
    (mask * tensor(inputs["upstream"])).sum().backward()
    assert phi.grad is not None
    close(phi.grad, tensor(outputs["dlog_alpha"]))


@sets
def test_the_probability_of_an_open_gate(inputs: Any, outputs: Any) -> None:
    phi = tensor(inputs["log_alpha"]).requires_grad_()
    probability = keep_probability(phi)
    close(probability.clamp(1e-6, 1 - 1e-6), tensor(outputs["probability_open"]))
    probability.sum().backward()
    assert phi.grad is not None
    clipped = (probability < 1e-6) | (probability > 1 - 1e-6)
    close(phi.grad.masked_fill(clipped, 0.0), tensor(outputs["dprobability"]))


@sets
def test_the_gate_in_evaluation(inputs: Any, outputs: Any) -> None:
    close(gate(tensor(inputs["log_alpha"])), tensor(outputs["gate_at_test"]))
