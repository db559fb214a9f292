"""Sketch, signs, scales and moments of ALQ against numbers of the authors' code.

How theirs maps on ours: bases `[C, I, n]` of ±1 are the bits of our codes `[C, n]`; a sketch has its largest scale first here, last in
theirs, so their bases are reversed. Negative scales are turned with their signs (`normalized`), so values are compared with theirs of the
scales as solved (`w_consistent`). `alpha_stored`, `bases_stored` and `w_stored` are not compared: the published code loses that turn.

A deviation: the ridge of the fit is a millionth of the mean diagonal, in theirs 1e-6 (and nothing in a sketch). `ridged` carries a
solution of ours over to their ridge.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.multibit import along, assign, fit, normalized, sketch, values
from tests.gold import gold
from tests.gold.bases import close, codes_of, sketched

CASES = gold("alq")["cases"]


def of(part: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(c, id=c["case"]) for c in CASES if c["part"] == part])


def ridged(alphas: Tensor, codes: Tensor, present: Tensor, curvature: Tensor) -> Tensor:
    """Our solution of `(G + λ) α = b` as the one of `(G + 1e-6) α = b`."""
    gram = (
        torch.stack([along(codes, curvature * (((codes >> i) & 1) * 2 - 1), present.shape[1]) for i in range(present.shape[1])], 1)
        * present.unsqueeze(1)
        * present.unsqueeze(2)
    )
    unit = torch.eye(present.shape[1], dtype=torch.float64)
    ours = 1e-6 * curvature.double().sum(1)[:, None, None] * unit
    right = (gram + ours) @ alphas.double().unsqueeze(2)
    theirs = 1e-6 * unit + torch.diag_embed((~present).double())
    return torch.linalg.solve(gram + theirs, right).squeeze(2).float()


@of("sketch")
def test_sketch(case: Any) -> None:
    """Fewer weights than bases: the residual of one weight is exactly 0, and rounding decides on its sign there; ours is sign(0) = +1."""
    w, theirs = torch.tensor([case["inputs"]["w"]]), case["outputs"]
    codes, alphas = sketch(w, case["inputs"]["max_bases"])
    number = theirs["number"]
    assert int((alphas > 0).sum()) == number
    close(values(codes, alphas)[0], theirs["w_hat"])
    expected = codes_of(torch.tensor([theirs["bases"]]).flip(1))
    if case["case"].startswith("fewer weights"):
        assert torch.equal(codes, torch.tensor([[7, 4, 5]], dtype=torch.int16))
        close(alphas[0, :number], [0.125, 0.125, 0.05])
    else:
        assert torch.equal(codes, expected)
        close(alphas[0, :number], theirs["alpha"][::-1])
    close(fit(w, expected, torch.ones(1, number, dtype=torch.bool))[0], theirs["alpha"][::-1])


@of("basis_and_alpha")
def test_nearest_signs_then_scales(case: Any) -> None:
    given, theirs = case["inputs"], case["outputs"]
    present = torch.tensor(given["present"], dtype=torch.bool)
    gradient, curvature = torch.tensor(given["pseudo_gradient"]), torch.tensor(given["pseudo_hessian"])
    target = torch.tensor(given["w"]) - gradient / curvature
    close(target, theirs["target"])
    before = torch.tensor(given["alpha_before"]) * present
    codes = assign(target, before, present)
    assert torch.equal(codes, codes_of(torch.tensor(theirs["bases_after"])))
    close(values(codes, before), theirs["w_after_basis"])
    _fitted_alike(target, codes, present, curvature, theirs)


@of("alpha_only")
def test_scales_of_given_signs(case: Any) -> None:
    given = case["inputs"]
    curvature = torch.tensor(given["pseudo_hessian"])
    target = torch.tensor(given["w"]) - torch.tensor(given["pseudo_gradient"]) / curvature
    present = torch.tensor(given["present"], dtype=torch.bool)
    _fitted_alike(target, codes_of(torch.tensor(given["bases"])), present, curvature, case["outputs"])


def _fitted_alike(target: Tensor, codes: Tensor, present: Tensor, curvature: Tensor, theirs: Any) -> None:
    alphas = fit(target, codes, present, curvature)
    close(ridged(alphas, codes, present, curvature), theirs["alpha_signed"])
    turned, positive = normalized(codes, alphas)
    assert (positive >= 0).all()
    close(values(turned, positive), theirs["w_consistent"])


def test_moments_and_steps_of_signs() -> None:
    """The paper's optimizer in the recipe's place; after a step the squares of a scale's gradient are the sums over its weights."""
    cases = [case for case in CASES if case["part"] == "moments"]
    assert cases
    for case in cases:
        given, theirs = case["inputs"], case["outputs"]
        bases = given["max_bases"]
        quantizer = sketched(torch.tensor(given["w"]), bases, given["lr"])
        close(quantizer.alpha[:, :bases].flip(1), theirs["alpha_start"])
        assert torch.equal(quantizer.codes, codes_of(torch.tensor(theirs["bases_start"]).flip(1)))
        weight = torch.nn.Parameter(values(quantizer.codes, quantizer.alpha).detach())
        adam = torch.optim.Adam([weight], lr=given["lr"], amsgrad=True)
        for gradient, step in zip(given["grads"], theirs["steps"], strict=True):
            weight.grad = torch.tensor(gradient)
            with torch.no_grad():
                quantizer.observe(weight.grad)
                adam.step()
                quantizer.step(weight, fix=False)
                weight.copy_(values(quantizer.codes, quantizer.alpha))
            for name, ours in (("mean", quantizer.mean), ("square", quantizer.square), ("largest_square", quantizer.largest)):
                close(ours, step[name])
            assert torch.equal(quantizer.codes, codes_of(torch.tensor(step["bases"]).flip(1)))
            alphas = ridged(quantizer.alpha[:, :bases], quantizer.codes, quantizer.present[:, :bases], quantizer.curvature)
            close(alphas.flip(1), step["alpha"])
            close(values(quantizer.codes, alphas), step["w_hat"])
            close(along(quantizer.codes, quantizer.mean, bases).flip(1), step["mean_alpha"])
            close(quantizer.scale_square[:, :bases].flip(1), step["square_alpha"])
            close(quantizer.scale_largest[:, :bases].flip(1), step["largest_square_alpha"])


def test_moments_and_steps_of_scales() -> None:
    """The paper's optimizer in the recipe's place, on the gradient before it is divided by n; the turn of negative scales is left out."""
    cases = [case for case in CASES if case["part"] == "coordinate"]
    assert cases
    for case in cases:
        given, theirs = case["inputs"], case["outputs"]
        bases = given["max_bases"]
        w = torch.tensor(given["w"])
        quantizer = sketched(w, bases, given["lr"])
        close(quantizer.alpha[:, :bases].flip(1), theirs["alpha_start"])
        assert torch.equal(quantizer.codes, codes_of(torch.tensor(given["bases"]).flip(1)))
        quantizer.fixed.fill_(True)
        adam = torch.optim.Adam([quantizer.alpha], lr=given["lr"], amsgrad=True)
        for gradient, step in zip(given["grads"], theirs["steps"], strict=True):
            quantizer.alpha.grad = None
            (quantizer.quantize(w) * torch.tensor(gradient)).sum().backward()
            quantizer.observe(torch.tensor(gradient))
            adam.step()
            close(quantizer.alpha[:, :bases].flip(1), step["alpha"])
            close(along(quantizer.codes, quantizer.mean, bases).flip(1), step["mean_alpha"])
            close(quantizer.scale_square[:, :bases].flip(1), step["square_alpha"])
            close(quantizer.scale_largest[:, :bases].flip(1), step["largest_square_alpha"])
            close(quantizer.quantize(w), step["w_hat"])
