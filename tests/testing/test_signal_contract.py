"""The contract refuses signals that break it: each of these differs from `measured` in one promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from mpsearch.core.table import Table
from mpsearch.signals import SIGNALS, SignalInputs
from mpsearch.signals.direct.measured import measured
from mpsearch.testing import SignalContract


def greedy(inputs: SignalInputs) -> Table:
    """Never free."""
    table = measured(inputs)
    return replace(table, values=table.values + 1)


def random(inputs: SignalInputs) -> Table:
    """Draws from the global random state."""
    table = measured(inputs)
    return replace(table, values=table.values * float(torch.rand(())))


def meddling(inputs: SignalInputs) -> Table:
    """Changes the model that it was lent."""
    inputs.model.eval()
    return measured(inputs)


def deaf(inputs: SignalInputs) -> Table:
    """Takes what is not finite for nothing."""
    table = measured(inputs)
    return replace(table, values=np.where(inputs.space.allowed, np.nan_to_num(table.values), np.nan))


@pytest.fixture
def suite(request: pytest.FixtureRequest) -> Iterator[SignalContract]:
    """The contract, while the registry's `measured` is computed by another function."""
    made = SignalContract()
    made.signal = SIGNALS["measured"]
    before = made.signal.function
    object.__setattr__(made.signal, "function", request.param)  # it is frozen
    yield made
    object.__setattr__(made.signal, "function", before)


@pytest.mark.parametrize("suite", [measured], indirect=True)
def test_an_honest_signal_passes(suite: SignalContract) -> None:
    suite.test_is_registered_and_names_its_paper()
    suite.test_table_has_the_shape_of_the_space()
    suite.test_float_is_free_and_one_bit_is_not()
    suite.test_a_quantizer_that_changes_nothing_costs_nothing()
    suite.test_leaves_everything_as_it_was()
    suite.test_same_seed_same_table_even_without_gradients()
    suite.test_a_network_that_gives_no_numbers_is_one_clear_line()


@pytest.mark.parametrize("suite", [greedy], indirect=True)
def test_a_price_on_nothing_is_noticed(suite: SignalContract) -> None:
    with pytest.raises(AssertionError):
        suite.test_float_is_free_and_one_bit_is_not()
    with pytest.raises(AssertionError):
        suite.test_a_quantizer_that_changes_nothing_costs_nothing()


@pytest.mark.parametrize("suite", [random], indirect=True)
def test_chance_is_noticed(suite: SignalContract) -> None:
    with pytest.raises(AssertionError):
        suite.test_same_seed_same_table_even_without_gradients()
    with pytest.raises(AssertionError):
        suite.test_leaves_everything_as_it_was()


@pytest.mark.parametrize("suite", [meddling], indirect=True)
def test_a_model_that_is_changed_is_noticed(suite: SignalContract) -> None:
    with pytest.raises(AssertionError):
        suite.test_leaves_everything_as_it_was()


@pytest.mark.parametrize("suite", [deaf], indirect=True)
def test_numbers_that_are_hidden_are_noticed(suite: SignalContract) -> None:
    with pytest.raises(pytest.fail.Exception):
        suite.test_a_network_that_gives_no_numbers_is_one_clear_line()
