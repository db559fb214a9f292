from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, NumberFormat
from mpsearch.core.space import LayerMenu, Space


def layer(name: str, weights: int = 10, act: bool = True) -> Layer:
    return Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Linear",
        weight_shape=(weights, 1),
        channels=weights,
        macs=weights,
        input_elements=4,
        output_elements=4,
        act_quantizable=act,
        signed_input=False,
        bias_elements=0,
    )


LAYERS = [replace(layer("stem"), aliases=("out_proj.weight",)), layer("block.0"), layer("block.1"), layer("head", act=False)]
SPACE = Space(name="s", weights=(2, 4, 8), activations=(4, FLOAT_BITS))


def test_menus_are_products_and_unreachable_inputs_stay_float() -> None:
    resolved = SPACE.resolve(LAYERS)
    assert resolved.menus[0] == tuple(Choice(w, a) for w in (2, 4, 8) for a in (4, FLOAT_BITS))
    assert resolved.menus[3] == (Choice(2), Choice(4), Choice(8))
    assert resolved.allowed.shape == (4, 6)
    assert np.array_equal(resolved.allowed.sum(1), [6, 6, 6, 3])
    assert resolved.quantizes_activations


def test_the_last_glob_that_matches_wins() -> None:
    space = Space(name="s", weights=(2, 4), layers={"block.*": LayerMenu(weights=(8,)), "*.1": LayerMenu(weights=(1, 2))})
    menus = space.resolve(LAYERS).menus
    assert [tuple(choice.weight.bits for choice in menu) for menu in menus] == [(2, 4), (8,), (1, 2), (2, 4)]


def test_pins_and_ties() -> None:
    resolved = Space(name="s", weights=(2, 4), pins={"stem": Choice(4)}, ties=(("block.*",),)).resolve(LAYERS)
    assert resolved.menus[0] == (Choice(4),)
    assert resolved.groups == ((0,), (1, 2), (3,))


def test_overlapping_ties_merge() -> None:
    resolved = Space(name="s", weights=(2, 4), ties=(("stem", "block.0"), ("block.0", "head"))).resolve(LAYERS)
    assert resolved.groups == ((0, 1, 3), (2,))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Space(name="s", weights=(2,), layers={"nope*": LayerMenu(weights=(4,))}), r"no layer matches 'nope\*'; layers: stem, block.0"),
        (Space(name="s", weights=(2,), pins={"tail": Choice(2)}), "no layer matches 'tail'"),
        (
            Space(name="s", weights=(2,), layers={"block.0": LayerMenu(weights=(4,)), "out*": LayerMenu(weights=(8,))}),
            r"'out\*' is no layer of its own: 'out_proj\.weight' is the tensor of layer 'stem', which is stored once and has one format; "
            "write 'stem'",
        ),
        (Space(name="s", weights=(2,), ties=(("stem", "x"),)), "no layer matches 'x'"),
        (Space(name="s", weights=(2, 4), pins={"stem": Choice(8)}), r"'stem' is pinned to w8af, which is not on its menu \(w2af, w4af\)"),
        (Space(name="s", weights=(2, 4), pins={"stem": Choice(2)}, ties=(("stem", "head"),)), "are tied but have different menus"),
        (Space(name="s", weights=()), "the menu of layer 'stem' is empty"),
    ],
)
def test_contradictions_are_said(space: Space, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        space.resolve(LAYERS)


def test_no_layers_at_all() -> None:
    with pytest.raises(ModelError, match="nothing to quantize"):
        SPACE.resolve([])


def test_check_orders_and_refuses() -> None:
    resolved = Space(name="s", weights=(2, 4), ties=(("block.*",),)).resolve(LAYERS)
    good = {"head": Choice(2), "block.1": Choice(4), "block.0": Choice(4), "stem": Choice(2)}
    assert list(resolved.check(Allocation(good))) == ["stem", "block.0", "block.1", "head"]
    for wrong, words in [
        ({**good, "tail": Choice(2)}, "unknown layer 'tail'"),
        ({name: choice for name, choice in good.items() if name != "stem"}, "no choice for layer 'stem'"),
        ({**good, "stem": Choice(8)}, "gives layer 'stem' w8af, which is not on its menu"),
        ({**good, "block.1": Choice(2)}, "are tied but the allocation gives them w4af and w2af"),
    ]:
        with pytest.raises(SpaceError, match=words):
            resolved.check(Allocation(wrong))


def test_uniform_takes_the_nearest_at_or_above() -> None:
    resolved = Space(name="s", weights=(1, 2, 8), pins={"stem": Choice(8)}).resolve(LAYERS)
    assert [choice.weight.bits for choice in resolved.uniform(Choice(3)).values()] == [8, 8, 8, 8]
    assert [choice.weight.bits for choice in resolved.uniform(Choice(1)).values()] == [8, 1, 1, 1]


NAMED = Space(name="s", weights=tuple(NumberFormat.parse(text) for text in ("m2", "p4", "t", "h2", "4")))


def test_menus_of_formats_with_a_name() -> None:
    resolved = Space(
        name="s",
        weights=NAMED.weights,
        activations=(NumberFormat("power_of_two", 4), 8),
        layers={"block.*": LayerMenu(weights=(NumberFormat("ternary", 2), FLOAT))},
        pins={"stem": Choice.parse("wm2ap4")},
        ties=(("block.*",),),
    ).resolve(LAYERS)
    assert [[str(choice) for choice in menu] for menu in resolved.menus] == [
        ["wm2ap4"],
        ["wtap4", "wta8", "wfap4", "wfa8"],
        ["wtap4", "wta8", "wfap4", "wfa8"],
        ["wtaf", "wh2af", "wm2af", "w4af", "wp4af"],
    ]
    assert resolved.choices == tuple(sorted({choice for menu in resolved.menus for choice in menu}))
    assert resolved.quantizes_activations


def test_the_same_menu_in_numbers_and_in_formats() -> None:
    by_name = Space(
        name="s", weights=tuple(NumberFormat("uniform", bits) for bits in (2, 4, 8)), activations=(NumberFormat("uniform", 4), FLOAT)
    )
    assert by_name.resolve(LAYERS).menus == SPACE.resolve(LAYERS).menus


def test_uniform_among_formats_with_a_name() -> None:
    """Whatever is on the menu as it is asked for; else the least at or above the bits of a value: ternary is 1.6."""
    resolved = NAMED.resolve(LAYERS)
    asked = {
        "wtaf": "wtaf",
        "wm2af": "wm2af",
        "wp4af": "wp4af",
        "w4af": "w4af",
        "w1af": "wtaf",
        "w2af": "wh2af",
        "w3af": "w4af",
        "w8af": "wp4af",
    }
    for text, taken in asked.items():
        assert set(map(str, resolved.uniform(Choice.parse(text)).values())) == {taken}


def test_a_pin_and_a_check_tell_formats_of_as_many_bits_apart() -> None:
    with pytest.raises(SpaceError, match=r"'stem' is pinned to w2af, which is not on its menu \(wtaf, wh2af, wm2af, w4af, wp4af\)"):
        Space(name="s", weights=NAMED.weights, pins={"stem": Choice(2)}).resolve(LAYERS)
    resolved = NAMED.resolve(LAYERS)
    with pytest.raises(SpaceError, match=r"gives layer 'block\.0' w2af, which is not on its menu"):
        resolved.check(Allocation({**resolved.uniform(Choice.parse("wh2af")), "block.0": Choice(2)}))


def test_allocation_means_and_round_trip() -> None:
    layers = [layer("a", 10), layer("b", 30)]
    allocation = Allocation({"a": Choice(8, 4), "b": Choice(2)})
    assert allocation.mean_weight_bits(layers) == pytest.approx((80 + 60) / 40)
    assert allocation.mean_act_bits(layers) == pytest.approx(18)
    assert Allocation.from_dict(allocation.to_dict()) == allocation
    assert len({allocation, Allocation.from_dict(allocation.to_dict())}) == 1
    assert allocation.key() != Allocation({"a": Choice(8, 4), "b": Choice(3)}).key()


def test_ternary_weights_count_1_6_bits() -> None:
    layers = [layer("a", 10), layer("b", 30)]
    allocation = Allocation({"a": Choice(8), "b": Choice.parse("wta8")})
    assert allocation.mean_weight_bits(layers) == pytest.approx((10 * 8 + 30 * 1.6) / 40)
    assert allocation.to_dict() == {"a": "w8af", "b": "wta8"}
    assert Allocation.from_dict(allocation.to_dict()) == allocation
