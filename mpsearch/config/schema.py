"""JSON schemas of study, space and hardware files, for editors; `python -m mpsearch.config.schema` writes them next to those files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpsearch.config.hardware import HardwareConfig
from mpsearch.config.shipped import shipped_folder
from mpsearch.config.space import SpaceConfig
from mpsearch.config.study import StudyConfig

__all__ = ["SCHEMAS", "schema_text", "schemas", "write_schemas"]

SCHEMAS: Mapping[str, str] = {"study": "studies", "space": "spaces", "hardware": "hardware"}
"""Kind of file → folder of those that are part of mpsearch."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NEEDED = ("name", "data", "model", "space")
_PARTS = {"data": "source", "model": "factory", "space": "weights"}


def schema_text(kind: str) -> str:
    """The schema of a kind of `SCHEMAS` as JSON text."""
    document = {"study": _study, "space": SpaceConfig.model_json_schema, "hardware": HardwareConfig.model_json_schema}[kind]()
    return json.dumps({"$schema": _DRAFT, **document}, indent=2, ensure_ascii=False) + "\n"


def schemas() -> dict[Path, str]:
    """Path of each schema file → its text."""
    return {shipped_folder(folder) / f"{kind}.schema.json": schema_text(kind) for kind, folder in SCHEMAS.items()}


def write_schemas() -> tuple[Path, ...]:
    """Write all schemas; returns their paths."""
    for file, text in schemas().items():
        file.write_text(text, encoding="utf-8")
    return tuple(schemas())


def _study() -> dict[str, Any]:
    """What `read_study` takes: a study in full or in short, or the changes to the one it extends."""
    document = StudyConfig.model_json_schema()
    properties, definitions = document["properties"], document["$defs"]
    text = {"type": "string", "minLength": 1}
    properties["extends"] = {**text, "description": "a shipped study or the path of a file, whose keys this file overrides"}
    budgets = properties["budgets"]
    one = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    properties["budgets"] = {**one, "default": budgets["default"], "description": budgets["description"]}
    properties["budget"] = {**one, "description": "the same as budgets"}
    methods = properties["methods"]
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    properties["methods"] = {"anyOf": [{"type": "string"}, names, methods], "description": methods["description"]}
    for part in ("data", "model"):
        properties[part] = {"anyOf": [text, properties[part]]}
    for definition in ("DataConfig", "ModelConfig", "SpaceConfig"):
        del definitions[definition]["required"]  # of a file that extends another
    del document["required"]
    in_full = {part: {"anyOf": [{"type": "string"}, {"required": [key]}]} for part, key in _PARTS.items()}
    return {**document, "if": {"required": ["extends"]}, "then": {}, "else": {"required": list(_NEEDED), "properties": in_full}}


if __name__ == "__main__":
    for written in write_schemas():
        print(written)
