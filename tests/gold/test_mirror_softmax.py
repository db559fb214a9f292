"""`mirror_descent` with softmax against the authors' code.

They keep a latent v_q for every level q of a weight, we keep one number a with `v_q = q a − q²/2` up to a constant: a is half of
v_1 − v_−1, and the gradient q ∂L/∂w of v_q moves all of them along this line, for levels −1, 0, 1 under Adam as well.
`β_theirs = 2 β_ours / step²`: two levels ±1 are a step of 2, so β_ours = 2 β_theirs; levels −1, 0, 1 are a step of 1, so
β_ours = β_theirs / 2.

Latents of three levels are arbitrary in the file. With `κ = v_0 − (v_1 + v_−1)/2`, which is ½ on our line and which training does not
change, a weight with κ > 0 is one of ours with `β_ours = κ β_theirs`, dual `a/(2κ)` and learning rate `η/(2κ)`. Where κ ≤ 0 the weight
never takes the level 0 in their code; ours has no such weights, so these are not compared. Nor are four levels: theirs are −2, −1, 1, 2,
ours are evenly spaced. Nor `chain_gradient`, which the file gives for the record only.

Deviation: two latents that are equal round to their first level, −1; ours goes to +1 (with three levels such weights have κ = 0).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.gradients.soft_rounding import softmax_code
from tests.gold import gold
from tests.gold.mirror import Mirror, closely, optimizer_of, tensor

CASES: list[Any] = gold("mirror_softmax")["cases"]
EVENLY_SPACED = (2, 3)


def cases(part: str, levels: int) -> list[Any]:
    of_part = [(k, case) for k, case in enumerate(CASES) if case["part"] == part and len(case["inputs"]["levels"]) == levels]
    return [pytest.param(case["inputs"], case["outputs"], id=f"{part}-{k}") for k, case in of_part]


def dual(latent: Tensor) -> Tensor:
    """Half of v_1 − v_−1, `[rows, columns]`, of latents `[rows, levels, columns]`."""
    return (latent[:, -1] - latent[:, 0]) / 2


def kappa(latent: Tensor) -> Tensor:
    """v_0 − (v_1 + v_−1)/2, `[rows, columns]`."""
    return latent[:, 1] - (latent[:, 0] + latent[:, 2]) / 2


def of_levels(values: Tensor, levels: list[float]) -> Tensor:
    """`q · values`, `[rows, levels, columns]`."""
    return values.detach().unsqueeze(1) * tensor(levels).view(1, -1, 1)


def test_every_case_is_compared_but_four_levels() -> None:
    counts = {len(case["inputs"]["levels"]) for case in CASES}
    assert counts == {2, 3, 4}
    assert {case["part"] for case in CASES if len(case["inputs"]["levels"]) == 4} == {"forward"}
    assert sum(len(cases(part, levels)) for part in ("forward", "trajectory") for levels in EVENLY_SPACED) == len(CASES) - 2


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward", 2))
def test_two_levels(inputs: Any, outputs: Any) -> None:
    latent = tensor(inputs["latent"])
    mirror = Mirror(dual(latent), levels=2, projection="softmax", beta=2 * inputs["beta"])
    w = mirror.value()
    closely(w, outputs["w"], tolerance=3e-8)  # terms beyond float32's last bit are left out
    closely(torch.stack([(1 - w) / 2, (1 + w) / 2], 1), outputs["u"], tolerance=3e-8)
    upstream = (tensor(inputs["upstream"]) * tensor(inputs["levels"]).view(1, -1, 1)).sum(1)
    (w * upstream).sum().backward()
    assert mirror.weight.grad is not None
    closely(mirror.weight.grad, upstream)
    theirs, tie = tensor(outputs["rounded_w"]), latent[:, 0] == latent[:, 1]
    assert torch.equal(theirs[tie], torch.full_like(theirs[tie], -1))
    rounded = mirror.rounded()
    assert torch.equal(rounded, torch.where(tie, 1.0, theirs))
    assert torch.equal(rounded[~tie], tensor(outputs["rounded_u"])[:, 1][~tie] * 2 - 1)


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward", 3))
def test_three_levels(inputs: Any, outputs: Any) -> None:
    latent = tensor(inputs["latent"])
    curve = kappa(latent)
    ours = curve > 0
    a, beta = (dual(latent) / (2 * curve))[ours], (curve * inputs["beta"])[ours]
    assert int(ours.sum()) >= 4
    w = softmax_code(a, beta, tensor(-1.0), tensor(1.0), 2)
    closely(w, tensor(outputs["w"])[ours])
    rounded = Mirror(a.unsqueeze(0), levels=3, projection="softmax", beta=1.0).rounded()[0]
    assert torch.equal(rounded, tensor(outputs["rounded_w"])[ours])
    assert torch.equal(tensor(outputs["rounded_u"]).argmax(1)[ours].double() - 1, rounded)


@pytest.mark.parametrize(("inputs", "outputs"), cases("trajectory", 2))
def test_trajectories_of_two_levels(inputs: Any, outputs: Any) -> None:
    start = tensor(inputs["latent_start"])
    mirror = Mirror(dual(start), levels=2, projection="softmax", beta=2 * inputs["beta_start"])
    rule = optimizer_of(inputs["optimizer"], mirror.weight, inputs["lr"])
    compared = 0
    for step, loss, gradient in mirror.descend(rule, tensor(inputs["target"])):
        assert loss == pytest.approx(outputs["loss"][step - 1], rel=1e-10)
        if (state := outputs["states"].get(str(step))) is None:
            continue
        compared += 1
        assert mirror.method.beta((step - 1) / 20) == pytest.approx(2 * state["beta_used"])
        closely(of_levels(gradient, inputs["levels"]), state["gradient"])
        moved = of_levels(mirror.dual() - dual(start), inputs["levels"])
        closely(start + moved, state["latent"])
        closely(mirror.value(), state["w_next"], tolerance=3e-8)
        kept = rule.state[mirror.weight]
        if inputs["optimizer"] == "sgd":
            closely(of_levels(kept["momentum_buffer"], inputs["levels"]), state["momentum"])
        else:
            closely(of_levels(kept["exp_avg"], inputs["levels"]), state["mean"])
            closely(torch.stack([kept["exp_avg_sq"]] * 2, 1), state["square"])
    assert compared == 3


@pytest.mark.parametrize(("inputs", "outputs"), cases("trajectory", 3))
def test_trajectories_of_three_levels(inputs: Any, outputs: Any) -> None:
    """Weight by weight, since κ differs. The loss sums over all weights, with and without a counterpart, so it is not compared."""
    start, target = tensor(inputs["latent_start"]), tensor(inputs["target"])
    curve = kappa(start)
    places = [(row, column) for row in range(len(curve)) for column in range(curve.shape[1]) if curve[row, column] > 0]
    assert len(places) >= 3
    for row, column in places:
        k = float(curve[row, column])
        mirror = Mirror(dual(start)[row, column].view(1, 1) / (2 * k), levels=3, projection="softmax", beta=k * inputs["beta_start"])
        rule = optimizer_of(inputs["optimizer"], mirror.weight, inputs["lr"] / (2 * k))
        seen = 0
        for step, _, gradient in mirror.descend(rule, target[row, column].view(1, 1)):
            if (state := outputs["states"].get(str(step))) is None:
                continue
            seen += 1
            levels = tensor(inputs["levels"])
            theirs = {name: tensor(state[name])[row, :, column] for name in state if name not in ("beta_used", "w_next")}
            closely(levels * gradient.item(), theirs["gradient"])
            moved = 2 * k * float(mirror.dual()) - float(dual(start)[row, column])
            closely(start[row, :, column] + levels * moved, theirs["latent"])
            closely(mirror.value(), [[state["w_next"][row][column]]], tolerance=1e-9)
            kept = rule.state[mirror.weight]
            if inputs["optimizer"] == "sgd":
                closely(levels * kept["momentum_buffer"].item(), theirs["momentum"])
            else:
                closely(levels * kept["exp_avg"].item(), theirs["mean"])
                closely(levels.square() * kept["exp_avg_sq"].item(), theirs["square"])
        assert seen == 3
