"""`pt2`: one `torch.export` program of packed weights, run by torch without mpsearch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from mpsearch.core.errors import ArtifactError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import Parts, install
from mpsearch.network.inputs import call, to_device
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.pt2.artifact import Pt2Artifact, read_artifact
from mpsearch.targets.pt2.write import Pt2Writer
from mpsearch.tasks.outputs import same_values

__all__ = ["Pt2"]


@TARGETS.register("pt2")
class Pt2(Target):
    """The program unpacks its weights in every call, by the same operators in every format; layout in `mpsearch.targets.pt2.layout`."""

    name: ClassVar[str] = "pt2"
    description: ClassVar[str] = "one torch.export program of packed weights, run by torch alone"
    file: ClassVar[str] = "model.pt2"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Sums of sign vectors, superblocks and inputs that are powers of two are refused; every other format is supported."""
        if weight.kind == "multibit" or weight.in_superblocks:
            return f"its program unpacks no {'sums of sign vectors' if weight.kind == 'multibit' else 'superblocks'}"
        return "its program rounds no activations to powers of two" if activation.kind == "power_of_two" else ""

    def writer(self, blueprint: Blueprint) -> Pt2Writer:
        """What writes the network of a blueprint."""
        return Pt2Writer(blueprint)

    def read(self, path: Path) -> Pt2Artifact:
        """Read and check a file; its program is not loaded, since it may be a stranger's."""
        return read_artifact(path)

    def verify(self, path: Path, parts: Parts, model: nn.Module, layers: Sequence[Layer], inputs: Any, expected: float) -> float | None:
        """The same, and the program, which was just written, gives the outputs of the scored network bit for bit."""
        differ = super().verify(path, parts, model, layers, inputs, expected)
        one = to_device(inputs, torch.device("cpu"))
        with torch.no_grad():
            scored = call(install(model, layers, parts).cpu(), one)
            if not same_values(call(self.read(path).program(), one), scored):
                raise ArtifactError(f"{path} gives other outputs in torch than the network that was scored; use --target packed")
        return differ
