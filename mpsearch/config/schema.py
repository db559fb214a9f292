"""JSON schemas of study and space files, for editors; `python -m mpsearch.config.schema` writes them next to those files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpsearch.config.shipped import shipped_folder
from mpsearch.config.space import SpaceConfig
from mpsearch.config.study import StudyConfig

__all__ = ["schemas", "write_schemas"]


def schemas() -> dict[Path, str]:
    """Path of each schema file → its text."""
    found: dict[Path, str] = {}
    for folder, name, model in (("studies", "study", StudyConfig), ("spaces", "space", SpaceConfig)):
        schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
        found[shipped_folder(folder) / f"{name}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return found


def write_schemas() -> tuple[Path, ...]:
    """Write all schemas; returns their paths."""
    for file, text in schemas().items():
        file.write_text(text, encoding="utf-8")
    return tuple(schemas())


if __name__ == "__main__":
    for written in write_schemas():
        print(written)
