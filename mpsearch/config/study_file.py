"""`read_study`: a study file in full: what it extends, what it says in short, and the defaults of what it leaves out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mpsearch.config.overlay import overlay
from mpsearch.config.shipped import find_yaml
from mpsearch.config.space import read_space
from mpsearch.config.study import name_of
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.errors import ConfigError
from mpsearch.models import is_registered
from mpsearch.training.recipe import FLOAT_RECIPE, QAT_RECIPE

__all__ = ["DEFAULT_EFFORTS", "read_study"]

_LONGEST_CHAIN = 10
_PTQ = {"name": "ptq", "epochs": 0}
DEFAULT_EFFORTS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"search": {"trials": 8, "rungs": [_PTQ]}, "retrain": {"epochs": 2}},
    "normal": {},
    "thorough": {
        "search": {
            "trials": 48,
            "rungs": [_PTQ, {"name": "short", "epochs": 1, "keep": 0.34}, {"name": "long", "epochs": 3, "keep": 0.34}],
        },
        "retrain": {"epochs": 15},
    },
}
"""What `--effort` changes in a study that states no efforts; what the study states itself stays."""
_SECTIONS = ("signals", "search", "retrain", "recipe", "float_recipe")
"""Parts of a study that an effort may change."""


def read_study(path: Path) -> dict[str, Any]:
    """The content of a study file in full.

    - `extends: NAME` (a shipped study, or the path of a file, seen from the folder of this one) begins with that study. Keys of this file
      win, in each effort too; mappings merge key by key, all else is replaced. `methods` are those that this file names, with what the
      other says of them. Another `data.source` or `model.factory` drops the options of the old one. Name and description are not
      inherited; the name is that of the file unless it says otherwise.
    - `data: imagefolder:DIR`, `model: NAME`, `methods: [A, B]`, `budget: 2MB` and `budgets: 2MB` are written out.
    - `methods` and `recipe` that are left out are those of `mpsearch.search`; `float_recipe` is filled in for a registered model without
      weights, which would otherwise be untrained; efforts are `DEFAULT_EFFORTS`. All other defaults are those of `StudyConfig`.

    A value of a wrong type stays as it is, for the validation to say so.

    Raises:
        ConfigError: a file cannot be read, `extends` goes round in a circle, or one thing is said twice.
        UnknownNameError: there is no study or space of that name.
    """
    return _with_defaults(_extended(path, ()))


def _extended(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    place = path.resolve()
    if place in above or len(above) >= _LONGEST_CHAIN:
        circle = "extends itself" if place in above else f"is the end of {_LONGEST_CHAIN} files that extend each other"
        raise ConfigError(f"{path}: extends: this file {circle}; let one of them state the study in full", path="extends")
    own = _written_out(read_yaml(path), str(path))
    if "extends" not in own:
        return own
    reference = own.pop("extends")
    if not isinstance(reference, str) or not reference:
        raise ConfigError(f"{path}: extends: a study's name or the path of its file is needed, not {reference!r:.60}", path="extends")
    is_path = "/" in reference or "\\" in reference or reference.endswith((".yaml", ".yml"))
    found = find_yaml("study", "studies", str(path.parent / os.path.expanduser(reference)) if is_path else reference)
    base = _extended(found, (*above, place))
    return {"name": name_of(path.stem), **_merged({key: value for key, value in base.items() if key not in ("name", "description")}, own)}


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The study that `own` makes of `base`."""
    space, named, efforts = own.get("space"), own.get("methods"), base.get("efforts")
    if isinstance(space, Mapping) and isinstance(base.get("space"), str):
        base = {**base, "space": read_space(base["space"]).model_dump(mode="json", exclude={"name", "description"})}
    for part, key in (("data", "source"), ("model", "factory")):
        old, new = (content.get(part) for content in (base, own))
        if isinstance(old, Mapping) and isinstance(new, Mapping) and new.get(key, old.get(key)) != old.get(key):
            base = {**base, part: {}}
    merged = overlay(base, own)
    if isinstance(named, Mapping):
        merged["methods"] = {name: merged["methods"][name] for name in named}
    if isinstance(efforts, Mapping):
        merged["efforts"] = overlay({"efforts": _efforts(efforts, own)}, own)["efforts"]
    return merged


def _efforts(efforts: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Efforts of a base, in which what a study states itself holds as well."""
    stated = {section: own[section] for section in _SECTIONS if isinstance(own.get(section), Mapping)}
    return {name: overlay(changes, stated) if isinstance(changes, Mapping) else changes for name, changes in efforts.items()}


def _written_out(content: dict[str, Any], label: str) -> dict[str, Any]:
    """The content with what it says in short in the words of `StudyConfig`.

    Raises:
        ConfigError: `budget` and `budgets` are both there.
    """
    content = dict(content)
    if "budget" in content:
        if "budgets" in content:
            raise ConfigError(f"{label}: budget: stands beside budgets, which means the same; keep one of them", path="budget")
        content["budgets"] = content.pop("budget")
    if isinstance(content.get("budgets"), str | int | float):
        content["budgets"] = [content["budgets"]]
    if isinstance(data := content.get("data"), str):
        source, colon, path = data.partition(":")
        content["data"] = {"source": source, **({"path": path} if colon else {})}
    if isinstance(model := content.get("model"), str):
        content["model"] = {"factory": model}
    if isinstance(methods := content.get("methods"), str | list):
        names = [methods] if isinstance(methods, str) else methods
        if all(isinstance(name, str) for name in names):
            content["methods"] = {name: {} for name in names}
    return content


def _with_defaults(content: dict[str, Any]) -> dict[str, Any]:
    recipe = {key: value for key, value in asdict(QAT_RECIPE).items() if key != "epochs"}
    content = {"methods": {"lsq": {}}, "recipe": recipe, **content}
    model = _mapping(content.get("model"))
    if "float_recipe" not in content and model.get("weights") is None and is_registered(str(model.get("factory", ""))):
        content["float_recipe"] = asdict(FLOAT_RECIPE)
    if "efforts" not in content:
        own = {section: _mapping(content.get(section)) for section in _SECTIONS}
        efforts = {
            name: {section: {key: own[section].get(key, value) for key, value in changes.items()} for section, changes in parts.items()}
            for name, parts in DEFAULT_EFFORTS.items()
        }
        if any(
            changes[key] != own[section].get(key) for parts in efforts.values() for section, changes in parts.items() for key in changes
        ):
            content["efforts"] = efforts  # else they would change nothing, and `--effort` would be silent about that
    return content


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
