"""Text in figures: what is said of a point, and that no name becomes HTML."""

from __future__ import annotations

from dataclasses import replace

from mpsearch.report.hover import escaped, layer_hover, pair_hover, point_hover, short_name
from mpsearch.report.info import bits_info, front_info, signal_infos
from mpsearch.report.wording import TIMES, format_words
from tests.report.summaries import HOSTILE, hostile_summary, make_summary


def test_a_point_says_who_what_and_how_much() -> None:
    point = next(p for p in front_info(make_summary()).points if p.feasible)
    lines = point_hover(point, f"trial {point.number}", "size", "accuracy").removesuffix("<extra></extra>").split("<br>")
    assert lines[0].startswith(f"<b>trial {point.number}</b> · {point.origin} · ")
    assert lines[1] == f"accuracy {100 * point.metric:.2f} % at {point.amount:,.0f} B"
    assert len(lines) == 2 + len(point.bits)
    over = point_hover(replace(point, feasible=False), "t", None, "accuracy")
    assert "over the budget" in over
    assert " at " not in over.split("<br>")[1]


def test_a_layer_says_shape_bits_and_share() -> None:
    layer = bits_info(make_summary(acts=True)).layers[0]
    text = layer_hover(layer)
    assert "Conv2d 16 x 3 x 3 x 3" in text.replace(TIMES, "x")
    assert f"weights {format_words(layer.choice.weight)}, activations {format_words(layer.choice.activation)}" in text
    assert f"{layer.bytes:,} B in the file, {100 * layer.share:.1f} % of the layers" in text


def test_no_name_opens_a_tag() -> None:
    summary = hostile_summary()
    point, pair = front_info(summary).points[0], signal_infos(summary)[0].pairs[0]
    for text in (point_hover(point, "t", "size", HOSTILE), layer_hover(bits_info(summary).layers[0]), pair_hover(pair), escaped(HOSTILE)):
        assert "<script" not in text
        assert "<img" not in text


def test_long_names_keep_their_end() -> None:
    assert short_name("layer1.conv") == "layer1.conv"
    short = short_name("encoder.layers.encoder_layer_11.self_attention.out_proj")
    assert len(short) == 28
    assert short.endswith("self_attention.out_proj")
    assert short.startswith("…")
