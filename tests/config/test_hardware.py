"""What a hardware profile must and must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mpsearch.config.hardware import load_hardware, parse_hardware
from mpsearch.core.errors import ConfigError, UnknownNameError
from tests.devices import PROFILE


def test_shipped_profile_says_where_it_comes_from_and_that_nothing_was_measured() -> None:
    t4 = load_hardware("t4")
    assert not t4.measured
    assert "not measured" in t4.description
    assert "data sheet" in t4.source
    rate = {kernel.weight_bits: kernel.macs_per_second for kernel in t4.kernels}
    assert rate == {4: 130e12, 8: 65e12, 32: 4.05e12}


def test_profile_comes_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
    assert load_hardware(file) == load_hardware(str(file)) == parse_hardware(PROFILE)


@pytest.mark.parametrize("text", ["a: [1", "\t"])
def test_a_file_that_is_no_yaml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml: line 1") as caught:
        load_hardware(file)
    assert "\n" not in str(caught.value)


def test_unknown_profile_names_those_shipped() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown hardware profile 'abacus'; known: t4"):
        load_hardware("abacus")
    with pytest.raises(ConfigError, match=r"no hardware profile file 'toy\.yaml'"):
        load_hardware("toy.yaml")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"speed": 3}, "speed"),
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"measured": "no"}, "measured"),
        ({"kernels": []}, "kernels"),
        ({"kernels": PROFILE["kernels"][:2]}, "kernels"),
        ({"kernels": [{"weight_bits": 4, "act_bits": 4}]}, "kernels.0.macs_per_second"),
        ({"kernels": [*PROFILE["kernels"], 7]}, "kernels.3"),
        ({"kernels": [{"weight_bits": 64, "act_bits": 4, "macs_per_second": 1}]}, "kernels.0.weight_bits"),
        ({"kernels": [{"weight_bits": 4, "act_bits": True, "macs_per_second": 1}]}, "kernels.0.act_bits"),
        ({"kernels": [{"weight_bits": 4, "act_bits": 4, "macs_per_second": "1e9"}]}, "kernels.0.macs_per_second"),
        ({"memory_bytes_per_second": 0}, "memory_bytes_per_second"),
        ({"seconds_per_layer": -1}, "seconds_per_layer"),
        ({"seconds_per_layer": float("nan")}, "seconds_per_layer"),
    ],
)
def test_wrong_keys_and_values_are_named_by_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_hardware({**PROFILE, **change})
    assert caught.value.path == path


@pytest.mark.parametrize("key", PROFILE)
def test_every_key_must_be_there(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: this key is missing"):
        parse_hardware({name: value for name, value in PROFILE.items() if name != key})


@pytest.mark.parametrize("text", ["7", "[a]", "text", ""])
def test_a_profile_is_a_mapping(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="must hold a mapping"):
        load_hardware(file)


def test_exponents_need_no_sign_as_in_yaml_1_2(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(PROFILE).replace("1000.0", "1e9"), encoding="utf-8")
    assert load_hardware(file).memory_bytes_per_second == 1e9
