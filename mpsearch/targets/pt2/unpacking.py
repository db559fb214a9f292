"""Modules that read numbers out of the bytes of a packed network; `torch.export` turns them into operators of the program.

All that depends on the allocation is read from the bytes too (the fields of `mpsearch.targets.pt2.layout`), so the program is the same for
every allocation. Codes are read in blocks of 40, which end at a byte in every format: code j of a block is in the byte `j · num // den`
and the next one (`window` hides it from trits), divided by `base^(j · num mod den)`, modulo the number of codes; `num` is the bits and
`den` 8, or 1 and 5 for the five trits of a byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import NumberFormat
from mpsearch.network.quantizers import ActQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.targets.pt2.layout import BLOCK, FIELDS, LEVELS, Head

__all__ = ["Unpack", "UnpackedInput"]

_TORCH = {"<i4": torch.int32, "<f4": torch.float32, "<f2": torch.float16, "|i1": torch.int8}


class Unpack(nn.Module):
    """Bytes of the file → the tensors of the network.

    Args:
        head: of the file.
        rows: layout of each layer's weight, with the granularity of its quantized formats.
        formats: that a weight may have in the file.
        rest: tensors of no layer.
    """

    def __init__(self, head: Head, rows: Sequence[Rows], formats: frozenset[NumberFormat], rest: Mapping[str, Tensor]) -> None:
        super().__init__()
        quantized = [format for format in formats if not format.is_float]
        self.head, self.rows, self.coded, self.plain = head, tuple(rows), bool(quantized), len(quantized) < len(formats)
        self.powers = any(format.kind == "power_of_two" for format in quantized)
        self.rest = [(head.starts[name], tensor.nbytes, tensor.dtype, tensor.shape) for name, tensor in rest.items()]

    def forward(self, packed: Tensor) -> tuple[Tensor, ...]:
        """Weights, biases (empty where a layer has none), and the other tensors; all contiguous."""
        wide = packed.to(torch.int32)
        words = wide | wide.roll(-1) << 8
        fields, levels = self._table(packed, "fields", FIELDS), self._table(packed, "levels", LEVELS)
        weights = self._coded(packed, words, fields, levels) if self.coded else []
        if self.plain:
            steps, starts = fields["plain_step"].unbind(), fields["plain"].unbind()
            plain = [_float32(words, *each) for each in zip(starts, steps, self.rows, strict=True)]
            both = zip(steps, plain, weights or plain, strict=True)
            weights = [torch.where(step > 0, values, coded) for step, values, coded in both] if weights else plain
        others = [packed[start : start + size].view(dtype).reshape(shape) for start, size, dtype, shape in self.rest]
        return (*weights, *self._numbers(packed, "half_biases", "biases", levels["bias"]), *others)

    def _table(self, packed: Tensor, part: str, names: Sequence[str]) -> dict[str, Tensor]:
        """Name → `[layers]`."""
        return dict(zip(names, self._part(packed, part).reshape(-1, len(names)).unbind(1), strict=True))

    def _part(self, packed: Tensor, name: str) -> Tensor:
        part = self.head.parts[name]
        return packed[part.start : part.stop].view(_TORCH[part.dtype])

    def _numbers(self, packed: Tensor, halves: str, floats: str, powers: Tensor) -> list[Tensor]:
        """Float32, of each layer those in half precision or the others."""
        counts = self.head.parts[halves].counts
        small = torch.split_with_sizes(self._part(packed, halves).to(torch.float32), counts)
        full = torch.split_with_sizes(self._part(packed, floats), self.head.parts[floats].counts)
        return [a * power if count else b for count, a, b, power in zip(counts, small, full, powers.unbind(), strict=True)]

    def _coded(self, packed: Tensor, words: Tensor, fields: Mapping[str, Tensor], levels: Mapping[str, Tensor]) -> list[Tensor]:
        digits = torch.arange(BLOCK, dtype=torch.int32) * fields["num"].unsqueeze(1)
        den = fields["den"].unsqueeze(1)
        divisors = torch.pow(fields["base"].unsqueeze(1), digits % den).unbind()
        places = (digits // den + fields["codes"].unsqueeze(1)).unbind()
        values = self._values(fields, levels["offset"].unsqueeze(1)).unbind()
        zeros = torch.split_with_sizes(self._part(packed, "zeros").to(torch.float32), self.head.parts["zeros"].counts)
        scales = self._numbers(packed, "half_scales", "scales", levels["scale"])
        blocks, windows, counts = fields["block"].unbind(), fields["window"].unbind(), fields["count"].unbind()
        weights = []
        for row, rows in enumerate(self.rows):
            count = math.prod(rows.shape)
            index = (torch.arange(-(-count // BLOCK)) * blocks[row]).unsqueeze(1) + places[row]
            codes = (words[index] & windows[row]) // divisors[row] % counts[row]
            weight = values[row][codes.reshape(-1)[:count]].reshape(rows.count, -1)
            if self.head.zero_points:
                weight = weight - zeros[row].unsqueeze(1)
            weights.append(rows.join(weight * scales[row].unsqueeze(1)).contiguous())
        return weights

    def _values(self, fields: Mapping[str, Tensor], offset: Tensor) -> Tensor:
        """Float32 `[layers, 256]`: the value of every code, without scale."""
        codes = torch.arange(256, dtype=torch.int32)
        signed = codes - fields["shift"].unsqueeze(1) - (codes >= fields["negative"].unsqueeze(1)) * fields["wrap"].unsqueeze(1)
        values = signed + offset
        if not self.powers:
            return values
        exponents = torch.where(signed < 0, -1 - signed, signed)
        bits = torch.where(exponents > 126, 1 << 22, (127 - exponents) << 23).to(torch.int32)  # 2^−k as float32; 2^−127 is subnormal
        sizes = bits.view(torch.float32)
        return torch.where(fields["powers"].unsqueeze(1) > 0, torch.where(signed < 0, -sizes, sizes), values)


class UnpackedInput(ActQuantizer):
    """Rounds a layer's input to the levels that the file says, as `mpsearch.numbers.gradients.affine` does; a step of 0 leaves it as it is.

    Args:
        head: of the file.
        number: of the layer.
        packed: the bytes.
    """

    packed: Tensor

    def __init__(self, head: Head, number: int, packed: Tensor) -> None:
        super().__init__()
        self.start = head.parts["levels"].start + 4 * len(LEVELS) * number
        self.register_buffer("packed", packed)

    def begin(self, step: Tensor) -> None:
        """The file has the step."""

    def step_value(self) -> Tensor:
        """The step."""
        return self._levels()[LEVELS.index("step")]

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        step, low, high = self._levels()[LEVELS.index("step") :]
        quantized = torch.clamp((x * step.reciprocal()).round(), low, high) * step
        return torch.where(step > 0, quantized, x)

    def _levels(self) -> tuple[Tensor, ...]:
        return self.packed[self.start : self.start + 4 * len(LEVELS)].view(torch.float32).unbind()


def _float32(words: Tensor, start: Tensor, step: Tensor, rows: Rows) -> Tensor:
    """A float32 weight."""
    first = torch.arange(math.prod(rows.shape)) * step + start
    return (words[first] | words[first + 2] << 16).view(torch.float32).reshape(rows.shape)
