"""`load_study`: read a study file, apply its effort and the command line's overrides, and check that every name exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpsearch.config.hyperparameters import hyperparameter_model
from mpsearch.config.overlay import overlay, replaced
from mpsearch.config.shipped import find_yaml
from mpsearch.config.space import read_space
from mpsearch.config.strict import validated
from mpsearch.config.study import StudyConfig, effort_changes, validate_study
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.errors import ConfigError
from mpsearch.core.registry import Registry
from mpsearch.methods import METHODS
from mpsearch.signals import SIGNALS
from mpsearch.targets import target_with

__all__ = ["load_study"]


def load_study(reference: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """Load a study by its name in `studies/` or from a YAML file.

    Args:
        reference: name or path.
        overrides: dotted path of a key → its new value, such as `{"recipe.lr": 0.01, "budgets": ["2MB"]}`. `effort` selects an effort of
            the study, which is applied first. `methods` may be a list of names: methods that are not in the study get their defaults, those
            not listed are removed. `all` in `methods` or `signals.names` stands for every registered one, the study's own first. If only
            signals that combine others are named, they combine the study's own.

    Raises:
        ConfigError: the file cannot be read, or has a wrong key, type or value; the message has the path of the key.
        UnknownNameError: there is no study, space, signal or method of that name.
    """
    path = reference if isinstance(reference, Path) else find_yaml("study", "studies", reference)
    label = str(path)
    content = read_yaml(path)
    stated = validate_study(content, label=label)
    for name, effort_config in stated.efforts.items():
        validate_study(overlay(content, effort_config.model_dump()), label=f"{label}: efforts.{name}")

    changes = dict(overrides or {})
    effort = changes.pop("effort", stated.effort)
    content = overlay(content, {**effort_changes(stated.efforts, effort, current=stated.effort, label=label), "effort": effort})
    content = _without_stale_options(content, changes)
    for key, value in changes.items():
        if key == "methods" and not isinstance(value, Mapping):
            value = {name: stated.methods.get(name, {}) for name in _expanded_all(value, tuple(stated.methods), METHODS)}
        if key == "signals.names":
            value = list(_expanded_all(value, stated.signals.names, SIGNALS))
            if value and all(name in SIGNALS and SIGNALS[name].combines for name in value):
                value = list(dict.fromkeys([*value, *stated.signals.names]))
        content = replaced(content, key, value)
    try:
        config = validate_study(content, label="")
        check_plugins(config)
    except ConfigError as error:
        if not error.path:
            raise
        from_flags = any(error.path.startswith(key) or key.startswith(error.path) for key in changes)
        raise ConfigError(f"{'command line' if from_flags else label}: {error}", path=error.path) from error
    return config


def _without_stale_options(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the options of a data source, factory or target that is replaced; load a named space if a key inside it is overridden."""
    for part, key in (("data", "source"), ("model", "factory")):
        asked = changes.get(f"{part}.{key}")
        if asked is not None and asked != content[part].get(key):
            content = {**content, part: {}}
    if changes.get("target", content.get("target")) != content.get("target"):
        content = {**content, "target_settings": {}}
    if isinstance(content["space"], str) and any(key.startswith("space.") for key in changes):
        content = {**content, "space": read_space(content["space"]).model_dump(mode="json")}
    return content


def check_plugins(config: StudyConfig) -> None:
    """Check that signals, methods and target are registered, that the methods have the hyperparameters given, and that recipes are valid.

    Raises:
        ConfigError: a method has no such hyperparameter, or it has a wrong type or value.
        UnknownNameError: a signal, method or target is not registered.
    """
    target_with(config.target, config.target_settings)
    combining = [SIGNALS[name].combines for name in config.signals.names]
    if all(combining):
        alone = ", ".join(config.signals.names)
        raise ConfigError(f"signals.names: '{alone}' combines other signals; name at least two more", path="signals.names")
    for name, settings in config.methods.items():
        try:
            validated(hyperparameter_model(METHODS[name], name), settings, label="")
        except ConfigError as error:
            raise ConfigError(f"methods.{name}.{error}", path=f"methods.{name}.{error.path}") from error
        try:
            config.hyperparameters(name).build(METHODS[name])
        except ConfigError as error:
            raise ConfigError(f"methods.{error}", path=f"methods.{error.path}") from error
    config.recipe.build()
    if config.float_recipe is not None:
        config.float_recipe.build()


def _expanded_all(names: Iterable[str], own: Sequence[str], registry: Registry[Any]) -> Iterable[str]:
    return dict.fromkeys([*own, *registry.names()]) if "all" in names else names
