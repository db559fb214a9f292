from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpsearch.config import load_space, shipped_names
from mpsearch.config.space import SpaceConfig, read_space
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.number_format import FLOAT, NumberFormat, as_format
from mpsearch.core.space import LayerMenu


def uniform(*bits: int) -> tuple[NumberFormat, ...]:
    return tuple(NumberFormat("uniform", each) for each in bits)


def test_shipped_spaces() -> None:
    assert {"weights-only", "weights-activations", "hardware-248", "weights-a4", "groups-64"} <= set(shipped_names("spaces"))
    weights_only = load_space("weights-only")
    assert weights_only.weights == uniform(1, 2, 3, 4, 5, 6, 7, 8)
    assert weights_only.activations == (FLOAT,)
    assert load_space("hardware-248").weights == uniform(2, 4, 8)


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
    assert space.weights == (*uniform(2, 4), FLOAT)
    assert space.activations == (*uniform(8), FLOAT)
    assert space.layers == {"fc*": LayerMenu(weights=uniform(8))}
    assert space.pins == {"conv1": Choice(8, 8), "head": Choice(4)}
    assert space.ties == (("a.*", "b"),)


NAMED = """\
weights: [t, h2, m2, 4, p4, 4g64, 4z, float]
activations: [8, p4, float]
layers:
  fc*:
    weights: [t]
pins:
  conv1: wp4a8
  head: wtaf
"""


def test_a_file_that_names_formats(tmp_path: Path) -> None:
    file = tmp_path / "named.yaml"
    file.write_text(NAMED)
    space = load_space(file)
    assert space.weights == (
        NumberFormat("ternary", 2),
        NumberFormat("half_step", 2),
        NumberFormat("multibit", 2),
        NumberFormat("uniform", 4),
        NumberFormat("power_of_two", 4),
        NumberFormat("uniform", 4, 64),
        NumberFormat("uniform", 4, zero_point=True),
        FLOAT,
    )
    assert space.activations == (NumberFormat("uniform", 8), NumberFormat("power_of_two", 4), FLOAT)
    assert space.layers == {"fc*": LayerMenu(weights=(NumberFormat("ternary", 2),))}
    assert space.pins == {"conv1": Choice(NumberFormat("power_of_two", 4), 8), "head": Choice(NumberFormat("ternary", 2))}


def test_formats_are_written_as_a_person_writes_them(tmp_path: Path) -> None:
    """Uniform bits as numbers, float as a word, whatever has a name by its name; what is written is read again."""
    file = tmp_path / "named.yaml"
    file.write_text(NAMED)
    config = read_space(file)
    plain = config.model_dump(mode="json")
    assert plain["weights"] == ["t", "h2", "m2", 4, "p4", "4g64", "4z", "float"]
    assert plain["activations"] == [8, "p4", "float"]
    assert plain["layers"] == {"fc*": {"weights": ["t"], "activations": None}}
    assert plain["pins"] == {"conv1": "wp4a8", "head": "wtaf"}
    assert read_space(plain) == config
    file.write_text(yaml.safe_dump(plain))
    assert read_space(file) == config


@pytest.mark.parametrize(("written", "format"), [("32", FLOAT), ("'4'", 4), ("t2", "t"), ("f", FLOAT)])
def test_other_words_for_a_format(written: str, format: Any, tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text(f"weights: [{written}]\n")
    assert load_space(file).weights == (NumberFormat.parse(format) if isinstance(format, str) else as_format(format),)


def test_the_schema_takes_what_is_read() -> None:
    """Whole spellings, in an editor that checks YAML by the schema."""
    items = SpaceConfig.model_json_schema()["properties"]["weights"]["items"]["anyOf"]
    pattern = next(item["pattern"] for item in items if "pattern" in item)
    for text in ("t", "h2", "m2", "p4", "4g64", "4z", "4sz"):
        assert re.search(pattern, text), text
    for text in ("x 2", "9", "4g48", "w4a8"):
        assert not re.search(pattern, text), text


@pytest.mark.parametrize("name", shipped_names("spaces"))
def test_a_space_survives_its_own_dump(name: str) -> None:
    config = read_space(name)
    assert read_space(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "weights: this key is missing"),
        ({"weights": []}, "weights: needs at least 1, and is empty"),
        ({"weights": [0]}, r"weights\.0: uniform numbers have 1 to 8 bits, not 0"),
        ({"weights": [4, 9]}, r"weights\.1: uniform numbers have 1 to 8 bits, not 9"),
        ({"weights": [True]}, r"weights\.0: True is no number format; write one like 4, "),
        ({"weights": [4.5]}, r"weights\.0: 4.5 is no number format; write one like 4, "),
        ({"weights": [4, "t", "x2"]}, r"weights\.2: 'x2' is no number format; write one like 4, h4, m4, p4, t, 4g64, 4z or float"),
        ({"weights": ["t3"]}, r"weights\.0: ternary numbers have 2 bits, not 3"),
        ({"weights": ["m2g64"]}, r"weights\.0: multibit numbers have one scale per output channel only"),
        ({"weights": ["p4z"]}, r"weights\.0: power_of_two numbers have no zero point"),
        ({"weights": ["4g48"]}, r"weights\.0: a group has 32, 64, 128 values, not 48"),
        ({"weights": [4], "activations": [1]}, r"activations\.0: activations have 2 to 8 bits or float, not 1"),
        ({"weights": [4], "activations": [8, "t"]}, r"activations\.1: activations are uniform or powers of two .*, not 't'"),
        ({"weights": [4], "activations": ["h4"]}, r"activations\.0: activations are uniform or powers of two .*, not 'h4'"),
        ({"weights": [4], "layers": {"fc": {"weights": ["t", "q4"]}}}, r"layers\.fc\.weights\.1: 'q4' is no number format"),
        ({"weights": [4], "layers": {"fc": {"activations": ["m4"]}}}, r"layers\.fc\.activations\.0: activations are uniform"),
        ({"weights": ["t"], "pins": {"fc": "wt3a8"}}, r"pins\.fc: ternary numbers have 2 bits, not 3"),
        ({"weights": ["t"], "pins": {"fc": "wtat"}}, r"pins\.fc: activations are uniform or powers of two"),
        ({"weights": 4}, "weights: should be a valid tuple, not 4"),
        ({"weigths": [4]}, "weigths: unknown key; did you mean 'weights'"),
        ({"weights": [4], "layers": {"fc": {"wieghts": [4]}}}, r"layers\.fc\.wieghts: unknown key; did you mean 'weights'"),
        ({"weights": [4], "pins": {"fc": "8 bit"}}, r"pins\.fc: a choice is spelled like w4a8"),
        ({"weights": [4], "pins": {"fc": "w9a8"}}, r"pins\.fc: uniform numbers have 1 to 8 bits, not 9"),
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
    with pytest.raises(ConfigError, match="the name of the shipped space is 'weights-only'"):
        load_space("elsewhere/weights-only.yaml")
