"""Products of the weights of one attention of ViT-B/16 by replay and by one differentiation, over its forward and backward pass.

python -m benchmarks.large.attention
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mpsearch.signals.probes.attention import projections
from mpsearch.signals.probes.products import linear_products, replay_difference

_WIDTH, _HEADS, _PLACES, _SAMPLES = 768, 12, 197, 4
_GIVEN = {"need_weights": False}


def main() -> None:
    """Print processor time at three and eight widths."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True).eval()
    x, g = torch.randn(2, _SAMPLES, _PLACES, _WIDTH).unbind()
    both = _seconds(lambda: module(x, x, x, **_GIVEN)[0].backward(g))
    module.requires_grad_(False)
    for widths in (3, 8):
        changes = {
            "in_proj_weight": 0.01 * torch.randn(widths, 3 * _WIDTH, _WIDTH),
            "out_proj.weight": 0.01 * torch.randn(widths, _WIDTH, _WIDTH),
        }
        with torch.no_grad():
            replayed = _seconds(lambda changes=changes: _replayed(module, x, g, changes))  # type: ignore[misc]
            differentiated = _seconds(lambda changes=changes: _differentiated(module, x, g, changes))  # type: ignore[misc]
        print(f"{widths} widths: replay {replayed / both:.2f}, one differentiation {differentiated / both:.2f} of F+B")


def _replayed(module: nn.Module, x: Tensor, g: Tensor, changes: dict[str, Tensor]) -> list[Tensor]:
    return [replay_difference(module, name, (x, x, x), _GIVEN, g, changes[name], 0, _SAMPLES) for name in changes]


def _differentiated(module: nn.Module, x: Tensor, g: Tensor, changes: dict[str, Tensor]) -> list[Tensor]:
    found = projections(module, (x, x, x), _GIVEN, g, 0, _SAMPLES) or []
    return [linear_products(each.x, each.g, changes[each.parameter][:, each.rows]) for each in found]


def _seconds(function: Callable[[], object]) -> float:
    function()
    began = time.process_time()
    function()
    return time.process_time() - began


if __name__ == "__main__":
    main()
