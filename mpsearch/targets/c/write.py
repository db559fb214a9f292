"""Writer of C files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.errors import ModelError
from mpsearch.core.files import write_bytes
from mpsearch.core.layer import Layer
from mpsearch.core.nested import leaves, mapped
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import Parts, install, rest_of_state
from mpsearch.network.inputs import batch_size, call, samples_of
from mpsearch.targets.base import Writer
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.c.file import headed
from mpsearch.targets.c.lower import lowered
from mpsearch.targets.c.operators import OPERATORS
from mpsearch.targets.c.source import TYPES, array_text, body, planned
from mpsearch.targets.c.walk import PURPOSE, walk
from mpsearch.targets.description import compress, spelled
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.unpack import STORED_DTYPES, stored_as
from mpsearch.targets.packed.write import tensors_of
from mpsearch.targets.skeleton import skeleton_of

__all__ = ["CWriter"]


class CWriter(Writer):
    """Writes the C files of one network.

    Args:
        blueprint: of the network.

    Raises:
        ModelError: no C function computes one of its operators, inputs or outputs.
        ConfigError: the packages of the extra `onnx` are not installed.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        skeleton = skeleton_of(blueprint, PURPOSE)
        state = blueprint.architecture.state_dict()
        sample = (1, *next(leaves(blueprint.inputs)).shape[1:])
        self.program = walk(skeleton, blueprint.layers, {name: tuple(tensor.shape) for name, tensor in state.items()}, sample, OPERATORS)
        for name in self.program.states:
            if state[name].dtype != torch.float32:
                raise ModelError(f"{PURPOSE}: the network computes with '{name}', which is {state[name].dtype}; use --target packed")

    @property
    def overhead_bytes(self) -> int:
        """What the program reads and no layer holds: tensors of the `state_dict` and constants of the architecture, float32."""
        state = self.blueprint.architecture.state_dict()
        counts: list[int] = [state[name].numel() for name in self.program.states]
        return 4 * (sum(counts) + len(self.program.constants))

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Codes, scales, bias, activation step and exponents, as in a packed file."""
        return layout.layer_bytes(layer, weight, activation)

    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically; returns the bytes of its constant data."""
        layers = self.blueprint.layers
        tensors = tensors_of(layers, parts)
        tensors["floats"], apart = self._floats(parts)
        tensors["constants"] = bytearray(np.array(self.program.constants, dtype="<f4").tobytes())
        flash = sum(map(len, tensors.values()))
        code = lowered(self.program, layers, [parts.layers[layer.name] for layer in layers])
        plan = planned(self.program, code)
        given, expected = self._example(parts)
        sizes = (self.program.elements[0], sum(self.program.elements[number] for number in self.program.outputs), flash)
        text = body(self.program, code, plan, sizes, "".join(array_text(name, tensors[name]) for name in TYPES))
        metadata = {**spelled(self.blueprint, parts), "apart": compress(apart)}
        write_bytes(path, headed(metadata, text + _vector(given, expected)).encode("ascii"))
        return flash

    def _floats(self, parts: Parts) -> tuple[bytearray, dict[str, Any]]:
        """The array `floats`, and what stands in the comment."""
        held, at = bytearray(), dict[str, int]()
        for name in self.program.states:
            at[name] = len(held)
            held += _bytes(parts.rest[name])
        order: list[int | str] = []
        others: dict[str, Any] = {}
        for name in rest_of_state(self.blueprint.architecture, self.blueprint.layers):
            tensor = parts.rest[name]
            if name in at:
                order.append(at[name])
            elif tensor.dtype == torch.float32:
                order.append(base64.b85encode(_bytes(tensor)).decode())
            else:
                stored = stored_as(name, tensor)
                data = base64.b85encode(stored.contiguous().numpy().tobytes()).decode()
                others[f"rest.{name}"] = [STORED_DTYPES[stored.dtype], list(stored.shape), data]
        sizes = [[at[name], 4 * parts.rest[name].numel()] for name in self.program.states]
        return held, {"floats": {"held": sizes, "all": order}, "others": others}

    def _example(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """The first sample of the blueprint and the outputs for it."""
        inputs = mapped(self.blueprint.inputs, lambda value: value.cpu() if isinstance(value, Tensor) else value)
        one = samples_of(inputs, slice(0, 1), batch_size(inputs))
        model = install(self.blueprint.architecture, self.blueprint.layers, parts).cpu()
        with torch.no_grad():
            outputs = [output.reshape(-1) for output in leaves(call(model, one)) if isinstance(output, Tensor)]
        return next(leaves(one)).reshape(-1), torch.cat(outputs)


def _vector(given: Tensor, expected: Tensor) -> str:
    vectors = {"model_test_input": given, "model_test_output": expected}
    arrays = [array_text(name, _bytes(tensor), storage="const") for name, tensor in vectors.items()]
    return f"\n#ifdef MODEL_TEST_VECTOR\n{''.join(arrays)}#endif\n"


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().astype("<f4").tobytes()
