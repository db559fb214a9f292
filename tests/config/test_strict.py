from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, ValidationError, field_validator

from mpsearch.config.strict import Strict, validated
from mpsearch.core.errors import ConfigError


class Inner(Strict):
    epochs: int = 1
    lr: float = Field(default=0.1, gt=0)


class Outer(Strict):
    name: str
    inner: Inner = Inner()
    rungs: tuple[Inner, ...] = ()
    methods: dict[str, Inner] = Field(default_factory=dict)
    some: tuple[int, ...] = Field(default=(1,), min_length=1)

    @field_validator("name")
    @classmethod
    def _checked(cls, name: str) -> str:
        if name == "ours":
            raise ConfigError("name: 'ours' is taken; take another", path="name")
        if name == "theirs":
            raise ValueError("'theirs' is taken")
        return name


@pytest.mark.parametrize(
    ("content", "message", "path"),
    [
        ({"name": "a", "inner": {"epohs": 1}}, "f.yaml: inner.epohs: unknown key; did you mean 'epochs'?", "inner.epohs"),
        ({"name": "a", "inner": {"zzz": 1}}, "f.yaml: inner.zzz: unknown key; known keys: epochs, lr", "inner.zzz"),
        ({"name": "a", "rungs": [{}, {"epohs": 1}]}, "f.yaml: rungs.1.epohs: unknown key; did you mean 'epochs'?", "rungs.1.epohs"),
        ({"name": "a", "methods": {"m": {"lrr": 1}}}, "f.yaml: methods.m.lrr: unknown key; did you mean 'lr'?", "methods.m.lrr"),
        ({"name": "a", "[[": 1}, "f.yaml: [[: unknown key; known keys: name, inner, rungs, methods, some", "[["),
        ({"nam": "a"}, "f.yaml: nam: unknown key; did you mean 'name'?", "nam"),
        ({}, "f.yaml: name: this key is missing; add it", "name"),
        ({"name": "a", "inner": {"lr": 0}}, "f.yaml: inner.lr: should be greater than 0, not 0", "inner.lr"),
        ({"name": "a", "inner": {"lr": float("nan")}}, "f.yaml: inner.lr: should be a finite number, not nan", "inner.lr"),
        ({"name": "a", "some": []}, "f.yaml: some: needs at least 1, and is empty", "some"),
        ({"name": "theirs"}, "f.yaml: name: 'theirs' is taken", "name"),
        ({"name": "ours"}, "f.yaml: name: 'ours' is taken; take another", "name"),
        (
            {"nam": "a", "inner": {"lr": 0}},
            "f.yaml: 2 faults: (1) nam: unknown key; did you mean 'name'? (2) inner.lr: should be greater than 0, not 0",
            "nam",
        ),
        (
            {"name": "a", "rungs": [{"lr": 0}, {"lrr": 1}]},
            "f.yaml: 2 faults: (1) rungs.1.lrr: unknown key; did you mean 'lr'? (2) rungs.0.lr: should be greater than 0, not 0",
            "rungs.1.lrr",
        ),
    ],
)
def test_all_problems_are_one_line_with_their_paths(content: dict[str, Any], message: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Outer, content, label="f.yaml")
    assert str(caught.value) == message
    assert caught.value.path == path


def test_long_values_are_cut_short() -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Outer, {"name": "a", "inner": {"epochs": "x" * 500}}, label="")
    assert len(str(caught.value)) < 200


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().epochs = 2  # type: ignore[misc]
