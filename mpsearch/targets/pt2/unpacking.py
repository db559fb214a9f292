"""Modules that read numbers out of the bytes of a packed network; `torch.export` turns them into operators of the program.

All that depends on the allocation is read from the bytes too (the fields of `mpsearch.targets.pt2.layout`), so the program is the same for
every allocation. Codes are read in blocks of 40, which end at a byte in every format: code j of a block is in the byte `j · num // den`
and the next one (`window` hides it from trits), divided by `base^(j · num mod den)`, modulo the number of codes; `num` is the bits and
`den` 8, or 1 and 5 for the five trits of a byte.

A layer that multiplies integers (`mpsearch.network.integer_sums`) gets them here too, and its scale and bias after the sum. In each call
the bytes say whether it does: `torch.where` chooses, since the program is one for all allocations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.integer_sums import along_channels
from mpsearch.network.quantizers import ActQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.targets.pt2.layout import BLOCK, FIELDS, LEVELS, Head

__all__ = ["Unpack", "UnpackedInput", "UnpackedSums"]

_TORCH = {"<i4": torch.int32, "<f4": torch.float32, "<f2": torch.float16, "|i1": torch.int8}


class Unpack(nn.Module):
    """Bytes of the file → the tensors of the network.

    Args:
        head: of the file.
        rows: layout of each layer's weight, with the granularity of its quantized formats.
        products: of each layer, whether it multiplies integers if its formats let it.
        formats: that a weight may have in the file.
        rest: tensors of no layer.
    """

    def __init__(
        self, head: Head, rows: Sequence[Rows], products: Sequence[bool], formats: frozenset[NumberFormat], rest: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.products = tuple(products)
        quantized = [format for format in formats if not format.is_float]
        self.head, self.rows, self.coded, self.floats = head, tuple(rows), bool(quantized), len(quantized) < len(formats)
        self.powers = any(format.kind == "power_of_two" for format in quantized)
        self.rest = [(head.starts[name], tensor.nbytes, tensor.dtype, tensor.shape) for name, tensor in rest.items()]

    def forward(self, packed: Tensor) -> tuple[Tensor, ...]:
        """Weights, biases (empty where a layer has none), and the other tensors; all contiguous."""
        wide = packed.to(torch.int32)
        words = wide | wide.roll(-1) << 8
        fields, levels = self._table(packed, "fields", FIELDS), self._table(packed, "levels", LEVELS)
        weights = self._coded(packed, words, fields, levels) if self.coded else []
        if self.floats:
            steps, starts = fields["float_step"].unbind(), fields["floats"].unbind()
            floats = [_float32(words, *each) for each in zip(starts, steps, self.rows, strict=True)]
            both = zip(steps, floats, weights or floats, strict=True)
            weights = [torch.where(step > 0, values, coded) for step, values, coded in both] if weights else floats
        others = [packed[start : start + size].view(dtype).reshape(shape) for start, size, dtype, shape in self.rest]
        biases = self._numbers(packed, "half_biases", "biases", levels["bias"])
        for row in (row for row, product in enumerate(self.products) if product and self.coded):
            whole, _ = _integers(_of(fields, row), _of(levels, row))
            biases[row] = torch.where(whole, torch.zeros_like(biases[row]), biases[row])  # it is added after the scale
        return (*weights, *biases, *others)

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
            scale = scales[row].unsqueeze(1)
            if self.products[row]:
                whole, unit = _integers(_of(fields, row), _of(levels, row))
                scale = torch.where(whole, unit.reciprocal(), scale)
            weights.append(rows.join(weight * scale).contiguous())
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


class _LayerBytes(nn.Module):
    """What the bytes say of one layer."""

    packed: Tensor

    def __init__(self, head: Head, number: int, packed: Tensor) -> None:
        super().__init__()
        self.head, self.number = head, number
        self.register_buffer("packed", packed)

    def fields(self) -> dict[str, Tensor]:
        """`FIELDS` of the layer."""
        return dict(zip(FIELDS, self._own("fields").unbind(), strict=True))

    def levels(self) -> dict[str, Tensor]:
        """`LEVELS` of the layer."""
        return dict(zip(LEVELS, self._own("levels").unbind(), strict=True))

    def numbers(self, halves: str, floats: str, power: Tensor) -> Tensor:
        """Float32: those in half precision times the power, or the others."""
        return self._own(halves).to(torch.float32) * power if self.head.parts[halves].counts[self.number] else self._own(floats)

    def _own(self, name: str) -> Tensor:
        part = self.head.parts[name]
        dtype = _TORCH[part.dtype]
        start = part.start + dtype.itemsize * sum(part.counts[: self.number])
        return self.packed[start : start + dtype.itemsize * part.counts[self.number]].view(dtype)


class UnpackedInput(ActQuantizer):
    """Rounds a layer's input to the levels that the file says, as `mpsearch.numbers.gradients.affine` does; a step of 0 leaves it as it is.

    Args:
        head: of the file.
        number: of the layer.
        packed: the bytes.
        product: whether the layer multiplies integers if its formats let it; then it gets codes.
    """

    def __init__(self, head: Head, number: int, packed: Tensor, *, product: bool) -> None:
        super().__init__()
        self.file, self.product = _LayerBytes(head, number, packed), product

    def begin(self, step: Tensor) -> None:
        """The file has the step."""

    def step_value(self) -> Tensor:
        """The step."""
        return self.file.levels()["step"]

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        levels = self.file.levels()
        step = levels["step"]
        codes = torch.clamp((x * step.reciprocal()).round(), levels["low"], levels["high"])
        quantized = codes * step
        if self.product:
            quantized = torch.where(_integers(self.file.fields(), levels)[0], codes, quantized)
        return torch.where(step > 0, quantized, x)


class UnpackedSums(nn.Module):
    """What follows the sums of a layer that multiplies integers, as `ScaledSums`; those of other layers pass.

    Args:
        head: of the file.
        number: of the layer.
        packed: the bytes.
        layer: as traced.
    """

    def __init__(self, head: Head, number: int, packed: Tensor, layer: Layer) -> None:
        super().__init__()
        self.file, self.layer = _LayerBytes(head, number, packed), layer

    def forward(self, sums: Tensor) -> Tensor:
        """Sums → outputs."""
        levels = self.file.levels()
        whole, unit = _integers(self.file.fields(), levels)
        scale = self.file.numbers("half_scales", "scales", levels["scale"]) * levels["step"] * unit
        scaled = sums.round() * scale.reshape(along_channels(self.layer, scale.numel()))
        if self.layer.bias_elements:
            bias = self.file.numbers("half_biases", "biases", levels["bias"])
            scaled = scaled + bias.reshape(along_channels(self.layer, bias.numel()))
        return torch.where(whole, scaled, sums)


def _of(table: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: column[row] for name, column in table.items()}


def _integers(fields: Mapping[str, Tensor], levels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Whether the formats of a layer let it multiply integers, and their unit, see `NumberFormat.integer_unit`."""
    powers, deepest = fields["powers"] > 0, fields["count"] // 2 - 1
    whole = (levels["step"] > 0) & (fields["float_step"] == 0) & ~(powers & (deepest > _DEEPEST))
    smallest = ((127 - torch.clamp(deepest, max=_DEEPEST)) << 23).to(torch.int32).view(torch.float32)
    return whole, torch.where(powers, smallest, 1 - levels["offset"])


_DEEPEST = 7
"""Largest exponent of powers of two that are integers in units of the smallest: of those of four bits."""


def _float32(words: Tensor, start: Tensor, step: Tensor, rows: Rows) -> Tensor:
    """A float32 weight."""
    first = torch.arange(math.prod(rows.shape)) * step + start
    return (words[first] | words[first + 2] << 16).view(torch.float32).reshape(rows.shape)
