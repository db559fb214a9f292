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
PLACES = {"studies": ROOT / "studies", "spaces": ROOT / "spaces", "hardware": ROOT / "mpsearch" / "hardware"}
FILES = [(folder, file) for folder, place in PLACES.items() for file in sorted(place.glob("*.yaml"))]
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


def test_every_shipped_file_names_the_schema_beside_it() -> None:
    for _, file in FILES:
        comment, _, schema = file.read_text(encoding="utf-8").partition("\n")[0].partition("$schema=")
        assert comment == "# yaml-language-server: "
        assert (file.parent / schema).is_file()


@pytest.mark.parametrize(
    ("content", "sound"),
    [
        ({"name": "a", "data": "digits", "model": "m", "space": "weights-only", "budget": "2MB"}, True),
        ({"extends": "digits_resnet18", "space": {"pins": {"fc": "w8af"}}, "data": {"options": {}}, "methods": ["lsq"]}, True),
        ({"name": "a", "data": "digits", "model": "m"}, False),
        ({"name": "a", "data": {"path": "p"}, "model": "m", "space": "s"}, False),
        ({"extends": "digits_resnet18", "sead": 1}, False),
    ],
)
def test_a_study_in_short_and_one_that_extends_another(content: dict[str, object], sound: bool) -> None:
    assert Draft202012Validator(SCHEMAS["studies"]).is_valid(content) is sound
