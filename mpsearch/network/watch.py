"""`Watch`: which parameters a forward pass multiplies, along which axes, and how often; and which tensors no `state_dict` holds.

A torch function mode sees every call with the tensors that it gets. A view of a parameter is recognised by its memory, and its axes by
their strides; a copy, a cast, an elementwise change or a concatenation of parameters keeps their axes. So the weight of `x @ W.t()`, of
`F.linear(x, W * gain)` and of `torch.bmm(x, W.expand(…))` is found, whatever module holds it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mpsearch.core.nested import leaves
from mpsearch.network.observe import Outputs
from mpsearch.network.state import memory_of
from mpsearch.network.unregistered import Unregistered

__all__ = ["FUSED", "Product", "Watch"]

Labels = tuple[frozenset[int], ...]
"""For each axis of a tensor, the axes of the parameter that lie along it."""

FUSED = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward", "chain_matmul", "multi_dot", "kron", "outer", "cdist"})
"""Functions that multiply, in which no weight is looked for."""

_READS = frozenset({"__get__", "size", "dim", "numel", "stride", "is_floating_point", "requires_grad_", "__len__", "is_contiguous"})
_CHANGES = ("neg", "mul", "__mul__", "__rmul__", "add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "div", "__truediv__", "where")
_COPIES = ("contiguous", "clone", "to", "float", "type", "type_as", "detach", "dropout", "masked_fill", "reshape")
_KEEPS_AXES = frozenset((*_CHANGES, *_COPIES))
_JOINS = frozenset({"cat", "stack", "concat", "concatenate"})
_ADDS = _JOINS | {"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__rsub__", "__isub__"}
_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
_TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
_MATRIX_PRODUCTS = {
    name: operands
    for operands, names in {
        (0, 1): ("matmul", "mm", "bmm", "mv", "dot", "vdot"),
        (1, 0): ("__rmatmul__",),
        (1, 2): ("addmm", "addmv", "baddbmm", "addbmm"),
    }.items()
    for name in names
}
_OPERAND_NAMES = frozenset({"other", "mat2", "vec", "mat", "mat1", "batch1", "batch2", "tensor"})


@dataclass(frozen=True, kw_only=True)
class Product:
    """One multiplication by a parameter.

    Args:
        operation: such as `linear`, `matmul`, `einsum`.
        axes: axes of the parameter along which the outputs lie; the sum runs over the others.
        macs: multiply-accumulates of the whole batch; None where they cannot be counted.
        inputs: elements of the other operand, of the whole batch.
        outputs: elements of the result, of the whole batch.
        order: place among all calls of the pass.
    """

    operation: str
    axes: tuple[int, ...]
    macs: int | None
    inputs: int
    outputs: int
    order: int


@dataclass(frozen=True)
class _Source:
    """A tensor that is a parameter, or was computed from it without loss of its axes."""

    tensor: Tensor
    parameter: nn.Parameter
    labels: Labels
    share: float = 1.0  # of the tensor's elements: a concatenation has several parameters


@dataclass(frozen=True)
class _Operand:
    """A factor of a product: the tensor, and which of its axes are summed over."""

    tensor: Tensor
    summed: tuple[bool, ...]


class Watch(TorchFunctionMode):
    """Records the products of one forward pass; see the module.

    Args:
        model: whose parameters are looked for.
        order: numbers the calls; shared with whoever else counts them.
        outputs: which modules gave a tensor, kept by whoever hooks them.

    Attributes:
        products: by `id` of the parameter, in order; those inside a module between `enter` and `leave` are left out.
        used: by `id` of the parameter, the names of the functions that got it.
        outside: the same, of functions outside of such modules.
        strangers: tensors outside the `state_dict` that the pass used, by where they stand.
        added: names of modules whose output is added to another tensor that is no parameter, or joined with some.
    """

    def __init__(self, model: nn.Module, order: Iterator[int] | None = None, outputs: Outputs | None = None) -> None:
        super().__init__()
        self.added: set[str] = set()
        self._outputs = outputs or Outputs()
        self.products: dict[int, list[Product]] = {}
        self.used: dict[int, set[str]] = {}
        self.outside: dict[int, set[str]] = {}
        self.strangers: dict[str, Tensor] = {}
        self._order = order or itertools.count()
        self._running: dict[int, int] = {}
        self._sources: dict[int, list[_Source]] = {}
        self._unregistered = Unregistered(model)
        self._parameters = list(model.parameters())
        self.forget_derived()
        self._known = {key for key in map(memory_of, (*model.parameters(), *model.buffers())) if key is not None}

    def forget_derived(self) -> None:
        """Let go of the tensors that a pass has computed from parameters; the next pass computes its own."""
        self._sources.clear()
        for parameter in self._parameters:
            self._know(_Source(parameter.detach(), parameter, tuple(frozenset([axis]) for axis in range(parameter.dim()))))

    def enter(self, module: nn.Module, *_: Any) -> None:
        """Forward pre-hook of a module that counts the products of its own parameters by itself."""
        for parameter in module.parameters():
            self._running[id(parameter)] = self._running.get(id(parameter), 0) + 1

    def leave(self, module: nn.Module, *_: Any) -> None:
        """Forward hook of the same module."""
        for parameter in module.parameters():
            self._running[id(parameter)] -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _ADDS:
            self._note_added(args, kwargs)
        result = func(*args, **kwargs)
        if name not in _READS:
            self._record(name, args, kwargs, result)
        return result

    def _note_added(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """In-place additions, too: asked before the sum takes the place of the output."""
        tensors = [each for each in leaves((tuple(args), dict(kwargs))) if isinstance(each, Tensor)]
        if sum(memory_of(each) not in self._known for each in tensors) > 1:
            self.added.update(*(self._outputs.givers(each) for each in tensors))

    def _record(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        found = False
        for tensor in leaves((tuple(args), dict(kwargs))):
            if not isinstance(tensor, Tensor):
                continue
            sources = self._sources_of(tensor)
            found = found or bool(sources)
            for source in sources:
                key = id(source.parameter)
                self.used.setdefault(key, set()).add(name)
                if not self._running.get(key):
                    self.outside.setdefault(key, set()).add(name)
            if not sources and (place := self._unregistered.place_of(tensor)) is not None:
                self.strangers.setdefault(place, tensor)
            elif isinstance(tensor, nn.Parameter) and memory_of(tensor) not in self._known:
                self.strangers.setdefault("", tensor)
        if not found or not isinstance(result, Tensor):
            return
        if name in _JOINS:
            self._joined(name, args, kwargs, result)
        elif name in _KEEPS_AXES:
            self._derived(args, kwargs, result)
        else:
            order = next(self._order)
            for operand, other, macs in _factors(name, args, kwargs, result):
                self._multiplied(name, operand, other, macs, result, order)

    def _multiplied(self, name: str, operand: _Operand, other: Tensor | None, macs: int | None, result: Tensor, order: int) -> None:
        for source in self._sources_of(operand.tensor):
            if self._running.get(id(source.parameter)):
                continue
            labels = _labels(source, operand.tensor)
            summed = frozenset().union(*(label for label, gone in zip(labels, operand.summed, strict=True) if gone))
            sizes = source.parameter.shape
            self.products.setdefault(id(source.parameter), []).append(
                Product(
                    operation=name.strip("_").removeprefix("r") if name == "__rmatmul__" else name,
                    axes=tuple(axis for axis in range(len(sizes)) if axis not in summed and sizes[axis] > 1),
                    macs=None if macs is None else round(macs * source.share),
                    inputs=0 if other is None else other.numel(),
                    outputs=result.numel(),
                    order=order,
                )
            )

    def _derived(self, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        """A copy or an elementwise change: the axes stay where they were."""
        if memory_of(result) in self._sources:
            return  # a view
        for tensor in leaves((tuple(args), dict(kwargs))):
            if isinstance(tensor, Tensor) and tensor.shape == result.shape:
                for source in self._sources_of(tensor):
                    self._know(_Source(result.detach(), source.parameter, _labels(source, tensor), source.share))

    def _joined(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        parts = args[0] if args else kwargs.get("tensors", ())
        dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
        if not isinstance(dim, int) or result.numel() == 0:
            return
        for part in parts:
            for source in self._sources_of(part):
                labels = list(_labels(source, part))
                if name == "stack":
                    labels.insert(dim % result.dim(), frozenset())
                self._know(_Source(result.detach(), source.parameter, tuple(labels), source.share * part.numel() / result.numel()))

    def _know(self, source: _Source) -> None:
        key = memory_of(source.tensor)
        if key is not None and source.tensor.numel():
            self._sources.setdefault(key, []).append(source)

    def _sources_of(self, tensor: Tensor) -> list[_Source]:
        """What a tensor is a view of, if that is a parameter or was made from some."""
        key = memory_of(tensor)
        if key is None or key not in self._sources:
            return []
        place = tensor.storage_offset()
        return [source for source in self._sources[key] if source.tensor.storage_offset() <= place < _end(source.tensor)]


def _end(tensor: Tensor) -> int:
    return 1 + int(tensor.storage_offset()) + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _labels(source: _Source, view: Tensor) -> Labels:
    """The parameter's axes along each axis of a view of the source."""
    whole = source.tensor

    def along(size: int, stride: int) -> frozenset[int]:
        if size == 1 or stride == 0:  # one place, or the same again
            return frozenset()
        return frozenset().union(
            *(
                label
                for label, n, step in zip(source.labels, whole.shape, whole.stride(), strict=True)
                if n > 1 and stride < step * n and step < stride * size
            )
        )

    return tuple(along(size, stride) for size, stride in zip(view.shape, view.stride(), strict=True))


def _factors(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor
) -> Iterator[tuple[_Operand, Tensor | None, int | None]]:
    """The operands of a product that may be weights, each with the other operand and the multiply-accumulates."""
    if name in ("linear", "embedding", "embedding_bag", "bilinear", *_CONVOLUTIONS, *_TRANSPOSED):
        place = 2 if name == "bilinear" else 1
        weight = kwargs["weight"] if "weight" in kwargs else args[place]
        x = args[0] if args else kwargs.get("input", kwargs.get("input1"))
        yield _Operand(weight, _summed(name, weight)), x, _macs(name, x, weight, result)
    elif name in _MATRIX_PRODUCTS:
        given = [*args, *(value for key, value in kwargs.items() if key in _OPERAND_NAMES)]
        a, b = (given[place] for place in _MATRIX_PRODUCTS[name])
        macs = result.numel() * a.shape[-1] * (a.shape[0] if name == "addbmm" else 1)
        yield _Operand(b, _all_but(b, -1 if b.dim() == 1 else -2, name)), a, macs
        yield _Operand(a, _all_but(a, -1, name)), b, macs
    elif name == "einsum":
        yield from _einsum(args, result)
    elif name == "tensordot":
        yield from _tensordot(args, kwargs, result)
    elif name == "inner":
        a, b = args[0], args[1] if len(args) > 1 else kwargs["other"]
        if a.dim() and b.dim():
            yield _Operand(b, _all_but(b, -1, name)), a, result.numel() * a.shape[-1]
            yield _Operand(a, _all_but(a, -1, name)), b, result.numel() * a.shape[-1]


def _summed(name: str, weight: Tensor) -> tuple[bool, ...]:
    out = {"linear": 0 if weight.dim() > 1 else None, "embedding": 1, "embedding_bag": 1}.get(name, 1 if name in _TRANSPOSED else 0)
    return tuple(axis != out for axis in range(weight.dim()))


def _macs(name: str, x: Tensor, weight: Tensor, result: Tensor) -> int:
    if name.startswith("embedding"):
        return 0
    if name in _TRANSPOSED:
        return x.numel() * weight[0].numel()
    return result.numel() * (weight.shape[-1] if name == "linear" else weight[0].numel())


def _all_but(tensor: Tensor, axis: int, name: str) -> tuple[bool, ...]:
    summed = [index == axis % tensor.dim() for index in range(tensor.dim())]
    if name == "addbmm":  # sums over the batch as well
        summed[0] = True
    return tuple(summed)


def _einsum(args: Sequence[Any], result: Tensor) -> Iterator[tuple[_Operand, Tensor | None, int | None]]:
    if not args or not isinstance(args[0], str):
        return
    operands = list(args[1]) if len(args) == 2 and isinstance(args[1], list | tuple) else list(args[1:])
    left, arrow, right = args[0].replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    spelled = [_letters(term, operand.dim()) for term, operand in zip(terms, operands, strict=True)]
    sizes = {
        letter: size for term, operand in zip(spelled, operands, strict=True) for letter, size in zip(term, operand.shape, strict=True)
    }
    for operand, term in zip(operands, spelled, strict=True):
        for letter, size in zip(term, operand.shape, strict=True):
            sizes[letter] = max(sizes[letter], size)  # one of them may be 1
    macs = 1
    for size in sizes.values():
        macs *= size
    for operand, term in zip(operands, spelled, strict=True):
        other = next((each for each in operands if each is not operand), None)
        summed = tuple(letter not in right and not letter.startswith(".") for letter in term)
        if any(summed) or len(operands) > 1:
            yield _Operand(operand, summed), other, macs if len(operands) == 2 else None


def _letters(term: str, dim: int) -> list[str]:
    """A name for each axis; those of an ellipsis are counted from its end, where they meet those of other operands."""
    before, dots, after = term.partition("...")
    hidden = dim - len(before) - len(after) if dots else 0
    return [*before, *(f".{place}" for place in range(hidden, 0, -1)), *after]


def _tensordot(args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> Iterator[tuple[_Operand, Tensor | None, int | None]]:
    a, b = args[0], args[1] if len(args) > 1 else kwargs["b"]
    dims = args[2] if len(args) > 2 else kwargs.get("dims", 2)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        of_a, of_b = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        of_a, of_b = ([each] if isinstance(each, int) else list(each) for each in dims)
    macs = result.numel()
    for axis in of_a:
        macs *= a.shape[axis]
    yield _Operand(b, tuple(axis in {each % b.dim() for each in of_b} for axis in range(b.dim()))), a, macs
    yield _Operand(a, tuple(axis in {each % a.dim() for each in of_a} for axis in range(a.dim()))), b, macs
