"""Files of small language models whose layers take every format in turn."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import Parts, bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.targets.gguf import Gguf
from tests.language_models import WORDS

__all__ = ["TOKENS", "quantized", "written"]

FORMATS = (*(NumberFormat.parse(text) for text in ("4g32", "3k", "8g32", "h2k", "4kz", "5g32", "5kz", "6k")), FLOAT)
TOKENS = torch.randint(WORDS, (3, 16), generator=torch.Generator().manual_seed(2))


def quantized(model: nn.Module) -> tuple[nn.Module, ResolvedSpace, Parts]:
    """Layers take the formats in turn."""
    model = canonical(model)
    space = Space(name="ggml", weights=FORMATS, activations=(FLOAT,)).resolve(trace(model, TOKENS))
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), Lsq())
    network.begin(Allocation({name: menu[row % len(menu)] for row, (name, menu) in enumerate(zip(space.names, space.menus, strict=True))}))
    return model, space, bake(network)


def written(model: nn.Module, path: Path) -> tuple[nn.Module, tuple[Layer, ...], Parts, int]:
    model, space, parts = quantized(model)
    size = Gguf().writer(Blueprint.of(model, TOKENS, space, stores=[Lsq().stores])).write(path, parts)
    return model, space.layers, parts, size
