"""Networks by name, one file a family, or a user's own as `package.module:factory` or `hf:DIR`. `mpsearch list models` shows the names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.core.registry import Registry
from mpsearch.models.factory import ModelFactory, call_factory, find_factory
from mpsearch.models.hugging_face import folder_of, load_folder
from mpsearch.models.weights import load_weights

__all__ = ["MODELS", "ModelFactory", "build_model", "is_registered", "load_weights"]

MODELS: Registry[ModelFactory] = Registry("model", "mpsearch.models")


def is_registered(reference: str) -> bool:
    """Whether the reference is a registered name; looking it up runs only mpsearch's code."""
    return reference in MODELS


def build_model(reference: str, options: Mapping[str, Any] = MappingProxyType({}), *, weights: str | Path | None = None) -> nn.Module:
    """Build a float network.

    Args:
        reference: a registered name; `hf:DIR`, see `load_folder`; or `package.module:factory`, importable or in the current directory. Only
            the last runs code that is not mpsearch's or of a package it names.
        options: keyword arguments of the factory.
        weights: file with its weights; see `load_weights`.

    Raises:
        UnknownNameError: there is no model of that name.
        ModelError: the factory is missing, raises, or returns no module; it does not take the options; the weights do not match.
    """
    folder = folder_of(reference)
    if folder is not None:
        model = load_folder(folder, options)
    elif ":" in reference:
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
