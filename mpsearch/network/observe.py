"""Forward hooks for one `with` block, and samples of the inputs of modules."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mpsearch.network.inputs import call
from mpsearch.network.modes import modes_kept

__all__ = ["Outputs", "Sample", "collect_inputs", "collect_outputs", "draw", "first_input", "hooked"]


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
    """Which modules gave a tensor, unchanged since; the tensors are not kept."""

    def __init__(self) -> None:
        self._given: dict[int, list[tuple[weakref.ref[Tensor], int, str]]] = {}

    def add(self, tensor: Tensor, name: str) -> None:
        """A module of a name gave a tensor; what is said of tensors that are gone is forgotten."""
        alive = [each for each in self._given.get(id(tensor), ()) if each[0]() is tensor]
        self._given[id(tensor)] = [*alive, (weakref.ref(tensor), tensor._version, name)]

    def givers(self, tensor: Tensor) -> frozenset[str]:
        """Names of the modules that gave this very tensor, and after which nothing was written into it."""
        known = self._given.get(id(tensor), ())
        return frozenset(name for given, version, name in known if given() is tensor and tensor._version == version)


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


Sample = Callable[[Tensor], Tensor]
"""All values of one call, float32 `[N]` → those to keep."""


def collect_inputs(model: nn.Module, modules: Mapping[str, str], batches: Iterable[Any], sample: Sample) -> dict[str, Tensor]:
    """Run the model on the batches in evaluation mode and collect samples of the first input of some modules; the mode is restored.

    Args:
        model: any module.
        modules: key → path of the module.
        batches: inputs, as the model takes them.
        sample: what is kept of one call.

    Returns:
        Key → samples of all calls, 1-D float32, in the order of `modules`; modules that were not called are missing.
    """
    return _collected(model, modules, batches, sample, lambda args, kwargs, *_: first_input(args, kwargs), at="before")


def collect_outputs(model: nn.Module, modules: Mapping[str, str], batches: Iterable[Any], sample: Sample) -> dict[str, Tensor]:
    """The same with the outputs of modules that return one tensor."""
    return _collected(model, modules, batches, sample, lambda args, kwargs, output: output, at="after")


@torch.no_grad()
def _collected(
    model: nn.Module,
    modules: Mapping[str, str],
    batches: Iterable[Any],
    sample: Sample,
    seen: Callable[..., Tensor],
    at: Literal["before", "after"],
) -> dict[str, Tensor]:
    kept: dict[str, list[Tensor]] = {key: [] for key in modules}

    def keep(key: str, _module: nn.Module, *made: Any) -> None:
        kept[key].append(sample(seen(*made).detach().float().reshape(-1)))

    hooks = [(model.get_submodule(path), partial(keep, key)) for key, path in modules.items()]
    with modes_kept(model), hooked(before=hooks) if at == "before" else hooked(after=hooks):
        model.eval()
        for inputs in batches:
            call(model, inputs)
    return {key: torch.cat(values) for key, values in kept.items() if values}
