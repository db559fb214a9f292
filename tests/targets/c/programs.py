"""Networks as C programs, compiled and compared with what torch computes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.methods import Method
from mpsearch.methods.alq import Alq
from mpsearch.methods.learned_range import LearnedRange
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.targets.c.program import CompiledModel
from mpsearch.targets.c.write import CWriter

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on this machine")

EIGHT = NumberFormat("uniform", 8)


def method_of(format: NumberFormat) -> Method:
    candidates: tuple[Method, ...] = (Lsq(), Alq(), LearnedRange(levels="power_of_two"))
    return next(method for method in candidates if method.stores(format) is not None)


def baked(
    model: nn.Module, x: Tensor, weight: NumberFormat = EIGHT, act: NumberFormat = FLOAT, own: Mapping[str, NumberFormat] | None = None
) -> tuple[ResolvedSpace, Parts]:
    """The numbers of a network whose layers all have one choice, or `own` formats of weights, by name."""
    menus = {name: LayerMenu(weights=(format,)) for name, format in (own or {}).items()}
    space = Space(name="one", weights=(weight,), activations=(act,), layers=menus).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method_of(weight))
    network.begin(Allocation({name: only for name, (only,) in zip(space.names, space.menus, strict=True)}))
    return space, bake(network)


def written(model: nn.Module, x: Tensor, path: Path, weight: NumberFormat = EIGHT, act: NumberFormat = FLOAT) -> Parts:
    space, parts = baked(model, x, weight, act)
    CWriter(Blueprint.of(model, x, space)).write(path, parts)
    return parts


def compared(
    model: nn.Module, x: Tensor, folder: Path, weight: NumberFormat = EIGHT, act: NumberFormat = FLOAT, tolerance: float = 2e-6
) -> str:
    """Assert that the C program gives the outputs that torch gives; returns its text."""
    space, parts = baked(model, x, weight, act)
    path = folder / "model.c"
    CWriter(Blueprint.of(model, x, space)).write(path, parts)
    assert difference(path, model, space, parts, x) < tolerance
    return path.read_text()


def difference(path: Path, model: nn.Module, space: ResolvedSpace, parts: Parts, x: Tensor) -> float:
    """Largest difference of the outputs, relative to the largest output."""
    with torch.no_grad():
        expected = call(install(model, space.layers, parts), x)
    expected = torch.cat([expected] if isinstance(expected, Tensor) else [each.flatten(1) for each in expected], 1).flatten(1)
    found = CompiledModel(path)(x)
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def chosen(space: ResolvedSpace, parts: Parts) -> dict[str, Choice]:
    """The stored formats of each layer."""
    layers = {layer.name: parts.layers[layer.name] for layer in space.layers}
    return {name: Choice(each.weight_format, FLOAT if each.input is None else each.input.format) for name, each in layers.items()}
