from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from mpsearch.config.schema import schemas
from mpsearch.config.yaml_file import read_yaml

ROOT = Path(__file__).parents[2]
FILES = [(folder, file) for folder in ("studies", "spaces") for file in sorted((ROOT / folder).glob("*.yaml"))]
SCHEMAS = {file.parent.name: json.loads(text) for file, text in schemas().items()}


@pytest.mark.parametrize("file", schemas(), ids=lambda file: file.name)
def test_committed_schema_is_the_generated_one(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == schemas()[file], "run: python -m mpsearch.config.schema"


@pytest.mark.parametrize("folder", SCHEMAS)
def test_schemas_are_schemas(folder: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[folder])


@pytest.mark.parametrize(("folder", "file"), FILES, ids=[file.name for _, file in FILES])
def test_shipped_files_satisfy_their_schema(folder: str, file: Path) -> None:
    Draft202012Validator(SCHEMAS[folder]).validate(read_yaml(file))


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    good = read_yaml(ROOT / "studies" / "digits_resnet18.yaml")
    for path, value in (
        (("sead",), 1),
        (("recipe", "lr"), "fast"),
        (("search", "trials"), 0),
        (("space",), {"weights": [9]}),
        (("recipe", "epohs"), 1),
    ):
        bad = copy.deepcopy(good)
        below = bad
        for part in path[:-1]:
            below = below[part]
        below[path[-1]] = value
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMAS["studies"]).validate(bad)
