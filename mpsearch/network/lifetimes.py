"""Lifetimes and readers of the activations of one forward pass, for the activation-memory cost and `mpsearch.network.walk`.

No graph is captured: a dispatch mode sees every operation that runs. A layer that reads a tensor through its input quantizer counts as a
reader of that tensor. In-place operations and views make no new tensor. Nothing is fused: an activation function has its own output, and
attention is recorded as its single matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from mpsearch.core.layer import Layer
from mpsearch.core.nested import leaves
from mpsearch.network.batchnorm import fold
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.modes import evaluating
from mpsearch.network.network import keep_slow_attention
from mpsearch.network.observe import hooked
from mpsearch.network.quantizers import ActQuantizer, act_quantizer_of, attach_act_quantizer, output_quantizer_of
from mpsearch.network.state import sharing_copy

__all__ = ["FLOAT_READER", "Activation", "Lifetimes", "Step", "lifetimes", "observe"]

FLOAT_READER = ""
"""Reader of a tensor in float: an addition, a pooling, a layer without an input quantizer, or the caller of the network."""


@dataclass
class Activation:
    """One tensor between operations.

    Args:
        elements: E, one sample.
        born: number of the operation that made it; −1 is the network's input.
        last: number of the last operation that reads it.
        readers: names of the layers that read it through their input quantizer, and `FLOAT_READER`.
    """

    elements: int
    born: int
    last: int
    readers: set[str] = field(default_factory=set)

    @property
    def in_float(self) -> bool:
        """Whether it is stored in float for every allocation: something reads it in float, or nothing reads it."""
        return not self.readers or FLOAT_READER in self.readers


@dataclass(frozen=True)
class Step:
    """One operation of the pass.

    Args:
        name: such as `convolution`, `add`, `_softmax`.
        layer: the layer whose weight it multiplies, or "".
        macs: multiply-accumulates of one sample.
        read: (activation, reader) of each tensor it reads.
        written: activations it makes or overwrites.
    """

    name: str
    layer: str
    macs: int
    read: tuple[tuple[int, str], ...]
    written: tuple[int, ...]


@dataclass(frozen=True)
class Lifetimes:
    """The operations of one pass in order, and the activations they read and write."""

    steps: tuple[Step, ...]
    activations: tuple[Activation, ...]

    def alive(self) -> list[list[int]]:
        """Activations alive before the first operation and during each one: those with `born ≤ operation ≤ last`."""
        moments = range(-1, len(self.steps))
        return [[i for i, seen in enumerate(self.activations) if seen.born <= now <= seen.last] for now in moments]


class _Marker(ActQuantizer):
    """Placeholder for an input quantizer; changes no value."""

    def begin(self, step: Tensor) -> None:
        """Ignore the step."""

    def step_value(self) -> Tensor:
        """No step: 1."""
        return torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        """A new tensor, with the memory layout that any elementwise operation gives it."""
        return x.mul(1)


def lifetimes(model: nn.Module, layers: Sequence[Layer], inputs: Any) -> Lifetimes:
    """Run the network as it will be deployed, with BatchNorm folded, and record its activations.

    Args:
        model: float network; not changed.
        layers: as traced.
        inputs: one batch, on the model's device.

    Returns:
        Lifetimes in which each layer with a quantizable input reads it through its quantizer, for every allocation.
    """
    deployed = evaluating(sharing_copy(model)).requires_grad_(False)
    for layer in layers:
        if layer.norm:
            fold(deployed, layer)
        if layer.act_quantizable:
            attach_act_quantizer(deployed.get_submodule(layer.module), _Marker())
    keep_slow_attention(deployed)
    return observe(deployed, layers, inputs)


@torch.no_grad()
def observe(model: nn.Module, layers: Sequence[Layer], inputs: Any) -> Lifetimes:
    """Run a network once on a batch and record its operations.

    Args:
        model: in evaluation mode, with or without input quantizers; a quantizer that returns its input unchanged counts as none.
        layers: as traced.
        inputs: one batch, on the model's device.
    """
    recorder = _Recorder(model, layers, batch_size(inputs))
    for tensor in _tensors(inputs):
        recorder.meet(tensor, -1)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation would stand for four products and a softmax
    try:
        with recorder.through(model, layers), recorder:
            outputs = call(model, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    for tensor in _tensors(outputs):
        recorder.hand_over(tensor)
    return Lifetimes(tuple(recorder.steps), tuple(recorder.activations))


class _Recorder(TorchDispatchMode):
    def __init__(self, model: nn.Module, layers: Sequence[Layer], samples: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.activations: list[Activation] = []
        self._place: dict[int, int] = {}  # storage → its activation
        self._samples = samples
        self._inside = 0
        self._quantized: dict[int, tuple[int, str]] = {}  # storage of a quantized copy → (storage of the original, reader)
        self._alive: list[Tensor] = []  # keeps storages alive, since a freed address could be reused
        self._constants = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._layer_of = {_storage(getattr(model.get_submodule(layer.module), layer.parameter)): layer.name for layer in layers}

    def through(self, model: nn.Module, layers: Sequence[Layer]) -> AbstractContextManager[None]:
        """Attribute reads through input quantizers to their layers inside the `with`."""
        readers = [(act_quantizer_of(model, layer), layer.name) for layer in layers if layer.act_quantizable]
        readers += [(output_quantizer_of(model, layer), FLOAT_READER) for layer in layers if layer.rounds_output]
        return hooked(
            before=[(quantizer, self._enter) for quantizer, _ in readers if quantizer is not None],
            after=[(quantizer, partial(self._leave, name)) for quantizer, name in readers if quantizer is not None],
        )

    def meet(self, tensor: Tensor, now: int) -> None:
        """Record a new float tensor."""
        key = _storage(tensor)
        if tensor.is_floating_point() and tensor.numel() and key not in self._constants and key not in self._place:
            self._alive.append(tensor)
            self._place[key] = len(self.activations)
            self.activations.append(Activation(max(tensor.numel() // self._samples, 1), now, now))

    def hand_over(self, tensor: Tensor) -> None:
        """Record that the caller reads an output, in float and after the last operation."""
        if (place := self._place.get(_storage(tensor))) is not None:
            self._read(place, FLOAT_READER, len(self.steps) - 1)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if not self._inside:
            self._record(func, args, kwargs, output)
        return output

    def _record(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        inputs, outputs = list(_tensors((args, kwargs))), list(_tensors(output))
        known = {_storage(tensor) for tensor in inputs}
        if not func._schema.is_mutable and all(_storage(tensor) in known for tensor in outputs):
            return  # a view
        now = len(self.steps)
        read: list[tuple[int, str]] = []
        for tensor in inputs:
            key, reader = self._quantized.get(_storage(tensor), (_storage(tensor), FLOAT_READER))
            if key in self._place:
                read.append((self._place[key], reader))
                self._read(self._place[key], reader, now)
        for tensor in outputs:
            self.meet(tensor, now)
        written = tuple(self._place[_storage(t)] for t in outputs if t.is_floating_point() and _storage(t) in self._place)
        if read or written:
            layer = next((self._layer_of[key] for key in known if key in self._layer_of), "")
            macs = self._macs(func, args, kwargs, output)
            self.steps.append(Step(func._overloadpacket.__name__, layer, macs, tuple(read), written))

    def _read(self, place: int, reader: str, now: int) -> None:
        seen = self.activations[place]
        seen.last = max(seen.last, now)
        seen.readers.add(reader)

    def _macs(self, func: Any, args: Any, kwargs: Any, output: Any) -> int:
        packet = func._overloadpacket
        if packet in flop_registry:
            return int(flop_registry[packet](*args, **kwargs, out_val=output)) // 2 // self._samples
        if packet.__name__ == "mkldnn_rnn_layer":  # one layer of an LSTM, one way: two matrices at every step
            return int(args[0].shape[0] * args[0].shape[1] * (args[1].numel() + args[2].numel())) // self._samples
        if "scaled_dot_product" in packet.__name__:
            return int(sdpa_flop_count(*(tensor.shape for tensor in args[:3]))) // 2 // self._samples  # type: ignore[no-untyped-call]
        return 0

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._inside += 1

    def _leave(self, reader: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        self._inside -= 1
        original = _storage(args[0])
        if _storage(output) != original:
            self._alive.append(output)
            # For a copy of a copy, the original tensor.
            self._quantized[_storage(output)] = (self._quantized.get(original, (original, reader))[0], reader)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in leaves(value) if isinstance(leaf, Tensor))
