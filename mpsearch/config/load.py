"""`load_study`: read a study file, apply its effort and the command line's overrides, check all names; all faults at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from mpsearch.config.effort import EffortConfig, effort_changes
from mpsearch.config.hyperparameters import hyperparameter_model, split_settings
from mpsearch.config.overlay import overlay, replaced
from mpsearch.config.recipe import FloatRecipeConfig, RecipeConfig
from mpsearch.config.shipped import find_yaml
from mpsearch.config.space import read_space
from mpsearch.config.strict import Fault, faults_of, usage_error, validated
from mpsearch.config.study import StudyConfig, validate_study
from mpsearch.config.study_file import read_study
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.registry import Registry
from mpsearch.data import DATA
from mpsearch.methods import METHODS
from mpsearch.models import MODELS
from mpsearch.signals import SIGNALS
from mpsearch.targets import TARGETS, target_with

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
        ConfigError: the file cannot be read, or has wrong keys, types or values; the one line has the paths of all of them.
        UnknownNameError: nothing but one study, space, signal, method, target, data source or model of an unknown name.
    """
    path = reference if isinstance(reference, Path) else find_yaml("study", "studies", reference)
    label = str(path)
    content = read_study(path)
    if wrong := (*faults_of(StudyConfig, content), *_faults_of_efforts(content)):
        raise usage_error([*wrong, *_faults_of_plugins(content)], label)
    stated = validate_study(content, label=label)

    changes = dict(overrides or {})
    effort = changes.pop("effort", stated.effort)
    content = overlay(content, {**effort_changes(stated.efforts, effort, current=stated.effort, label=label), "effort": effort})
    content = _without_stale_options(content, changes)
    for key, value in changes.items():
        if key == "methods" and _are_names(value):
            value = {name: stated.methods.get(name, {}) for name in _expanded_all(value, tuple(stated.methods), METHODS)}
        if key == "signals.names" and _are_names(value):
            value = _expanded_all(value, stated.signals.names, SIGNALS)
            if value and all(name in SIGNALS and SIGNALS[name].combines for name in value):
                value = list(dict.fromkeys([*value, *stated.signals.names]))
        content = replaced(content, key, value)

    def origin(fault: Fault) -> str:
        flags = any(fault.path.startswith(key) or key.startswith(fault.path) for key in changes)
        return "command line" if flags and fault.path else label

    if wrong := (*faults_of(StudyConfig, content), *_faults_of_plugins(content)):
        raise usage_error(wrong, origin)
    return validate_study(content, label="")


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
        UnknownNameError: nothing but one signal, method or target that is not registered.
    """
    if wrong := _faults_of_plugins(config.to_dict(), files=False):
        raise usage_error(wrong, "")


def _faults_of_efforts(content: Mapping[str, Any]) -> list[Fault]:
    """Faults that efforts bring into a study."""
    efforts, before = content.get("efforts"), faults_of(StudyConfig, content)
    found: list[Fault] = []
    for name, changes in efforts.items() if isinstance(efforts, Mapping) else ():
        if isinstance(changes, Mapping):
            parts = {part: change for part, change in changes.items() if part in EffortConfig.model_fields}
            after = faults_of(StudyConfig, overlay(content, parts))
            found += [fault.inside(f"efforts.{name}") for fault in after if fault not in before]
    return found


def _faults_of_plugins(content: Mapping[str, Any], *, files: bool = True) -> list[Fault]:
    """Names that are in no registry, hyperparameters that a method does not have, and values out of their ranges.

    Args:
        content: of a study; values of a wrong type are none of its faults.
        files: whether data and model are those of a study file, rather than in memory.
    """
    found: list[Fault] = []
    sections = {name: content[name] if isinstance(content.get(name), Mapping) else {} for name in ("data", "model", "signals", "methods")}
    source, factory, names = sections["data"].get("source"), sections["model"].get("factory"), sections["signals"].get("names", ())
    asked: list[tuple[str, Registry[Any], Any]] = [("target", TARGETS, content.get("target", "packed"))]
    if files:
        asked += [("data.source", DATA, source)] if isinstance(source, str) else []
        asked += [("model.factory", MODELS, factory)] if isinstance(factory, str) and ":" not in factory else []
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []
    asked += [("signals.names", SIGNALS, name) for name in names]
    asked += [(f"methods.{name}", METHODS, name) for name in sections["methods"] if isinstance(name, str)]
    for path, registry, name in asked:
        if isinstance(name, str) and name not in registry:
            found.append(Fault.of(UnknownNameError(registry.kind, name, registry.names(), registry.broken()), path))
    if names and all(name in SIGNALS and SIGNALS[name].combines for name in names):
        found.append(Fault(path="signals.names", text=f"'{', '.join(names)}' combines other signals; name at least two more"))
    for name, settings in sections["methods"].items():
        if name in METHODS and isinstance(settings, Mapping):
            found += _faults_of_method(name, settings)
    found += _faults_of_target(content.get("target", "packed"), content.get("target_settings", {}))
    for part, model in (("recipe", RecipeConfig), ("float_recipe", FloatRecipeConfig)):
        found += _faults_of_recipe(part, model, content.get(part))
    return found


def _faults_of_target(name: object, settings: object) -> list[Fault]:
    if not isinstance(name, str) or name not in TARGETS or not isinstance(settings, Mapping):
        return []
    try:
        target_with(name, settings)
    except ConfigError as error:
        return [Fault.of(error)]
    return []


def _faults_of_method(name: str, settings: Mapping[str, Any]) -> list[Fault]:
    model = hyperparameter_model(METHODS[name], name)
    if wrong := faults_of(model, settings):
        return [fault.inside(f"methods.{name}") for fault in wrong]
    checked = validated(model, settings, label="")
    try:
        split_settings({key: getattr(checked, key) for key in checked.model_fields_set}, METHODS[name]).build(METHODS[name])
    except ConfigError as error:  # its message begins with the name of the method
        return [Fault.of(ConfigError(f"methods.{error}", path=f"methods.{error.path}"))]
    return []


def _faults_of_recipe(part: str, model: type[RecipeConfig | FloatRecipeConfig], content: object) -> list[Fault]:
    if content is None or faults_of(model, content):  # which are those of the study
        return []
    try:
        validated(model, content, label="").build()
    except ConfigError as error:
        return [Fault.of(error, part)]
    return []


def _are_names(value: object) -> TypeGuard[Sequence[str]]:
    """Whether a value lists names; what is no such list stays as it is, for the study to refuse."""
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _expanded_all(names: Sequence[str], own: Sequence[str], registry: Registry[Any]) -> list[str]:
    return list(dict.fromkeys([*own, *registry.names()])) if "all" in names else list(names)
