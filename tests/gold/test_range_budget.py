"""The penalty of `learned_range` for bits above a budget, against the authors' code; conventions in `ranges`. Everything is compared.

Theirs is in kB, `lam · relu(kB − target)²`; ours in bits per element, `λ · relu(S − S₀)²`. With N elements in all (`max`: in the largest
tensor) `kB = S · N/8192`, so that λ = lam · (N/8192)² and S₀ = target · 8192/N.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mpsearch.methods.learned_range import excess
from tests.gold import gold
from tests.gold.ranges import NAMES, made

BITS_PER_KB = 8 * 1024
CASES: list[Any] = gold("range_budget")["cases"]


def test_every_kind_of_case_is_there() -> None:
    kinds = {tuple(case["inputs"][name] for name in ("parametrization", "kind", "mode")) for case in CASES}
    modes = (("weights", "sum"), ("activations", "sum"), ("activations", "max"))
    assert kinds == {(parametrization, *mode) for parametrization in ("U1", "U2", "U3", "P3") for mode in modes}
    assert len(CASES) == 38


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case["inputs"][name] for name in ("parametrization", "kind", "mode")))
def test_size_penalty_and_gradients(case: Any) -> None:
    inputs, outputs = case["inputs"], case["outputs"]
    sizes, largest = inputs["sizes"], inputs["mode"] == "max"
    quantizers = [
        made(inputs["parametrization"], inputs["kind"], params, shape=(4, size // 4))
        for params, size in zip(inputs["params"], sizes, strict=True)
    ]
    pairs = list(zip(sizes, quantizers, strict=True))
    counted = max(sizes) if largest else sum(sizes)

    size = torch.as_tensor(excess(pairs, 0.0, largest=largest)).sqrt() * counted / BITS_PER_KB
    assert float(size.detach()) == pytest.approx(outputs["size_kB"], rel=1e-10)

    found = excess(pairs, inputs["target_kB"] * BITS_PER_KB / counted, largest=largest)
    penalty = torch.as_tensor(found) * inputs["lam"] * (counted / BITS_PER_KB) ** 2
    assert float(penalty.detach()) == pytest.approx(outputs["penalty"], rel=1e-10, abs=1e-10)
    penalty.backward()
    for quantizer, theirs in zip(quantizers, outputs["grads"], strict=True):
        gradients = {name: getattr(quantizer, NAMES[name]).grad for name in theirs}
        ours = {name: 0.0 if gradient is None else float(gradient) for name, gradient in gradients.items()}
        assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-10)
