"""The nine ResNet-18 allocations that HAWQ-V3 published, from the inputs it published.

Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, ICML 2021, arXiv 2011.10680, the integer linear programme of its repository.
Nineteen convolutions take 4 or 8 bits; three pairs share theirs. A layer at 8 bits scores trace · (‖δ8‖² − ‖δ4‖²), one at 4 bits 0;
each limit lies a fraction of the way from all layers at 4 bits to all at 8.
"""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.allocate.solve import solve
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.space import Space
from mpsearch.core.table import Table

# Trace of the weight Hessian over the number of weights.
TRACE = [
    0.06857826,
    0.03162379,
    0.03298575,
    0.01205663,
    0.02222431,
    0.00596336,
    0.06931772,
    0.00807129,
    0.00372905,
    0.00530698,
    0.00209011,
    0.00737569,
    0.00210454,
    0.00151197,
    0.00158041,
    0.00078146,
    0.00451841,
    0.00098745,
    0.00072944,
]
# Squared distance of the float weights to 8-bit and to 4-bit ones.
DELTA8 = [
    0.0235,
    0.0125,
    0.0102,
    0.0082,
    0.0145,
    0.0344,
    0.0023,
    0.0287,
    0.0148,
    0.0333,
    0.0682,
    0.0027,
    0.0448,
    0.0336,
    0.0576,
    0.113,
    0.0102,
    0.0947,
    0.0532,
]
DELTA4 = [
    6.743,
    3.9691,
    3.3281,
    2.6796,
    4.7277,
    10.5966,
    0.6827,
    9.0942,
    4.8857,
    10.7599,
    21.7546,
    0.8603,
    14.5324,
    10.9651,
    18.7706,
    36.4044,
    3.1572,
    29.6994,
    17.4016,
]
WEIGHTS = [
    36864,
    36864,
    36864,
    36864,
    73728,
    147456,
    8192,
    147456,
    147456,
    294912,
    589824,
    32768,
    589824,
    589824,
    1179648,
    2359296,
    131072,
    2359296,
    2359296,
]
# Bit operations at 32 by 32 bits, in units of 10⁶ as published; at b bits they are (b / 32)² of it.
BOPS32 = [
    115.605504,
    115.605504,
    115.605504,
    115.605504,
    57.802752,
    115.605504,
    6.422528,
    115.605504,
    115.605504,
    57.802752,
    115.605504,
    6.422528,
    115.605504,
    115.605504,
    57.802752,
    115.605504,
    6.422528,
    115.605504,
    115.605504,
]
# Milliseconds on a T4.
LATENCY4 = [
    0.21094404,
    0.21092674,
    0.21104113,
    0.21086851,
    0.13642465,
    0.19167506,
    0.02532183,
    0.19148203,
    0.19142914,
    0.11395316,
    0.20556011,
    0.01917474,
    0.20566918,
    0.20566509,
    0.13185102,
    0.22287786,
    0.01790088,
    0.22304611,
    0.22286099,
]
LATENCY8 = [
    0.36189111,
    0.36211718,
    0.31141909,
    0.30454471,
    0.19184896,
    0.38948934,
    0.0334169,
    0.38904905,
    0.3892859,
    0.19134735,
    0.34307431,
    0.02802354,
    0.34313329,
    0.34310756,
    0.21117103,
    0.37376585,
    0.02896843,
    0.37398187,
    0.37405185,
]
TIES = (("conv04", "conv06"), ("conv09", "conv11"), ("conv14", "conv16"))

PUBLISHED = [
    ("size", 0.75, -1.27427, "8888888888888488884"),
    ("size", 0.5, -1.23321, "8888888888888884844"),
    ("size", 0.25, -1.18941, "8888888888888844444"),
    ("bops", 0.75, -1.22775, "8888888848888484884"),
    ("bops", 0.5, -1.09202, "8884888848884444444"),
    ("bops", 0.25, -0.84729, "8884848444444444444"),
    ("latency", 0.75, -1.22775, "8888888848888484884"),
    ("latency", 0.5, -1.10504, "8888848848884484844"),
    ("latency", 0.25, -0.84729, "8884848444444444444"),
]

FOUR, EIGHT = Choice(4, 4), Choice(8, 8)
NAMES = tuple(f"conv{index:02d}" for index in range(19))
LAYERS = [
    Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Conv2d",
        weight_shape=(weights,),
        channels=1,
        macs=1,
        input_elements=1,
        output_elements=1,
        act_quantizable=True,
        signed_input=False,
        bias_elements=0,
    )
    for name, weights in zip(NAMES, WEIGHTS, strict=True)
]
COSTS = {
    "size": np.outer(WEIGHTS, [4 / 8, 8 / 8]),
    "bops": np.outer(BOPS32, [(4 / 32) ** 2, (8 / 32) ** 2]),
    "latency": np.transpose([LATENCY4, LATENCY8]),
}


def _table(name: str, values: object) -> Table:
    return Table(name=name, unit="", layers=NAMES, choices=(FOUR, EIGHT), values=np.asarray(values, dtype=np.float64))


@pytest.mark.parametrize(("cost", "fraction", "objective", "bits"), PUBLISHED)
def test_published_allocation(cost: str, fraction: float, objective: float, bits: str) -> None:
    # A space's menus are products of weight and activation bits; here only w4a4 and w8a8 exist.
    space = Space(name="hawq-v3", weights=(4, 8), activations=(8,), ties=TIES).resolve(LAYERS)
    square = type(space)(layers=space.layers, menus=((FOUR, EIGHT),) * len(LAYERS), groups=space.groups)
    gain = np.multiply(TRACE, np.subtract(DELTA8, DELTA4))
    score = _table("hawq-v3", np.column_stack([np.zeros(len(LAYERS)), gain]))
    table = _table(cost, COSTS[cost])
    low, high = table.values.sum(axis=0)
    budget = Budget(cost, float(low + fraction * (high - low)), f"{fraction:.0%} of {cost}")

    solution = solve(square, score, {cost: table}, [budget])

    assert "".join(str(choice.weight.bits) for choice in solution.allocation.values()) == bits
    assert solution.objective == pytest.approx(objective, abs=5e-6)
    assert solution.optimal
    assert solution.slack[cost] >= 0
    for first, second in TIES:
        assert solution.allocation[first] == solution.allocation[second]


def test_four_bits_are_some_289_times_as_far_from_float_as_eight() -> None:
    ratios = np.divide(DELTA4, DELTA8)
    assert (ratios.min(), ratios.max(), ratios.mean()) == pytest.approx((287, 330, 318), abs=0.5)
