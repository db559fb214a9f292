"""What a program reserves, beside what the activation-memory cost promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.costs import CostInputs, compute_costs
from mpsearch.network.lifetimes import lifetimes
from mpsearch.targets import Blueprint
from mpsearch.targets.c.file import defined
from mpsearch.targets.c.values import literal
from mpsearch.targets.c.write import CWriter
from tests.targets.c.programs import EIGHT, baked, difference, needs_compiler


class Residual(nn.Module):
    """Its peak is inside, where neither the input nor the output is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x))
        x = x + self.two(torch.relu_(self.one(x)))
        logits: Tensor = self.head(torch.relu_(x).mean((2, 3)))
        return logits


@needs_compiler
def test_the_arena_is_what_the_cost_promises_or_less(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Residual().eval(), torch.randn(3, 1, 6, 6)
    found: dict[str, tuple[int, float]] = {}
    for act in (FLOAT, EIGHT, NumberFormat("uniform", 4)):
        space, parts = baked(model, x, EIGHT, act)
        CWriter(Blueprint.of(model, x, space)).write(tmp_path / "model.c", parts)
        assert difference(tmp_path / "model.c", model, space, parts, x) < 2e-6
        allocation = Allocation({name: only for name, (only,) in zip(space.names, space.menus, strict=True)})
        costs = compute_costs(["activation-memory"], CostInputs(space=space, lifetimes=lambda: lifetimes(model, space.layers, x)))  # noqa: B023
        text = (tmp_path / "model.c").read_text()
        found[str(act)] = defined(text, "MODEL_ARENA"), costs["activation-memory"].total(allocation)
        assert defined(text, "MODEL_RAM") == defined(text, "MODEL_ARENA") + 8 * 9, "a row of 8-bit weights of `two`"
    assert found["f"] == (4 * 36 * (4 + 8 + 4), 4 * 36 * (4 + 8 + 4)), "the residual, what `two` reads, and what it makes"
    # Codes of what `two` reads take less; but at `one` the residual is held as floats and as codes.
    assert found["8"][0] == 36 * (4 * 4 + 4 + 4 * 8) <= found["8"][1]
    assert found["4"][0] == 36 * (4 * 4 + 4 // 2 + 4 * 8) <= found["4"][1]


@pytest.mark.parametrize("value", [0.1, -1 / 3, 1e-45, 3.4028234e38, 16777216.0, float("inf"), float("-inf")])
def test_a_literal_is_the_same_float_in_c(value: float) -> None:
    text = literal(value)
    assert torch.tensor(float(text.lower().replace("infinity", "in").removesuffix("f") + "f" * ("INF" in text))) == torch.tensor(value)
    assert text.endswith("f") or "INF" in text
