"""`uniform`: `value = code · scale`, codes in two's complement; methods store one-bit weights as `half_step`, {−s/2, s/2}."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mpsearch.core.number_format import NUMBER_KINDS
from mpsearch.numbers.grid import Grid
from mpsearch.numbers.packing import TwosComplement

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Uniform"]


class Uniform(TwosComplement):
    """Evenly spaced numbers."""

    name: ClassVar[str] = "uniform"
    letter: ClassVar[str] = ""
    evenly_spaced: ClassVar[bool] = True
    superblocks: ClassVar[bool] = True
    zero_points: ClassVar[bool] = True
    offset: ClassVar[float] = 0.0
    """`value = (code + offset) · scale`."""

    def grid(self, bits: int) -> Grid:
        """All codes of so many bits."""
        return Grid(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, self.offset)

    def encode(self, values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Rounded to the nearest level, with the step of least squared error per row."""
        from mpsearch.numbers.gradients.affine import codes
        from mpsearch.numbers.ranges import fit_steps

        grid = self.grid(bits)
        steps = fit_steps(values, grid)
        return codes(values, steps.unsqueeze(1), grid), steps

    def integer_unit(self, bits: int) -> float:
        """1, or ½ where values are off zero by half a step."""
        return 0.5 if self.offset else 1.0

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """`(code + offset) · scale`; in superblocks with offsets `code · scale − offset`, rounded once."""
        from mpsearch.numbers.gradients import affine

        if scales.dim() == 2:
            return codes.float().mul_(scales[:, :1]).sub_(scales[:, 1:])
        return affine.dequantize(codes, scales.unsqueeze(1), self.offset)


NUMBER_KINDS.register(Uniform.name)(Uniform())
