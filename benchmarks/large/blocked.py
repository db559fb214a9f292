"""Compensated rounding by the column loop and in blocks: seconds on one thread, and how many codes differ.

    python benchmarks/large/blocked.py

Random weights, and inputs of which a few directions hold most of the energy, as those of language models do; 3 bits, one step a row, which
both can do. Layers have the shapes of SmolLM2-135M.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from mpsearch.numbers.blocked import blocked_codes
from mpsearch.numbers.compensated import Factored, compensated_codes, damped
from mpsearch.numbers.grid import weight_grid
from mpsearch.numbers.ranges import fit_steps, sampled

SHAPES = {"down_proj": (576, 1536), "gate_proj": (1536, 576), "q_proj": (576, 576)}
TOKENS, ROUNDS = 4096, 5
GRID = weight_grid(3)


def seconds(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The result, and the processor time of the fastest round."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        result = function()
        spent.append(time.process_time() - began)
    return result, min(spent)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| layer | rows | inputs | column loop, s | blocks, s | codes that differ |\n|---|---|---|---|---|---|")
    for name, (rows, inputs) in SHAPES.items():
        mixing = torch.randn(inputs, inputs) * torch.logspace(0, -2, inputs)[:, None] / inputs**0.5
        x = torch.randn(TOKENS, inputs) @ mixing + 0.3 * torch.randn(TOKENS, inputs)
        factored = Factored.of(damped((x.T @ x / TOKENS).unsqueeze(0), 0.01))
        weights = 0.05 * torch.randn(rows, inputs)
        steps = fit_steps(sampled(weights), GRID).unsqueeze(1)
        by_loop, loop = seconds(lambda: compensated_codes(weights.unsqueeze(0), factored, steps.t(), GRID)[0])  # noqa: B023
        by_block, block = seconds(lambda: blocked_codes(weights, factored, steps, GRID, torch.zeros_like(steps)))  # noqa: B023
        different = int((by_loop != by_block).sum())
        print(f"| {name} | {rows} | {inputs} | {loop:.3f} | {block:.3f} | {different} of {weights.numel():,} |")


if __name__ == "__main__":
    main()
