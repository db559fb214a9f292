"""One run and one prepared problem for all tests of the card."""

from __future__ import annotations

import pytest
import torch

import mpsearch
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import Card
from tests.card.runs import card_of, pictures, prepared, searched
from tests.networks import Depthwise, trained_statistics


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> mpsearch.Result:
    return searched(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="session")
def card(result: mpsearch.Result) -> Card:
    return card_of(result)


@pytest.fixture(scope="session")
def images() -> CardInputs:
    """A small convolutional network on 8 x 8 images, w{1, 2, 3, 4, 5, 8}a{3, 4, 6, 8}."""
    torch.manual_seed(0)
    return prepared(trained_statistics(Depthwise()), *pictures(), [1, 2, 3, 4, 5, 8], [3, 4, 6, 8])
