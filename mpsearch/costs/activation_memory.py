"""`activation-memory`: peak bytes of the activations that are alive at once, one sample.

Each tensor lives from the operation that makes it to the last one that reads it; the network's input counts too, operations that write in
place make no new tensor, and a residual is held until it is added. A tensor that only layer inputs read is held at the most activation
bits of its readers, one that anything else reads at 32. So at any moment

    bytes(x) = Σ_t E_t · max over readers r of t of a_r(x) / 8

A maximum over readers is no sum over layers, but the largest over all ways to name one reader for each tensor of the sums that follow:
there is one row for each moment and each of these ways, less those that another row is never below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.errors import ConfigError, ModelError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.peak import Peak, without_dominated
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs.base import COSTS, Cost, CostInputs
from mpsearch.costs.byte_units import BYTE_UNITS, exact_bytes, short_bytes

if TYPE_CHECKING:
    from mpsearch.network.lifetimes import Activation

__all__ = ["activation_memory"]

_MOST_ROWS = 4096

Readers = frozenset[int]
"""Groups of tied layers that read a tensor through their input quantizers; empty for a tensor held in float."""


def activation_memory(inputs: CostInputs) -> Peak:
    """Peak bytes of live activations.

    Args:
        inputs: of these, the space and the lifetimes.

    Returns:
        Rows `[L, C]`, bytes of one sample; NaN off the menus. The total is the largest.

    Raises:
        ConfigError: there is no network to trace.
        ModelError: so many layers read the same tensors that there would be thousands of rows.
    """
    if inputs.lifetimes is None:
        raise ConfigError("activation-memory needs a pass of the network; compute it in a study, or give CostInputs its lifetimes")
    space, found = inputs.space, inputs.lifetimes()
    readers = [_readers(space, activation) for activation in found.activations]
    moments: list[dict[Readers, int]] = []
    for alive in found.alive():
        held: dict[Readers, int] = {}
        for index in alive:
            held[readers[index]] = held.get(readers[index], 0) + found.activations[index].elements
        moments.append(held)
    moments = _largest(moments)
    count = sum(math.prod(max(len(key), 1) for key in held) for held in moments)
    if count > _MOST_ROWS:
        raise ModelError(
            f"activation-memory: tensors that are alive at once have so many readers that there would be {count:,} rows, "
            f"of which {_MOST_ROWS:,} are allowed; tie layers that read the same tensor, or limit another cost"
        )
    rows = [_row(space, held, counted) for held in moments for counted in _ways(held)]
    return Peak(without_dominated(rows))


def _readers(space: ResolvedSpace, activation: Activation) -> Readers:
    """Groups that read a tensor at bits of their own; empty where it is held in float."""
    layers = [index for index, layer in enumerate(space.layers) if layer.name in activation.readers]
    if activation.in_float or any(all(choice.activation.is_float for choice in space.menus[index]) for index in layers):
        return frozenset()
    return frozenset(number for number, group in enumerate(space.groups) if set(group) & set(layers))


def _largest(moments: list[dict[Readers, int]]) -> list[dict[Readers, int]]:
    """Moments without those at which nothing more is held than at another, of any kind."""
    kinds = sorted({key for held in moments for key in held}, key=sorted)
    amounts = np.array([[held.get(key, 0) for key in kinds] for held in moments], dtype=np.int64)
    kept: list[int] = []
    for candidate in np.argsort(-amounts.sum(axis=1), kind="stable").tolist():
        if not (amounts[kept] >= amounts[candidate]).all(axis=1).any():
            kept.append(candidate)
    return [moments[index] for index in sorted(kept)]


def _ways(held: Mapping[Readers, int]) -> Iterator[dict[Readers, int]]:
    """Every way to name the reader that counts, for each kind of tensor that has any."""
    kinds = [key for key in held if key]
    for picked in itertools.product(*(sorted(key) for key in kinds)):
        yield dict(zip(kinds, picked, strict=True))


def _row(space: ResolvedSpace, held: Mapping[Readers, int], counted: Mapping[Readers, int]) -> Table:
    """What is held at a moment if each tensor takes the bits of the reader named for it; a group counts at its first layer."""
    elements = np.zeros(len(space.layers))
    for key, group in counted.items():
        elements[space.groups[group][0]] += held[key]
    act_bits: NDArray[np.float64] = np.array([choice.activation.bits for choice in space.choices], dtype=np.float64)
    base = held.get(frozenset(), 0) * FLOAT_BITS / 8
    return space.table("activation-memory", "B", elements[:, None] * act_bits / 8, base=base)


COSTS.register("activation-memory")(
    Cost(
        name="activation-memory",
        unit="B",
        description="peak bytes of the activations alive at once, one sample; what anything but a layer input reads is float",
        units=BYTE_UNITS,
        example="act:64KB",
        aliases=("act",),
        prefixed=True,
        compute=activation_memory,
        worded=lambda amount: exact_bytes(float(np.ceil(amount))),
        brief=short_bytes,
        reported=lambda inputs: False,
    )
)
