"""Measured profiles as files: read back as written, and refused in one line where a number cannot be a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mpsearch.config.hardware import load_hardware
from mpsearch.config.latency_profile import dump_latency_profile, parse_latency_profile
from mpsearch.core.errors import ConfigError
from mpsearch.costs.hardware import Hardware
from mpsearch.costs.latency_profile import LatencyProfile

CONTENT: dict[str, Any] = {
    "profile": "measured latency",
    "model": "m",
    "network": "0123abcd",
    "target": "onnx-qdq",
    "runtime": "onnxruntime 1.32.0",
    "processor": "P",
    "cores": 2,
    "threads": 1,
    "batch": 1,
    "repeats": 5,
    "date": "2026-01-01",
    "how": "by hand",
    "check": {"networks": 1, "median": 0.1, "largest": 0.2, "corrected_median": 0.05, "corrected_largest": 0.1},
    "correction": {"fixed": -1e-6, "slope": 0.9},
    "pace": [1e-3, 9e-4, 1.2e-3],
    "paces": [1e-3, 1.1e-3],
    "call": [1e-5, 9e-6, 2e-5],
    "calls": 2.0,
    "layers": {"0": {"w4a8": [1e-5, 0.9e-5, 1.2e-5], "wh1af": [2e-5, 1e-5, 3e-5]}, "2": {"wfaf": [1e-4, 1e-4, 1e-4]}},
    "unmeasured": {"2": {"w4a8": "it has no kernel"}},
    "networks": [{"choices": "w4a8 wfaf", "seconds": [1.3e-4, 1.2e-4, 1.4e-4]}],
}


def written(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_it_is_accepted_where_hardware_is_and_reads_back_as_written(tmp_path: Path) -> None:
    profile = load_hardware(written(tmp_path, CONTENT))
    assert isinstance(profile, LatencyProfile)
    again = tmp_path / "again.yaml"
    again.write_text(dump_latency_profile(profile), encoding="utf-8")
    assert load_hardware(again) == profile
    assert profile.layers == ("0", "2")
    assert profile.networks[0].choices == (next(iter(profile.cells["0"])), next(iter(profile.cells["2"])))


def test_analytic_profiles_stay() -> None:
    assert isinstance(load_hardware("t4"), Hardware)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([float("nan"), 1e-5, 1e-5], "layers.0.w4a8.0: should be a finite number, not nan"),
        ([-1e-5, -1e-5, 1e-5], "layers.0.w4a8.0: should be greater than 0, not -1e-05"),
        ([0.0, 0.0, 0.0], "layers.0.w4a8.0: should be greater than 0, not 0.0"),
        ([1e-5, 1e-5, float("inf")], "layers.0.w4a8.2: should be a finite number, not inf"),
        (["fast", 1e-5, 1e-5], "layers.0.w4a8.0: should be a valid number, not 'fast'"),
        ([3e-5, 1e-5, 2e-5], "the median 3e-05 is not between the quartiles"),
        ([1e-5], "layers.0.w4a8.1: this key is missing"),
    ],
)
def test_a_time_that_cannot_be_one_is_a_line_with_its_place(tmp_path: Path, times: list[Any], message: str) -> None:
    path = written(tmp_path, {**CONTENT, "layers": {"0": {**CONTENT["layers"]["0"], "w4a8": times}, "2": CONTENT["layers"]["2"]}})
    with pytest.raises(ConfigError) as caught:
        load_hardware(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "profile again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "guessed"}, "profile: should be 'measured latency'"),
        ({"threads": 0}, "threads: should be greater than or equal to 1"),
        ({"layers": {}}, "layers: "),
        ({"layers": {"0": {"x": [1e-5, 1e-5, 1e-5]}}}, "a choice is spelled like w4a8"),
        ({"networks": [{"choices": "w4a8", "seconds": [1e-4, 1e-4, 1e-4]}]}, "networks.0: 1 choices for 2 layers"),
        ({"networks": [{"choices": "w8a8 wfaf", "seconds": [1e-4, 1e-4, 1e-4]}]}, "networks.0: layer '0' has no time as w8a8"),
        ({"pace": None}, "pace: this key is missing"),
        ({"speed": 3}, "speed: unknown key"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_latency_profile({**CONTENT, **changes}, label="p.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("p.yaml: ")
