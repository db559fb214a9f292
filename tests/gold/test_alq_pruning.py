"""The scores by which ALQ prunes, over layers of different sizes, against numbers of the authors' code.

How theirs maps on ours: as in `test_alq`; `score_lr` is their learning rate at that time. What the second round really removed is not
compared (`gone`), its order by score is: an index of the published code is of the wrong array there.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.multibit import along, values, weakest
from tests.gold import gold
from tests.gold.bases import close, codes_of, sketched

CASES = gold("alq_pruning")["cases"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["case"]) for case in CASES])
@torch.no_grad()
def test_rounds_of_pruning(case: Any) -> None:
    given = case["inputs"]
    bases, lr = given["max_bases"], given["lr"]
    quantizers = [sketched(torch.tensor(w), bases, lr) for w in given["w"]]
    for step in given["grads"]:
        for quantizer, gradient in zip(quantizers, step["g"], strict=True):
            _move(quantizer, step["mode"], torch.tensor(gradient), lr)
    for number, (brought, theirs) in enumerate(zip(given["rounds"], case["outputs"]["rounds"], strict=True)):
        for quantizer, gradient, layer in zip(quantizers, brought["g"], theirs["layers"], strict=True):
            quantizer.observe(torch.tensor(gradient))
            _compare(quantizer, layer, bases)
        found, present = zip(*((q.scores()[0][:, :bases], q.present[:, :bases]) for q in quantizers), strict=True)
        order = theirs["ascending_order"]
        for count in range(len(order) + 1):
            gone = weakest(found, present, [1] * len(found), count)
            assert _named(gone) == {tuple(name) for name in order[:count]}
        share = brought["share"]
        assert theirs["number_gone"] == int(share * len(order))
        gone = weakest(found, present, [1] * len(found), theirs["number_gone"])
        if number == 0:
            assert [mask.flip(1).tolist() for mask in gone] == [torch.tensor(layer["gone"]).bool().tolist() for layer in theirs["layers"]]
        else:
            gone = [torch.tensor(layer["gone"]).bool().flip(1) for layer in theirs["layers"]]
        for quantizer, mask in zip(quantizers, gone, strict=True):
            quantizer.remove(torch.nn.functional.pad(mask, (0, quantizer.present.shape[1] - bases)))


def _move(quantizer: Any, mode: str, gradient: Tensor, lr: float) -> None:
    """A step of AMSGrad in the recipe's place, on the weights and then signs and scales, or on the scales."""
    quantizer.observe(gradient)
    mean = lr / (1 - 0.9**quantizer.seen) * quantizer.mean
    if mode == "basis":
        quantizer.step(values(quantizer.codes, quantizer.alpha) - mean / quantizer.curvature, fix=False)
        return
    assert mode == "coordinate"
    slope = along(quantizer.codes, mean, quantizer.present.shape[1])
    quantizer.alpha -= (slope / quantizer.curvature_of_scales) * quantizer.present
    assert (quantizer.alpha >= 0).all()


def _compare(quantizer: Any, theirs: Any, bases: int) -> None:
    present = torch.tensor(theirs["present_before"]).bool()
    held = quantizer.present[:, :bases]
    assert torch.equal(held.flip(1), present)
    assert int(quantizer.seen) == theirs["steps_alpha"]
    if "bases_before" in theirs:
        assert torch.equal(quantizer.codes, codes_of(torch.tensor(theirs["bases_before"]).flip(1)))
    mean = along(quantizer.codes, quantizer.mean, bases)
    compared = {
        "alpha_before": quantizer.alpha[:, :bases],
        "mean_alpha": mean,
        "largest_square_alpha": quantizer.scale_largest[:, :bases],
        "pseudo_gradient_alpha": quantizer.score_lr / (1 - 0.9**quantizer.seen) * mean,
        "pseudo_hessian_alpha": quantizer.curvature_of_scales[:, :bases],
        "score": quantizer.scores()[0][:, :bases],
    }
    for name, ours in compared.items():
        close(ours.flip(1)[present], torch.tensor(theirs[name])[present])


def _named(gone: list[Tensor]) -> set[tuple[int, int, int]]:
    """(layer, group, base) in their order of bases."""
    return {(layer, group, base) for layer, mask in enumerate(gone) for group, base in mask.flip(1).nonzero().tolist()}
