"""Which values a delivered weight can take, measured on the network: family, exact zero, and how codes become values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.network.baked import CodedWeight
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.kinds.multibit import MOST_BASES

__all__ = ["StoredNumbers", "code_names", "family", "stored_numbers", "zero_exact"]

_FAMILIES = {"power_of_two": "power of two", "multibit": "multibit, sums of scaled signs"}
_CODES = {
    "half_step": "two's complement, half a step off zero",
    "multibit": "sign planes",
    "power_of_two": "sign and exponent",
    "ternary": "ternary, five in a byte",
    "uniform": "two's complement",
}


@dataclass(frozen=True, kw_only=True)
class StoredNumbers:
    """How one layer's values follow from its codes.

    Args:
        kind: of the stored format.
        bits: of the allocation.
        uniform: whether `value = (code + shift) · scale`.
        shift: in steps; 0 where the values are not uniform.
        lowest_used: whether the lowest code of two's complement occurs.
        zero: whether every channel can hold exactly 0.
        bits_used: mean bits per weight; below `bits` or fractional where channels share sign planes unevenly.
    """

    kind: str
    bits: int
    uniform: bool
    shift: float
    lowest_used: bool
    zero: bool
    bits_used: float


@torch.no_grad()
def stored_numbers(network: nn.Module, layer: Layer, stored: CodedWeight) -> StoredNumbers:
    """Measured on a layer with quantized weights.

    Args:
        network: with the delivered numbers in it.
        layer: of the float network.
        stored: its delivered weight.
    """
    format, scales = stored.format, stored.scales.numbers()
    bits = format.bits
    weight = getattr(network.get_submodule(layer.module), layer.parameter).detach().float().cpu()
    rows = Rows.of_layer(network, layer).split(weight)
    by_base, values = format.kind == "multibit", scales
    scales = scales[:, 0] if format.granularity == "offset_superblock" else scales
    used = (scales != 0).reshape(len(scales), -1).any(1)
    first = 0 if by_base else -1 if format.kind == "ternary" else -(2 ** (bits - 1))
    last = 2**MOST_BASES if by_base else 2 if format.kind == "ternary" else 2 ** (bits - 1)
    every = torch.arange(first, last, dtype=torch.int16).expand(len(scales), -1).contiguous()
    shift, uniform = 0.0, not by_base
    if uniform and bool(used.any()):
        shifts: Tensor = rows[used] / scales[used].unsqueeze(1) - stored.codes[used].float()
        shift = float(shifts.mean())
        uniform = float((shifts - shift).abs().max()) < 0.01
    return StoredNumbers(
        kind=format.kind,
        bits=bits,
        uniform=uniform,
        shift=round(2 * shift) / 2 if uniform else 0.0,
        lowest_used=uniform and bits > 1 and bool((stored.codes == -(2 ** (bits - 1))).any()),
        zero=bool((format.decode(every, values)[used] == 0).any(1).all()),
        bits_used=float((scales != 0).sum() / len(scales)) if by_base else float(bits),
    )


def family(found: Sequence[StoredNumbers]) -> str:
    """`uniform`, or what else there is, by layer where they differ."""
    names = sorted({"uniform" if each.uniform else _FAMILIES.get(each.kind, "not uniform") for each in found})
    return names[0] if len(names) == 1 else f"{' and '.join(names)}, by layer"


def zero_exact(found: Sequence[StoredNumbers]) -> str:
    """Whether 0 can be held exactly, and where not."""
    lacking = [each for each in found if not each.zero]
    if not lacking:
        return "yes"
    if len(lacking) == len(found):
        return "no"
    return "not at 1 bit" if {each.bits for each in lacking} == {1} else "not in every layer"


def code_names(found: Sequence[StoredNumbers]) -> str:
    """How the codes lie in the file."""
    return "; ".join(text for kind, text in _CODES.items() if any(each.kind == kind for each in found))
