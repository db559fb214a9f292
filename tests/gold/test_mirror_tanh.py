"""`mirror_descent` with tanh against the authors' code.

Their β multiplies a, ours multiplies a/step: `β_ours = step · β_theirs`. Two levels ±1 are a step of 2, levels −1, 0, 1 a step of 1.
Not compared: `chain_gradient`, of gradient descent through the map, which the method is not.
Where we deviate:

- Steps follow mean|a| in the stable form; theirs has none. Here they are set to 2 and 1; the last test checks what follows from it.
- We round the dual a, they round the weight P_β(a), for three levels by its size: where the two are on different sides of ½, results
  differ. An a of exactly 0 goes to +1 with two levels, to 0 in their code.
- The direct form keeps atanh w, they keep w, with small constants against division by zero. Their Adam has ε outside of the correction of
  its bias, ours (torch's) inside: theirs is ours with `ε/√(1 − 0.999^t)` in step t.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.gold import gold
from tests.gold.mirror import Mirror, closely, optimizer_of, tensor

CASES: list[Any] = gold("mirror_tanh")["cases"]


def cases(part: str) -> list[Any]:
    return [pytest.param(case["inputs"], case["outputs"], id=f"{part}-{k}") for k, case in enumerate(CASES) if case["part"] == part]


def mirror_of(inputs: Any, start: str, beta: float, **form: Any) -> Mirror:
    levels = len(inputs["levels"])
    return Mirror(tensor(inputs[start]), levels=levels, projection="tanh", beta=beta * (2 if levels == 2 else 1), **form)


def test_every_case_is_compared() -> None:
    assert {case["part"] for case in CASES} == {"forward", "trajectory", "direct"}


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward"))
def test_the_soft_weight_and_the_gradient_of_the_dual(inputs: Any, outputs: Any) -> None:
    mirror = mirror_of(inputs, "w_dual", inputs["beta"])
    w = mirror.value()
    closely(w, outputs["w_primal"], tolerance=3e-8)  # terms beyond float32's last bit are left out
    (w * tensor(inputs["upstream"])).sum().backward()
    assert mirror.weight.grad is not None
    closely(mirror.weight.grad, inputs["upstream"])


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward"))
def test_rounding(inputs: Any, outputs: Any) -> None:
    ours, theirs = mirror_of(inputs, "w_dual", inputs["beta"]).rounded(), tensor(outputs["rounded"])
    a, w = tensor(inputs["w_dual"]), tensor(outputs["w_primal"])
    if len(inputs["levels"]) == 2:
        assert torch.equal(ours, torch.where(a == 0, torch.ones_like(a), theirs))
    else:
        assert torch.equal(ours, a.sign() * (a.abs() > 0.5))
        assert torch.equal(theirs, w.sign() * (w.abs() >= 0.5))
        same_side = (a.abs() > 0.5) == (w.abs() >= 0.5)
        assert torch.equal(ours[same_side], theirs[same_side])
        assert int((~same_side).sum()) <= (3 if inputs["beta"] == 1 else 0) + int((a.abs() == 0.5).sum())


@pytest.mark.parametrize(("inputs", "outputs"), cases("trajectory"))
def test_trajectories(inputs: Any, outputs: Any) -> None:
    mirror = mirror_of(inputs, "w_dual_start", inputs["beta_start"])
    rule = optimizer_of(inputs["optimizer"], mirror.weight, inputs["lr"])
    ratio = float(mirror.step[0])
    compared = 0
    for step, loss, gradient in mirror.descend(rule, tensor(inputs["target"])):
        assert loss == pytest.approx(outputs["loss"][step - 1], rel=1e-10)
        if (state := outputs["states"].get(str(step))) is None:
            continue
        compared += 1
        closely(gradient, state["gradient"])
        closely(mirror.dual(), state["w_dual"])
        closely(mirror.value(), state["w_primal_next"], tolerance=3e-8)
        assert mirror.method.beta((step - 1) / 20) == pytest.approx(state["beta_used"] * ratio)
        assert float(mirror.quantizer.beta) == pytest.approx(state["beta_next"] * ratio)
        names = {"sgd": {"momentum": "momentum_buffer"}, "adam": {"mean": "exp_avg", "square": "exp_avg_sq"}}[inputs["optimizer"]]
        for theirs, ours in names.items():
            closely(rule.state[mirror.weight][ours], state[theirs])
    assert compared == 3


@pytest.mark.parametrize("epsilon", ["ours", "theirs"])
@pytest.mark.parametrize(("inputs", "outputs"), cases("direct"))
def test_the_direct_form(inputs: Any, outputs: Any, epsilon: str) -> None:
    mirror = mirror_of(inputs, "w_dual_start", inputs["beta_start"], form="direct")
    rule = optimizer_of("adam", mirror.weight, inputs["lr"])

    def place_epsilon(step: int) -> None:
        rule.param_groups[0]["eps"] = 1e-8 if epsilon == "ours" else 1e-8 / (1 - 0.999**step) ** 0.5

    tolerance = 1e-5 if epsilon == "ours" else 1e-10
    closely(mirror.value(), outputs["w_primal_start"])
    compared = 0
    for step, loss, gradient in mirror.descend(rule, tensor(inputs["target"]), place_epsilon):
        assert loss == pytest.approx(outputs["loss"][step - 1], rel=tolerance)
        if (state := outputs["states"].get(str(step))) is None:
            continue
        compared += 1
        assert mirror.method.beta((step - 1) / 20) == pytest.approx(2 * state["beta_used"])
        closely(gradient, state["gradient"], tolerance=tolerance)
        closely(mirror.value(), state["w_primal"], tolerance=tolerance)
        closely(rule.state[mirror.weight]["exp_avg"], state["mean"], tolerance=tolerance)
        closely(rule.state[mirror.weight]["exp_avg_sq"], state["square"], tolerance=tolerance)
    assert compared == 3


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward"))
def test_growth_of_the_dual_hardens_their_weights_and_scales_ours(inputs: Any, outputs: Any) -> None:
    """`P_β(k a)` is harder the larger k; `s P_β(a/s)` with s proportional to mean|a| is k times itself."""
    mirror = mirror_of(inputs, "w_dual", inputs["beta"])
    before = mirror.value().detach()
    with torch.no_grad():
        mirror.weight.mul_(5)
        grown = mirror.quantizer(mirror.weight)
    closely(grown, 5 * before)
    if len(inputs["levels"]) == 2:  # and with the step kept, ours are theirs
        closely(mirror.value(), torch.tanh(5 * inputs["beta"] * tensor(inputs["w_dual"])), tolerance=3e-8)
