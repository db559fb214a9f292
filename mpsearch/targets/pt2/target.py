"""`pt2`: one `torch.export` program of packed weights, run by torch without mpsearch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.pt2.artifact import Pt2Artifact, read_artifact
from mpsearch.targets.pt2.write import Pt2Writer

__all__ = ["Pt2"]


@TARGETS.register("pt2")
class Pt2(Target):
    """The program unpacks its weights in every call, by the same operators in every format; layout in `mpsearch.targets.pt2.layout`."""

    name: ClassVar[str] = "pt2"
    description: ClassVar[str] = "one torch.export program of packed weights, run by torch alone"
    file: ClassVar[str] = "model.pt2"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Sums of sign vectors and inputs that are powers of two are refused; every other format is supported."""
        if weight.kind == "multibit":
            return "its program unpacks no sums of sign vectors"
        return "its program rounds no activations to powers of two" if activation.kind == "power_of_two" else ""

    def writer(self, blueprint: Blueprint) -> Pt2Writer:
        """What writes the network of a blueprint."""
        return Pt2Writer(blueprint)

    def read(self, path: Path) -> Pt2Artifact:
        """Read and check a file."""
        return read_artifact(path)
