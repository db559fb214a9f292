"""`walk`: one forward pass, operation by operation, as the card needs it: what is computed in what bits, and which tensors are alive when.

No graph is captured: a dispatch mode sees every operation that really runs. Input quantizers are looked through, so that a tensor a layer
reads at 4 bits counts 4 bits, and 32 if something else reads it as well. Nothing is fused: an activation function has an output of its own,
and attention is seen as the products it consists of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.observe import hooked
from mpsearch.network.quantizers import ActQuantizer

__all__ = ["FeatureMap", "Operation", "Walk", "walk"]


@dataclass(frozen=True)
class Operation:
    """One operation of the pass.

    Args:
        name: such as `convolution`, `add`, `_softmax`.
        layer: the layer whose weight it multiplies, or "".
        macs: multiply-accumulates of one sample.
        bits_moved: bits of activations read and written, one sample.
    """

    name: str
    layer: str
    macs: int
    bits_moved: int


@dataclass
class FeatureMap:
    """One tensor between operations.

    Args:
        elements: E, one sample.
        bits: the most any reader needs; 32 where nobody quantizes it.
        born: number of the operation that made it; −1 is the network's input.
        last: number of the last operation that reads it.
    """

    elements: int
    bits: int
    born: int
    last: int


@dataclass(frozen=True)
class Walk:
    """What one pass did."""

    operations: tuple[Operation, ...]
    maps: tuple[FeatureMap, ...]


@torch.no_grad()
def walk(model: nn.Module, layers: Sequence[Layer], inputs: Any) -> Walk:
    """Run the network once on a batch and take down what happens.

    Args:
        model: as installed from baked numbers, in evaluation mode.
        layers: as traced.
        inputs: one batch, on the model's device.
    """
    recorder = _Recorder(model, layers, batch_size(inputs))
    for tensor in _tensors(inputs):
        recorder.meet(tensor, -1)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation would stand for four products and a softmax
    try:
        with recorder.through(model), recorder:
            call(model, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    for unread in recorder.maps.values():
        unread.bits = unread.bits or FLOAT_BITS  # the network's output
    return Walk(tuple(recorder.operations), tuple(recorder.maps.values()))


class _Recorder(TorchDispatchMode):
    def __init__(self, model: nn.Module, layers: Sequence[Layer], samples: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.maps: dict[int, FeatureMap] = {}
        self._samples = samples
        self._inside = 0
        self._quantized: dict[int, tuple[int, int]] = {}  # storage of a quantized copy → (storage of the original, bits)
        self._alive: list[Tensor] = []  # a freed storage's address would be used again
        self._constants = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._owners = {_storage(getattr(model.get_submodule(layer.module), layer.parameter)): layer.name for layer in layers}

    def through(self, model: nn.Module) -> AbstractContextManager[None]:
        """Look through input quantizers while in the `with`."""
        quantizers = [module for module in model.modules() if isinstance(module, ActQuantizer)]
        return hooked(before=[(module, self._enter) for module in quantizers], after=[(module, self._leave) for module in quantizers])

    def meet(self, tensor: Tensor, now: int) -> None:
        """Take down a float tensor that was not there before."""
        key = _storage(tensor)
        if tensor.is_floating_point() and tensor.numel() and key not in self._constants and key not in self.maps:
            self._alive.append(tensor)
            self.maps[key] = FeatureMap(max(tensor.numel() // self._samples, 1), 0, now, now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if not self._inside:
            self._record(func, args, kwargs, output)
        return output

    def _record(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        read, written = list(_tensors((args, kwargs))), list(_tensors(output))
        known = {_storage(tensor) for tensor in read}
        if not func._schema.is_mutable and all(_storage(tensor) in known for tensor in written):
            return  # a view
        now, moved = len(self.operations), 0
        for tensor in read:
            key, bits = self._quantized.get(_storage(tensor), (_storage(tensor), FLOAT_BITS))
            if key in self.maps:
                seen = self.maps[key]
                seen.last, seen.bits = now, max(seen.bits, bits)
                moved += seen.elements * bits
        for tensor in written:
            self.meet(tensor, now)
            if tensor.is_floating_point() and _storage(tensor) in self.maps:
                moved += self.maps[_storage(tensor)].elements * FLOAT_BITS
        if moved:
            layer = next((self._owners[key] for key in known if key in self._owners), "")
            self.operations.append(Operation(func._overloadpacket.__name__, layer, self._macs(func, args, kwargs, output), moved))

    def _macs(self, func: Any, args: Any, kwargs: Any, output: Any) -> int:
        packet = func._overloadpacket
        if packet in flop_registry:
            return int(flop_registry[packet](*args, **kwargs, out_val=output)) // 2 // self._samples
        if "scaled_dot_product" in packet.__name__:
            return int(sdpa_flop_count(*(tensor.shape for tensor in args[:3]))) // 2 // self._samples  # type: ignore[no-untyped-call]
        return 0

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        self._inside -= 1
        original = _storage(args[0])
        if _storage(output) != original:
            self._alive.append(output)
            self._quantized[_storage(output)] = (original, int(module.bits))  # type: ignore[arg-type]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
