"""The roofline by hand, and what a profile must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs import compute_costs
from mpsearch.costs.hardware import load_hardware, parse_hardware
from mpsearch.costs.latency import latency

PROFILE: dict[str, Any] = {
    "name": "toy",
    "description": "for tests",
    "source": "made up",
    "measured": False,
    "kernels": [
        {"weight_bits": 4, "act_bits": 4, "macs_per_second": 4000},
        {"weight_bits": 8, "act_bits": 8, "macs_per_second": 2000},
        {"weight_bits": 32, "act_bits": 32, "macs_per_second": 100.0},
    ],
    "memory_bytes_per_second": 1000.0,
    "seconds_per_layer": 0.25,
}


def _space(*, weights: int, macs: int) -> ResolvedSpace:
    layer = Layer(
        name="a",
        module="a",
        parameter="weight",
        kind="Linear",
        weight_shape=(weights,),
        channels=1,
        macs=macs,
        input_elements=100,
        output_elements=60,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )
    return Space(name="s", weights=(1, 3, 4, 6, 8, 32), activations=(2, 4, 8, 32)).resolve([layer])


@pytest.mark.parametrize(
    ("choice", "rate"), [("w4a4", 4000), ("w3a2", 4000), ("w1a4", 4000), ("w6a4", 2000), ("w4a8", 2000), ("w8af", 100), ("wfaf", 100)]
)
def test_computing_takes_the_next_width_there_is(choice: str, rate: float) -> None:
    table = latency(_space(weights=8, macs=10**6), parse_hardware(PROFILE))
    assert table.total({"a": Choice.parse(choice)}) == pytest.approx(0.25 + 10**6 / rate)


@pytest.mark.parametrize(("choice", "width"), [("w3a4", 4), ("w6a2", 8), ("w4af", 32)])
def test_moving_takes_the_kernels_widths(choice: str, width: int) -> None:
    table = latency(_space(weights=10**6, macs=1), parse_hardware(PROFILE))
    assert table.total({"a": Choice.parse(choice)}) == pytest.approx(0.25 + (10**6 + 160) * width / 8 / 1000)


def test_a_narrow_kernel_that_is_slower_is_not_used() -> None:
    slow = {**PROFILE, "kernels": [{"weight_bits": 2, "act_bits": 8, "macs_per_second": 1}, *PROFILE["kernels"]]}
    space = _space(weights=8, macs=10**6)
    assert latency(space, parse_hardware(slow)).total({"a": Choice(1, 2)}) == latency(space, parse_hardware(PROFILE)).total(
        {"a": Choice(1, 2)}
    )


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
    space = _space(weights=8, macs=10)
    assert compute_costs(["latency"], space, hardware=file)["latency"].total(space.uniform(Choice(4, 4))) > 0.25


@pytest.mark.parametrize("text", ["a: [1", "\t"])
def test_a_file_that_is_no_yaml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not YAML") as caught:
        load_hardware(file)
    assert "\n" not in str(caught.value)


def test_unknown_profile_names_those_shipped() -> None:
    with pytest.raises(ConfigError, match=r"no profile or file 'abacus'; shipped: .*t4"):
        load_hardware("abacus")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"speed": 3}, "speed"),
        ({"name": ""}, "name"),
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
    with pytest.raises(ConfigError, match=f"'{key}' is missing"):
        parse_hardware({name: value for name, value in PROFILE.items() if name != key})


@pytest.mark.parametrize("plain", [None, 3, ["a"], "text"])
def test_a_profile_is_a_mapping(plain: object) -> None:
    with pytest.raises(ConfigError, match="give the keys"):
        parse_hardware(plain)
