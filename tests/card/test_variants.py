"""One float network in several number formats: against the pipeline's own calibration, and against what a format can hold."""

from __future__ import annotations

import pytest
import torch

from mpsearch.card.inputs import CardInputs
from mpsearch.card.variants import Bench, Variant, quantized_rows
from mpsearch.core.choice import Choice
from mpsearch.methods import METHODS
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from tests.card.runs import CALIBRATED, pictures, prepared, uniform
from tests.networks import Depthwise, trained_statistics


def test_the_plain_variant_is_what_calibration_alone_scores(images: CardInputs) -> None:
    """The same loss as the pipeline's own calibrated network, up to its half-precision scales."""
    evaluator, method = Evaluator(images.problem, Compiler("off", torch.device("cpu"))), METHODS["lsq"]()
    bench = Bench(images.problem, "twos", CALIBRATED)
    for choice in (Choice(3, 4), Choice(4, 8), Choice(8, 8)):
        allocation = images.problem.space.uniform(choice)
        network = evaluator.begin(allocation, method)
        expected = evaluator.ptq(network, method, CALIBRATED)
        assert bench.score(Variant(allocation=allocation)).loss == pytest.approx(expected.loss, rel=0.03)


def test_symmetric_codes_of_what_is_never_negative_are_worth_one_bit_less() -> None:
    x, y = pictures()
    torch.manual_seed(0)
    unsigned = prepared(trained_statistics(Depthwise()), x.abs(), y, [2, 4], [3, 4, 5])
    bench = Bench(unsigned.problem, "twos", CALIBRATED)
    plain = {bits: bench.score(Variant(allocation=uniform(unsigned, 4, bits))).loss for bits in (3, 4, 5)}
    for bits in (4, 5):
        symmetric = bench.score(Variant(allocation=uniform(unsigned, 4, bits), activations="symmetric")).loss
        assert abs(symmetric - plain[bits - 1]) < abs(symmetric - plain[bits])
        asymmetric = bench.score(Variant(allocation=uniform(unsigned, 4, bits), activations="asymmetric")).loss
        assert asymmetric == pytest.approx(plain[bits], abs=1e-5)  # an asymmetric range of [0, max] is the unsigned one


def test_another_network_has_scores_of_its_own(images: CardInputs) -> None:
    torch.manual_seed(1)
    other = prepared(trained_statistics(Depthwise(), seed=1), *pictures(), [1, 2, 3, 4, 5, 8], [3, 4, 6, 8])
    bench, variant = Bench(images.problem, "twos", CALIBRATED), Variant(allocation=uniform(images, 4))
    theirs = bench.on(other.problem).score(variant)
    assert theirs == Bench(other.problem, "twos", CALIBRATED).score(variant)
    assert theirs != bench.score(variant)


def test_a_row_has_its_own_step_and_a_tensor_has_one() -> None:
    torch.manual_seed(0)
    row = torch.randn(1, 200)
    rows = torch.cat([row, row / 64])
    errors = {format: (quantized_rows(rows, 4, format, "narrow") - rows).pow(2).sum(1) / rows.pow(2).sum(1) for format in ("row", "tensor")}
    assert errors["row"][0] == pytest.approx(float(errors["row"][1]))  # the relative error does not depend on the scale
    assert errors["tensor"][0] == pytest.approx(float(errors["row"][0]), rel=0.1)
    assert errors["tensor"][1] == pytest.approx(1.0)  # all of the small row is rounded to zero


def test_an_asymmetric_grid_holds_what_is_on_one_side_of_zero() -> None:
    rows = torch.tensor([[0.0, 1.0, 2.0, 3.0], [-6.0, 0.0, -2.0, -4.0]])
    assert torch.allclose(quantized_rows(rows, 2, "asymmetric", "twos"), rows)
    assert (quantized_rows(rows, 2, "row", "twos") - rows).abs().max() > 0.5


def test_one_bit_has_no_asymmetric_format() -> None:
    rows = torch.randn(3, 20)
    assert torch.equal(quantized_rows(rows, 1, "asymmetric", "twos"), quantized_rows(rows, 1, "row", "twos"))


@pytest.mark.parametrize(("bits", "style", "most"), [(1, "twos", 2), (2, "twos", 4), (2, "narrow", 3), (3, "half", 8)])
def test_a_tensor_takes_no_more_values_than_its_codes(bits: int, style: str, most: int) -> None:
    rows = torch.randn(4, 100_000)  # more values than a step is fitted on
    kept = rows.clone()
    assert len(quantized_rows(rows, bits, "tensor", style).unique()) <= most  # type: ignore[arg-type]
    assert torch.equal(rows, kept)
