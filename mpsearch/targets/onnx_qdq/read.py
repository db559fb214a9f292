"""`QdqReader`: reads the numbers of layers back from the initializers of a file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.onnx.read import NumberReader
from mpsearch.targets.onnx_qdq.sections import Scaling, scaling_of

__all__ = ["QdqReader"]


class QdqReader(NumberReader):
    """Reads numbers; every method raises `KeyError` or `ValueError` where they do not fit."""

    def weight(self, name: str, layer: Layer, rows: Rows, format: NumberFormat) -> FloatWeight | CodedWeight:
        """The weight of a layer."""
        if format.is_float:
            return super().weight(name, layer, rows, format)
        scaling = scaling_of(layer, rows, format)
        integers, arranged = scaling.integers, scaling.arranged
        codes = integers.codes(self._integers(f"{name}q", arranged.shape))
        by_rows = codes if arranged.by_rows else rows.split(codes.reshape(layer.weight_shape)).contiguous()
        held = self._scales(name, scaling).numbers() / integers.scale
        narrow = StoredNumbers.of(held)
        scales = narrow if not layer.wide and torch.equal(narrow.numbers(), held) else StoredNumbers.of(held, wide=True)
        zeros = self._integers(f"{name}z", self._shape(name, scaling)).reshape(-1).to(torch.int8) if format.zero_point else None
        return CodedWeight(format=format, codes=by_rows.reshape(rows.count, -1), scales=scales, zeros=zeros)

    def _scales(self, name: str, scaling: Scaling) -> StoredNumbers:
        return self.numbers(f"{name}s", self._shape(name, scaling), half=False)

    def _shape(self, name: str, scaling: Scaling) -> tuple[int, ...]:
        """Of scales and zeros: along their axis for `DequantizeLinear`, broadcasting for `Mul`."""
        broadcasting = scaling.arranged.scales
        return broadcasting if not scaling.block and self._tensors[f"{name}s"].shape == broadcasting else scaling.scales

    def _integers(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.array(name, shape).astype(np.int16))
