"""Ours beside the peers' exports: the same bits, calibrated by `gptq`, as files of `onnx` and of `onnx-qdq` without and with INT2."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from ours import RECIPE, setup_of
from torch import Tensor

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.version import __version__
from mpsearch.methods import METHODS
from mpsearch.network.baked import bake, install
from mpsearch.targets import TARGETS, Blueprint, target_with
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator

__all__ = ["VERSION", "our_files"]

_FILES: dict[str, tuple[str, dict[str, bool]]] = {
    "onnx": ("onnx", {}),
    "onnx-qdq": ("onnx-qdq", {}),
    "onnx-qdq, INT2": ("onnx-qdq", {"int2": True}),
}
"""What a row calls a file → its target and settings."""

VERSION = f"{__version__}, torch {torch.__version__}"
_ACT_BITS = 8


def our_files(
    asked: argparse.Namespace, allocations: Mapping[str, Mapping[str, int]], images: Tensor, folder: Path
) -> Iterator[tuple[str, str, Path, Tensor]]:
    """(Allocation, format, file, logits of the scored network in torch) of every file.

    Codes are two's complement, since those of `onnx-qdq` are then of 4 bits where the allocation says 4.
    """
    menu = tuple(sorted({bits for chosen in allocations.values() for bits in chosen.values()}))
    for format, (target, settings) in _FILES.items():
        problem = setup_of(str(asked.data), str(asked.weights), menu, _ACT_BITS, 4, 0, grid="twos", target=target).problem
        evaluator, method = Evaluator(problem, Compiler("off", problem.device, 0)), METHODS["gptq"](grid="twos")
        for name, bits in allocations.items():
            network = evaluator.begin(Allocation({layer: Choice(bits[layer], _ACT_BITS) for layer in problem.space.names}), method)
            evaluator.ptq(network, method, RECIPE)
            parts = bake(network)
            scored = install(problem.model, problem.space.layers, parts)
            with torch.no_grad():
                reported = torch.cat([scored(each) for each in torch.split(images, 250)])
            path = folder / f"mpsearch-{name}-{format}".replace(", ", "-") / TARGETS[target].file
            path.parent.mkdir(parents=True, exist_ok=True)
            target_with(target, settings).writer(Blueprint.of(problem.model, images[:8], problem.space)).write(path, parts)
            yield name, format, path, reported
