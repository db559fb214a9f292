"""`load_study`: a file, the effort asked for, the command line's changes, and the check that every name exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mpsearch.config.hyperparameters import hyperparameter_model
from mpsearch.config.overlay import overlay, replaced
from mpsearch.config.shipped import find_yaml
from mpsearch.config.space import read_space
from mpsearch.config.strict import config_error
from mpsearch.config.study import StudyConfig, effort_changes, validate_study
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.errors import ConfigError
from mpsearch.core.registry import Registry
from mpsearch.methods import METHODS
from mpsearch.signals import SIGNALS

__all__ = ["load_study"]


def load_study(reference: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """The study a name in `studies/` or a YAML file describes.

    Args:
        reference: name or path.
        overrides: dotted path of a key → value that replaces it, such as `{"recipe.lr": 0.01, "budgets": ["2MB"]}`. `effort` picks the
            study's own changes, which come first. `methods` may list names: those not in the study get their defaults, those left out go.
            `all` among `methods` or `signals.names` stands for every one there is, the study's own first; signals that combine others,
            named alone, combine the study's own.

    Raises:
        ConfigError: unreadable, a wrong key, type or value, with the path of the key.
        UnknownNameError: no study, space, signal, method of that name.
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
    content = _forget_other_options(content, changes)
    for key, value in changes.items():
        if key == "methods" and not isinstance(value, Mapping):
            value = {name: stated.methods.get(name, {}) for name in _everyone(value, tuple(stated.methods), METHODS)}
        if key == "signals.names":
            value = list(_everyone(value, stated.signals.names, SIGNALS))
            if value and all(name in SIGNALS and SIGNALS[name].combines for name in value):  # of what, the study says
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


def _forget_other_options(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Another source or factory starts without the options of the old one; a change inside a named space needs its content."""
    for part, key in (("data", "source"), ("model", "factory")):
        asked = changes.get(f"{part}.{key}")
        if asked is not None and asked != content[part].get(key):
            content = {**content, part: {}}
    if isinstance(content["space"], str) and any(key.startswith("space.") for key in changes):
        content = {**content, "space": read_space(content["space"]).model_dump(mode="json")}
    return content


def check_plugins(config: StudyConfig) -> None:
    """Every signal and method is registered, every hyperparameter is one of its method, and the recipes can be built.

    Raises:
        ConfigError: a hyperparameter that the method does not have, or of the wrong type.
        UnknownNameError: a signal or method nobody registered.
    """
    combining = [SIGNALS[name].combines for name in config.signals.names]
    if all(combining):
        alone = ", ".join(config.signals.names)
        raise ConfigError(f"signals.names: '{alone}' combines other signals; name at least two more", path="signals.names")
    for name, settings in config.methods.items():
        model = hyperparameter_model(METHODS[name], name)
        try:
            model.model_validate(settings)
        except ValidationError as error:
            problem = config_error(error, model, label="")
            raise ConfigError(f"methods.{name}.{problem}", path=f"methods.{name}.{problem.path}") from error
        try:
            config.hyperparameters(name).build(METHODS[name])
        except ConfigError as error:
            raise ConfigError(f"methods.{error}", path=f"methods.{error.path}") from error
    config.recipe.build()
    if config.float_recipe is not None:
        config.float_recipe.build()


def _everyone(names: Iterable[str], own: Sequence[str], registry: Registry[Any]) -> Iterable[str]:
    return dict.fromkeys([*own, *registry.names()]) if "all" in names else names
