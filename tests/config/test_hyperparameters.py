from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mpsearch.config.hyperparameters import Range, hyperparameter_model, split_settings


@dataclass(frozen=True, kw_only=True)
class Knobs:
    rate: float
    steps: int = 3
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)


MODEL = hyperparameter_model(Knobs, "Knobs")


def _split(**settings: object) -> tuple[dict[str, object], dict[str, object]]:
    checked = MODEL.model_validate(settings)
    split = split_settings({name: getattr(checked, name) for name in MODEL.model_fields}, Knobs)
    return dict(split.fixed), dict(split.ranges)


def test_values_ranges_and_choices_are_told_apart() -> None:
    fixed, ranges = _split(rate={"low": 0.01, "high": 1.0, "log": True}, steps=[1, 2], kind=["a", "b"], sizes=[7, 8])
    assert fixed == {"sizes": (7, 8)}
    assert ranges == {"rate": Range(low=0.01, high=1.0, log=True), "steps": (1, 2), "kind": ("a", "b")}


def test_build_takes_middles_first_choices_and_what_was_chosen() -> None:
    checked = MODEL.model_validate({"rate": {"low": 0.01, "high": 1.0, "log": True}, "kind": ["b", "a"]})
    settings = split_settings({name: getattr(checked, name) for name in MODEL.model_fields}, Knobs)
    built = settings.build(Knobs)
    assert built.rate == pytest.approx(0.1)
    assert built.kind == "b"
    assert settings.build(Knobs, {"rate": 0.5, "kind": "a"}) == Knobs(rate=0.5, kind="a")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rate": "fast"},
        {"rate": 1, "steps": 1.5},
        {"rate": 1, "kind": "c"},
        {"rate": 1, "kind": {"low": 1, "high": 2}},
        {"rate": []},
        {"rate": 1, "x": 1},
    ],
)
def test_wrong_settings(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MODEL.model_validate(settings)


def test_a_left_out_field_is_unknown() -> None:
    with pytest.raises(ValidationError):
        hyperparameter_model(Knobs, "Fewer", without=("steps",)).model_validate({"rate": 1, "steps": 2})


@given(low=st.floats(1e-6, 1e3), factor=st.floats(1.001, 1e3), log=st.booleans())
def test_the_middle_lies_inside(low: float, factor: float, log: bool) -> None:
    spread = Range(low=low, high=low * factor, log=log)
    assert spread.low <= spread.middle <= spread.high
    assert not spread.integer


@pytest.mark.parametrize(
    "ends", [{"low": 2, "high": 1}, {"low": 1, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 1}, {"low": 1, "high": float("inf")}]
)
def test_wrong_ranges(ends: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Range.model_validate(ends)


def test_a_whole_range_stays_whole() -> None:
    spread = Range(low=1, high=4)
    assert spread.integer
    assert isinstance(spread.middle, int)
