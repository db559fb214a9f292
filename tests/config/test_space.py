from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpsearch.config import load_space, shipped_names
from mpsearch.config.space import read_space
from mpsearch.core.choice import FLOAT_BITS, Choice
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.space import LayerMenu


def test_shipped_spaces() -> None:
    assert {"weights-only", "weights-activations", "hardware-248", "weights-a4"} <= set(shipped_names("spaces"))
    weights_only = load_space("weights-only")
    assert weights_only.weights == (1, 2, 3, 4, 5, 6, 7, 8)
    assert weights_only.activations == (FLOAT_BITS,)
    assert load_space("hardware-248").weights == (2, 4, 8)


def test_everything_a_space_can_say() -> None:
    space = load_space(
        {
            "name": "mine",
            "weights": [2, 4, "float"],
            "activations": [8, "float"],
            "layers": {"fc*": {"weights": [8]}},
            "pins": {"conv1": "w8a8", "head": 4},
            "ties": [["a.*", "b"]],
        }
    )
    assert space.weights == (2, 4, FLOAT_BITS)
    assert space.activations == (8, FLOAT_BITS)
    assert space.layers == {"fc*": LayerMenu(weights=(8,))}
    assert space.pins == {"conv1": Choice(8, 8), "head": Choice(4)}
    assert space.ties == (("a.*", "b"),)


@pytest.mark.parametrize("name", shipped_names("spaces"))
def test_a_space_survives_its_own_dump(name: str) -> None:
    config = read_space(name)
    assert read_space(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "weights: this key is missing"),
        ({"weights": []}, "weights: needs at least 1, and is empty"),
        ({"weights": [0]}, r"weights\.0: bits are an integer from 1 to 8 or 'float', not 0"),
        ({"weights": [True]}, r"weights\.0: bits are"),
        ({"weights": [4], "activations": [1]}, r"activations\.0: bits are an integer from 2 to 8"),
        ({"weights": 4}, "weights: should be a valid tuple, not 4"),
        ({"weigths": [4]}, "weigths: unknown key; did you mean 'weights'"),
        ({"weights": [4], "layers": {"fc": {"wieghts": [4]}}}, r"layers\.fc\.wieghts: unknown key; did you mean 'weights'"),
        ({"weights": [4], "pins": {"fc": "8 bit"}}, r"pins\.fc: a choice is spelled like w4a8"),
        ({"weights": [4], "pins": {"fc": "w9a8"}}, r"pins\.fc: .*from 1 to 8"),
        ({"weights": [4], "ties": [[]]}, r"ties\.0: "),
    ],
)
def test_wrong_spaces_name_the_key(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^space: {message}") as caught:
        load_space(content)
    assert "\n" not in str(caught.value)


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("weights: [9]\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: weights\.0"):
        load_space(str(file))
    file.write_text("weights: [4]\n")
    assert load_space(file).name == "mine"


def test_unknown_names_and_paths() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown space 'nope'; known: .*weights-only"):
        load_space("nope")
    with pytest.raises(ConfigError, match=r"there is no space file 'nope\.yaml'; give a YAML file or one of"):
        load_space("nope.yaml")
    with pytest.raises(ConfigError, match="the shipped space is asked for as 'weights-only'"):
        load_space("elsewhere/weights-only.yaml")
