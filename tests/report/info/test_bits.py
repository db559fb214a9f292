from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.number_format import NumberFormat
from mpsearch.report.info import bits_info
from mpsearch.targets.packed.layout import layer_bytes
from tests.report.summaries import OVERHEAD, make_summary


def test_bytes_add_up_to_the_file() -> None:
    summary = make_summary()
    info = bits_info(summary)
    assert len(info.layers) == 22
    assert info.overhead_bytes == OVERHEAD
    assert info.layer_bytes + OVERHEAD == summary.artifact_bytes
    assert sum(layer.share for layer in info.layers) == pytest.approx(1)
    first = summary.layers[0]
    choice = summary.winner.allocation[first.name]
    assert info.layers[0].bytes == layer_bytes(first, choice.weight, choice.activation)


def test_bytes_are_those_of_the_formats_in_the_file() -> None:
    summary = make_summary()
    planes = tuple(NumberFormat("multibit", summary.winner.allocation[layer.name].weight.bits) for layer in summary.layers)
    plain, multibit = bits_info(summary), bits_info(replace(summary, formats=planes))
    extra = sum((layer.channels + 1) // 2 for layer in summary.layers)
    assert multibit.weight_bytes == plain.weight_bytes + extra
    bits = [summary.winner.allocation[layer.name].weight.bits for layer in summary.layers]
    scales = sum(2 * layer.channels * (b - 1) for layer, b in zip(summary.layers, bits, strict=True))
    assert multibit.layer_bytes == plain.layer_bytes + extra + scales


def test_activation_bits_only_where_some_are_quantized() -> None:
    assert bits_info(make_summary()).mean_act_bits is None
    mean = bits_info(make_summary(acts=True)).mean_act_bits
    assert mean is not None
    assert 4 <= mean <= 8


def test_uniform_bits_stand_beside_if_there_is_a_uniform_allocation() -> None:
    summary = make_summary()
    assert {layer.uniform_weight for layer in bits_info(summary).layers} == {NumberFormat("uniform", 2)}
    assert {layer.uniform_weight for layer in bits_info(replace(summary, uniform=None)).layers} == {None}
