"""A format on a menu that a method cannot train is refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.methods.trainable import check_trainable
from mpsearch.network.trace import trace

LAYERS = trace(nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3)), torch.randn(5, 64))


def test_what_all_train_is_accepted() -> None:
    space = Space(name="s", weights=(NumberFormat("ternary", 2), NumberFormat("half_step", 2), 4, 32)).resolve(LAYERS)
    check_trainable(space, {"lsq": [METHODS["lsq"]()], "ste": [METHODS["ste"](grid=style) for style in ("twos", "half")]})


def test_the_method_the_format_and_a_layer_are_named() -> None:
    space = Space(name="s", weights=(2, NumberFormat("ternary", 2))).resolve(LAYERS)
    with pytest.raises(
        ConfigError, match=r"methods\.alq: alq cannot train weights of the format 't', which is on the menu of layer '0'; take"
    ) as e:
        check_trainable(space, {"lsq": [METHODS["lsq"]()], "alq": [METHODS["alq"]()]})
    assert e.value.path == "methods.alq"


def test_one_variant_that_cannot_is_enough() -> None:
    space = Space(name="s", weights=(NumberFormat("power_of_two", 3),)).resolve(LAYERS)
    able, unable = METHODS["learned_range"](levels="power_of_two"), METHODS["learned_range"]()  # type: ignore[call-arg]
    check_trainable(space, {"learned_range": [able]})
    with pytest.raises(ConfigError, match="'p3'"):
        check_trainable(space, {"learned_range": [able, unable]})


def test_inputs_count_too() -> None:
    space = Space(name="s", weights=(4,), activations=(NumberFormat("power_of_two", 4),)).resolve(LAYERS)
    with pytest.raises(ConfigError, match="lsq cannot train inputs of the format 'p4'"):
        check_trainable(space, {"lsq": [METHODS["lsq"]()]})
