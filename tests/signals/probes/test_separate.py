"""Pairs of bits up to a number of choices; beyond it, weights and activations by themselves."""

from __future__ import annotations

from itertools import product

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.signals.probes.separate import parts, settings

MENU = [Choice(weight, activation) for weight, activation in product((2, 4, FLOAT_BITS), (8, FLOAT_BITS))]


def test_jointly_every_choice_but_float_is_a_setting() -> None:
    assert settings(MENU, joint=True) == tuple(sorted(set(MENU) - {Choice(FLOAT_BITS)}))
    assert parts(Choice(2, 8), joint=True) == (Choice(2, 8),)


def test_separately_a_choice_is_its_weight_bits_and_its_activation_bits() -> None:
    assert settings(MENU, joint=False) == tuple(sorted([Choice(2), Choice(4), Choice(FLOAT_BITS, 8)]))
    assert parts(Choice(2, 8), joint=False) == (Choice(2), Choice(FLOAT_BITS, 8))
    assert parts(Choice(2), joint=False) == (Choice(2),)


def test_float_has_no_setting() -> None:
    assert parts(Choice(FLOAT_BITS), joint=True) == parts(Choice(FLOAT_BITS), joint=False) == ()
