"""The roofline by hand."""

from __future__ import annotations

import pytest

from mpsearch.config.hardware import parse_hardware
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.latency import latency
from tests.devices import PROFILE


def _space(*, weights: int, macs: int) -> ResolvedSpace:
    layer = Layer(
        name="a",
        module="a",
        parameter="weight",
        kind="Linear",
        weight_shape=(weights,),
        channels=1,
        macs=macs,
        input_elements=100,
        output_elements=60,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )
    return Space(name="s", weights=(1, 3, 4, 6, 8, 32), activations=(2, 4, 8, 32)).resolve([layer])


@pytest.mark.parametrize(
    ("choice", "rate"), [("w4a4", 4000), ("w3a2", 4000), ("w1a4", 4000), ("w6a4", 2000), ("w4a8", 2000), ("w8af", 100), ("wfaf", 100)]
)
def test_computing_takes_the_next_width_there_is(choice: str, rate: float) -> None:
    table = latency(CostInputs(space=_space(weights=8, macs=10**6), hardware=parse_hardware(PROFILE)))
    assert table.total({"a": Choice.parse(choice)}) == pytest.approx(0.25 + 10**6 / rate)


@pytest.mark.parametrize(("choice", "width"), [("w3a4", 4), ("w6a2", 8), ("w4af", 32)])
def test_moving_takes_the_kernels_widths(choice: str, width: int) -> None:
    table = latency(CostInputs(space=_space(weights=10**6, macs=1), hardware=parse_hardware(PROFILE)))
    assert table.total({"a": Choice.parse(choice)}) == pytest.approx(0.25 + (10**6 + 160) * width / 8 / 1000)


def test_a_narrow_kernel_that_is_slower_is_not_used() -> None:
    slow = {**PROFILE, "kernels": [{"weight_bits": 2, "act_bits": 8, "macs_per_second": 1}, *PROFILE["kernels"]]}
    space = _space(weights=8, macs=10**6)
    with_slow, without = (latency(CostInputs(space=space, hardware=parse_hardware(profile))) for profile in (slow, PROFILE))
    assert with_slow.total({"a": Choice(1, 2)}) == without.total({"a": Choice(1, 2)})
