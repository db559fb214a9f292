"""Forward hooks for one `with` block, and samples of the inputs of modules."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.network.inputs import call
from mpsearch.network.modes import modes_kept

__all__ = ["Outputs", "collect_inputs", "draw", "first_input", "hooked"]


@contextmanager
def hooked(
    *, before: Iterable[tuple[nn.Module, Callable[..., Any]]] = (), after: Iterable[tuple[nn.Module, Callable[..., Any]]] = ()
) -> Iterator[None]:
    """Register hooks for the `with` block; they are removed afterwards, also after an exception.

    Args:
        before: (module, hook); the hook gets (module, args, kwargs) before each forward and may return new (args, kwargs).
        after: (module, hook); the hook gets (module, args, kwargs, output) after each forward and may return another output.
    """
    with ExitStack() as handles:
        for module, hook in before:
            handles.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for module, hook in after:
            handles.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield


class Outputs:
    """Which modules gave a tensor; the tensors are not kept."""

    def __init__(self) -> None:
        self._given: dict[int, list[tuple[weakref.ref[Tensor], str]]] = {}

    def add(self, tensor: Tensor, name: str) -> None:
        """A module of a name gave a tensor; what is said of tensors that are gone is forgotten."""
        alive = [(given, other) for given, other in self._given.get(id(tensor), ()) if given() is tensor]
        self._given[id(tensor)] = [*alive, (weakref.ref(tensor), name)]

    def givers(self, tensor: Tensor) -> frozenset[str]:
        """Names of the modules that gave this very tensor."""
        return frozenset(name for given, name in self._given.get(id(tensor), ()) if given() is tensor)


def first_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The first argument of a call, positional if there is one."""
    return args[0] if args else next(iter(kwargs.values()))


def draw(values: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` of the values `[N]`, drawn with replacement.

    Args:
        values: 1-D, on any device.
        n: how many.
        generator: a CPU generator, so that every device draws the same positions.
    """
    return values[torch.randint(values.numel(), (n,), generator=generator).to(values.device)]


@torch.no_grad()
def collect_inputs(
    model: nn.Module, modules: Mapping[str, str], batches: Iterable[Any], sample: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Run the model on the batches in evaluation mode and collect samples of the first input of some modules; the mode is restored.

    Args:
        model: any module.
        modules: key → path of the module.
        batches: inputs, as the model takes them.
        sample: all values of one call, float32 `[N]` → those to keep.

    Returns:
        Key → samples of all calls, 1-D float32, in the order of `modules`; modules that were not called are missing.
    """
    kept: dict[str, list[Tensor]] = {key: [] for key in modules}

    def keep(key: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept[key].append(sample(first_input(args, kwargs).detach().float().reshape(-1)))

    with modes_kept(model), hooked(before=[(model.get_submodule(path), partial(keep, key)) for key, path in modules.items()]):
        model.eval()
        for inputs in batches:
            call(model, inputs)
    return {key: torch.cat(values) for key, values in kept.items() if values}
