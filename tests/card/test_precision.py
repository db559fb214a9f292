"""How ranges and bits came about, of real runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mpsearch
from mpsearch.card.schema import Card
from tests.card.runs import RECIPE, TRAIN, card_of, searched


def test_bits_are_those_delivered(result: mpsearch.Result, card: Card) -> None:
    assert card.precision.bits == result.allocation.to_dict()
    assert set(card.precision.kernels) == {str(choice) for choice in result.allocation.values()}
    assert card.precision.allowed == [f"w{w}a{a}" for w in (2, 3, 4, 8) for a in (4, 8)]
    assert card.precision.signals == ["fisher"]
    (budget,) = card.precision.budgets
    assert budget["realised"] <= budget["limit"] == 3.2
    assert card.precision.fractional_bits == "n/a: bits are whole within a layer"


def test_ranges_of_a_trained_network(card: Card) -> None:
    assert card.ranges.learned
    assert card.ranges.bias_correction == "none"
    assert card.ranges.batchnorm_images == RECIPE.reestimate
    assert card.ranges.activations == "least squared error over samples of the layer's input"


def test_what_calibration_alone_did_to_the_weights_is_said(tmp_path: Path) -> None:
    card = card_of(searched(tmp_path, methods=["gptq"], trials=1, epochs=0))
    assert card.ranges.weights == "least squared error per output channel, then by gptq on images"
    assert card.ranges.bias_correction == "mean of every channel, with BatchNorm its variance too, by gptq on images"
    assert card.ranges.batchnorm_images == "n/a: statistics are corrected, not re-estimated"
    assert card.formats.weights["rounding"].endswith("codes calibrated by gptq")
    assert {card.data.use[use]["images"] for use in ("search", "fine-tune")} == {TRAIN}  # all there are, up to 512
    blocks = {"brecq": {"iterations": 3, "images": 40}}
    learned = card_of(searched(tmp_path / "blocks", methods=blocks, trials=1, epochs=0, images=32, recipe=replace(RECIPE, reestimate=32)))
    assert learned.resources.passes["study"]["backward"] > 0
    assert learned.data.use["search"]["images"] == learned.data.use["fine-tune"]["images"] == TRAIN
    assert learned.resources.tier == "P2"
    plain = card_of(searched(tmp_path / "plain", trials=1, epochs=0))
    assert plain.ranges.weights == "least squared error per output channel"
    assert not plain.ranges.learned
    assert (plain.ranges.bias_correction, plain.ranges.batchnorm_images) == ("none", "n/a: the float network's statistics are kept")
    assert plain.ranges.statistics.startswith("BatchNorm statistics of untrained allocations are kept; nats from the float network on ")
    assert {plain.data.use[use]["images"] for use in ("search", "fine-tune")} == {96}
