"""`PrefixCache`: run a network again from a changed layer; earlier outputs come from a cache.

A float pass records the output of every module call in order. In a replay that starts at call s, every call that ended before s returns
its recorded output, whole blocks at once. Calls whose input or output the network changes in place are never skipped, so the result is
bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.network.quantizers import ActQuantizer

__all__ = ["PrefixCache"]


@dataclass
class _Call:
    """One recorded call: the end of the calls inside it, its output, and the versions of its tensors."""

    end: int
    output: Any
    versions: tuple[int, ...]
    reusable: bool


class PrefixCache:
    """Wraps the `forward` of every submodule, except input quantizers, inside `attached`.

    Args:
        model: frozen and in evaluation mode; its control flow up to the changed layer must be deterministic.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._calls: list[_Call] = []
        self._first: dict[str, int] = {}
        self._recording = False
        self._start = self._clock = 0

    @property
    def called(self) -> frozenset[str]:
        """Paths of the modules that the recorded pass called, and that of the whole model."""
        return frozenset(self._first) | {""}

    def first_call(self, path: str) -> int:
        """Number of a module's first call in the recorded pass; 0 for the whole model."""
        return self._first[path] if path else 0

    @contextmanager
    def attached(self) -> Iterator[PrefixCache]:
        """Wrap the modules for the `with` block."""
        wrapped: list[tuple[nn.Module, Any]] = []
        try:
            for path, module in self._model.named_modules():
                # An input quantizer runs before the forward of its layer, and replays change it.
                if path and not isinstance(module, torch.jit.ScriptModule | ActQuantizer):
                    wrapped.append((module, module.__dict__.get("forward")))
                    module.forward = self._wrap(path, module.forward)
            yield self
        finally:
            for module, own in wrapped:
                del module.__dict__["forward"]
                if own is not None:
                    module.forward = own
            self._calls.clear()

    def record(self, run: Callable[[], Any]) -> Any:
        """Run everything and record it."""
        self._calls, self._first, self._start, self._recording = [], {}, 0, True
        try:
            outputs = run()
        finally:
            self._recording = False
        for call in self._calls:
            call.reusable = call.reusable and _versions(call.output) == call.versions
        return outputs

    def replay(self, start: int, run: Callable[[], Any]) -> Any:
        """Run from call `start`; 0 runs everything."""
        self._start, self._clock = start, 0
        return run()

    def _wrap(self, path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._recording:
                return self._recorded(path, forward, args, kwargs)
            if self._clock >= self._start:
                return forward(*args, **kwargs)
            call = self._calls[self._clock]
            if call.reusable and call.end <= self._start:
                self._clock = call.end
                return call.output
            self._clock += 1
            return forward(*args, **kwargs)

        return wrapper

    def _recorded(self, path: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        call = _Call(0, None, (), False)
        self._first.setdefault(path, len(self._calls))
        self._calls.append(call)
        before = _versions((args, kwargs))
        call.output = forward(*args, **kwargs)
        call.end = len(self._calls)
        call.versions = _versions(call.output) or ()
        call.reusable = before is not None and before == _versions((args, kwargs))
        return call.output


def _versions(value: Any) -> tuple[int, ...] | None:
    """Version counters of all tensors in a structure; None for an unknown structure."""
    if isinstance(value, Tensor):
        return (value._version,)
    if value is None or isinstance(value, bool | int | float | str):
        return ()
    if isinstance(value, dict):
        value = tuple(value.values())
    if not isinstance(value, tuple | list):
        return None
    inner = [_versions(item) for item in value]
    return None if any(item is None for item in inner) else tuple(version for item in inner if item is not None for version in item)
