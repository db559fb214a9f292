"""The quantizers of `learned_range`, their gradients and implied bits, against the authors' code; conventions in `ranges`.

Every output of every case is compared. Where we deviate:

- A value halfway between two levels goes to the even one, as in torch, theirs away from zero.
- The authors clip a parameter before use, so that one at its limit has no gradient; we move it back after the step, so that its gradient is
  that within.
- Two bits are the least of an activation, too: at two bits range and step have no gradient by the bits; theirs goes down to one.
- Powers of two as activations are computed in float32. The authors' gradient at a weight of 0 is NaN (null in the file), ours 0.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.gold import gold
from tests.gold.ranges import NAMES, limited, made, tensor

CASES: list[Any] = gold("range_quantizers")["cases"]
UNIFORM = [case for case in CASES if case["inputs"]["parametrization"] != "P3"]
POWERS = [case for case in CASES if case["inputs"]["parametrization"] == "P3"]


def parametrized(cases: list[Any]) -> pytest.MarkDecorator:
    ids = ["{inputs[parametrization]} {inputs[kind]}: {case}".format(**case) for case in cases]
    return pytest.mark.parametrize(("inputs", "outputs"), [(case["inputs"], case["outputs"]) for case in cases], ids=ids)


def quantizer_of(inputs: Any, bits: int = 8) -> Any:
    return made(inputs["parametrization"], inputs["kind"], limited(inputs["params"], inputs["limits"]), bits=bits)


def differentiated(quantizer: Any, inputs: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """y, dx and the gradients of the parameters, by their names in the file."""
    x = tensor(inputs["x"]).requires_grad_()
    y = quantizer.train()(x)
    parameters = {name: getattr(quantizer, NAMES[name]) for name in inputs["params"]}
    dx, *found = torch.autograd.grad((y * tensor(inputs["upstream"])).sum(), [x, *parameters.values()])
    return y.detach(), dx, dict(zip(parameters, found, strict=True))


def within(inputs: Any, name: str) -> bool:
    low, high = inputs["limits"][name]
    return bool(low < inputs["params"][name] < high)


def step_and_top(inputs: Any) -> tuple[float, float]:
    """d' and m of a uniform case, as the file defines them."""
    values = limited(inputs["params"], inputs["limits"])
    if "n" in values:
        highest = 2 ** math.floor(values["n"] + 0.5 - inputs["limits"]["signed"]) - 1
        if "d" in values:
            step = 2.0 ** round(math.log2(values["d"]))
            return step, step * highest
        return 2.0 ** round(math.log2(values["xmax"] / highest)), values["xmax"]
    return 2.0 ** round(math.log2(values["d"])), values["xmax"]


def by_step_and_top(inputs: Any, by_step: float, by_top: float) -> dict[str, float]:
    """Gradients of the parameters from those of d' and m, by the chain rule."""
    values, (step, top) = limited(inputs["params"], inputs["limits"]), step_and_top(inputs)
    if inputs["parametrization"] == "U3":
        return {"d": by_step * step / values["d"], "xmax": by_top}
    levels = 2 ** math.floor(values["n"] + 0.5 - inputs["limits"]["signed"])
    if inputs["parametrization"] == "U1":
        return {"n": by_top * step * levels * math.log(2), "d": (by_step + by_top * (levels - 1)) * step / values["d"]}
    return {"n": -by_step * step * levels * math.log(2) / (levels - 1), "xmax": by_top + by_step * step / top}


def test_every_kind_of_case_is_there() -> None:
    kinds = {(case["inputs"]["parametrization"], case["inputs"]["kind"]) for case in CASES}
    assert kinds == {(parametrization, kind) for parametrization in ("U1", "U2", "U3", "P3") for kind in ("weights", "activations")}
    assert len(UNIFORM) + len(POWERS) == len(CASES) == 46


@parametrized(UNIFORM)
def test_uniform_levels_and_gradients(inputs: Any, outputs: Any) -> None:
    y, dx, found = differentiated(quantizer_of(inputs), inputs)
    torch.testing.assert_close(dx, tensor(outputs["dx"]), rtol=1e-10, atol=1e-10)
    step, top = step_and_top(inputs)
    kept, upstream = tensor(inputs["x"]).clamp(-top if inputs["limits"]["signed"] else 0.0, top), tensor(inputs["upstream"])
    tie = (kept / step).frac().abs() == 0.5
    apart = y - tensor(outputs["y"])
    torch.testing.assert_close(y[~tie], tensor(outputs["y"])[~tie], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(y[tie], (kept / step).round()[tie] * step, rtol=1e-10, atol=1e-10)
    assert bool((apart[tie].abs() <= step * (1 + 1e-10)).all())
    moved = by_step_and_top(inputs, float((upstream * apart / step).sum()), 0.0)  # where our code of a tie is another
    at_limit = by_step_and_top(
        inputs,
        float((upstream * (y - kept) / step).sum()),
        float((upstream * ((kept == top).double() - (kept == -top).double())).sum()),
    )
    for name, theirs in outputs["dparams"].items():
        if within(inputs, name):
            assert float(found[name]) == pytest.approx(theirs + moved[name], rel=1e-10, abs=1e-10)
        else:
            assert theirs == 0.0
            assert float(found[name]) == pytest.approx(at_limit[name], rel=1e-10, abs=1e-10)


@parametrized(POWERS)
@pytest.mark.parametrize("tight", [False, True], ids=["within", "at the allocation's lowest level"])
def test_powers_of_two_and_gradients(inputs: Any, outputs: Any, tight: bool) -> None:
    bits = int(outputs.get("bits", 3)) if tight else 8
    quantizer = quantizer_of(inputs, bits)
    y, dx, found = differentiated(quantizer, inputs)
    tolerance = 1e-10 if inputs["kind"] == "weights" else 1e-5
    torch.testing.assert_close(y, tensor(outputs["y"]), rtol=tolerance, atol=tolerance)
    expected = tensor([[0.0 if value is None else value for value in row] for row in outputs["dx"]])
    torch.testing.assert_close(dx, expected, rtol=tolerance, atol=tolerance)
    for name, theirs in outputs["dparams"].items():
        if within(inputs, name):
            assert float(found[name]) == pytest.approx(theirs, rel=tolerance, abs=tolerance)
        else:
            assert name == "xmin"
            assert theirs == 0.0
            assert float(found[name]) == pytest.approx(_by_smallest(inputs), rel=tolerance, abs=tolerance)


def _by_smallest(inputs: Any) -> float:
    """`Σ upstream · sign(x) · a/q` over what is quantized to a from below; here q is a power of two itself, a = q."""
    x, smallest = tensor(inputs["x"]), inputs["params"]["xmin"]
    assert math.log2(smallest).is_integer()
    lowest = smallest * math.sqrt(0.5)
    below = x.abs() < smallest if inputs["kind"] == "weights" else (x >= lowest) & (x < smallest)
    return float((tensor(inputs["upstream"]) * torch.where(x < 0, -1.0, 1.0))[below].sum())


@parametrized([case for case in CASES if "bits" in case["outputs"]])
def test_implied_bits_and_their_gradients(inputs: Any, outputs: Any) -> None:
    quantizer = quantizer_of(inputs)
    bits = quantizer.bits_now()
    assert float(bits.detach()) == outputs["bits"]
    parameters = {name: getattr(quantizer, NAMES[name]) for name in inputs["params"]}
    found = dict(zip(parameters, torch.autograd.grad(bits, list(parameters.values()), allow_unused=True), strict=True))
    for name, theirs in outputs["dbits"].items():
        ours = 0.0 if found[name] is None else float(found[name])
        if name == "n" and not within(inputs, name):
            assert (ours, theirs) == (1.0, 0.0)
        elif outputs["bits"] == 2 and inputs["kind"] == "activations" and inputs["parametrization"] == "U3":
            assert ours == 0.0 != theirs
        else:
            assert ours == pytest.approx(theirs, rel=1e-10)
