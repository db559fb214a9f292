"""Networks by name, or anyone's own as `package.module:factory`; one file a family. See `mpsearch list models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.core.registry import Registry
from mpsearch.models.factory import ModelFactory, call_factory, find_factory
from mpsearch.models.weights import load_weights

__all__ = ["MODELS", "ModelFactory", "build_model", "is_registered", "load_weights"]

MODELS: Registry[ModelFactory] = Registry("model", "mpsearch.models")


def is_registered(reference: str) -> bool:
    """Whether the name is one of mpsearch's own; looking it up runs no code but mpsearch's."""
    return reference in MODELS


def build_model(reference: str, *, weights: str | Path | None = None, **options: Any) -> nn.Module:
    """A float network.

    Args:
        reference: a name `mpsearch list models` shows, or `package.module:factory`, importable or under the current directory. Only the
            latter imports code that is not mpsearch's.
        weights: file to load its weights from; see `load_weights`.
        options: keyword arguments of the factory.

    Raises:
        UnknownNameError: no such name.
        ModelError: a factory that is missing, raises or gives no module; options it does not take; weights that do not match.
    """
    if ":" in reference:
        model = call_factory(reference, find_factory(reference), options)
    else:
        entry = MODELS[reference]
        for name in options:
            if name not in entry.options:
                raise ModelError(f"model '{reference}' has no option '{name}'; it has {', '.join(entry.options)}")
        model = call_factory(reference, entry.build, options)
    if weights is not None:
        load_weights(model, weights)
    return model
