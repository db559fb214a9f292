"""The group moves with every tradeoff (T1 to T6, T8, T9) and the tier, and with nothing a method may choose."""

from __future__ import annotations

from typing import Any

import pytest

from mpsearch.card import across_seeds, barred, comparability_group, differences
from mpsearch.core.errors import ConfigError
from tests.card.cards import changed, make_card

FLIPS: dict[str, tuple[str, Any, str]] = {
    "T1": ("granularity.weights", "per tensor", "granularity"),
    "T2": ("formats.weights", {"family": "uniform", "symmetric": False}, "formats.symmetric"),
    "T3": ("formats.activations", {"family": "uniform", "symmetric": True}, "formats.symmetric"),
    "T4": ("coverage.ends", "at 8 bits or more by rule", "coverage.ends"),
    "T5": ("coverage.tensors.layer inputs", {"quantized": False, "bits": ["float32"]}, "coverage.tensors"),
    "T6": ("precision.allowed", ["w2a4", "w3a4", "w4a4", "w8a4"], "precision.allowed"),
    "T8": ("data.use.search.labels", True, "data.labels"),
    "T9": ("model.checkpoint_sha256", "b" * 64, "model.checkpoint_sha256"),
    "tier": ("resources.tier", "P4", "resources.tier"),
}
SAME: dict[str, tuple[str, Any]] = {
    "bits": ("precision.bits", {"conv1": [2, 4], "fc": [8, 32]}),
    "bits of a tensor class": ("coverage.tensors.layer inputs", {"quantized": True, "bits": [2, 8]}),
    "bits of the ends": ("coverage.first_layer", {"name": "conv1", "weight_bits": [8], "input_bits": [8]}),
    "mean bits": ("costs.mean_weight_bits", 3.1),
    "method": ("precision.method", "bsq"),
    "family": ("formats.weights", {"family": "not uniform", "symmetric": True}),
    "seconds": ("resources.seconds", {"signals": 9.0}),
    "result": ("result.mean", 0.1),
    "order of the menu": ("precision.allowed", ["w8a4", "w2a4", "w4a4"]),
}


@pytest.mark.parametrize("name", FLIPS)
def test_a_confounder_is_another_group(name: str) -> None:
    path, value, field = FLIPS[name]
    card = changed(path, value)
    assert comparability_group(card) != comparability_group(make_card())
    assert differences(make_card(), card) == [field]


@pytest.mark.parametrize("name", SAME)
def test_what_a_method_may_choose_is_the_same_group(name: str) -> None:
    card = changed(*SAME[name])
    assert comparability_group(card) == comparability_group(make_card())
    assert differences(make_card(), card) == []


def test_two_seeds_have_a_deviation_and_one_has_none() -> None:
    other = changed("result.by_seed", {"7": 0.771})
    result = across_seeds([make_card(), other])
    assert result.by_seed == {"0": 0.751, "7": 0.771}
    assert result.mean == pytest.approx(0.761)
    assert result.std == pytest.approx(0.02 / 2**0.5)
    assert across_seeds([make_card()]).std == "n/a: one seed"


def test_only_like_may_be_averaged() -> None:
    with pytest.raises(ConfigError, match=r"differ in resources.tier"):
        across_seeds([make_card(), changed("resources.tier", "P4")])
    with pytest.raises(ConfigError, match="two cards are of seed 0"):
        across_seeds([make_card(), make_card()])
    with pytest.raises(ConfigError, match="metric or split"):
        across_seeds([make_card(), changed("result.split", "validation")])


def test_unknown_fields_and_failed_checks_bar_from_claims() -> None:
    assert barred(make_card()) == []
    assert barred(changed("ranges.images", None)) == ["card.ranges.images is unknown"]
    assert barred(changed("provenance.failed_checks", ["saw the test split"])) == ["saw the test split"]
