from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.core.progress import Progress
from mpsearch.data import DATA, DataSource, load_data
from mpsearch.data.base import Splits
from mpsearch.data.source import require_fraction, require_one_of
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Counting(DataSource):
    """The numbers from 0; the path is how many."""

    description: ClassVar[str] = "numbers"
    paper: ClassVar[str] = ""

    offset: int = 0

    def load(self, path: str | None, *, seed: int, progress: Progress) -> Splits:
        if path is None:
            raise DataError("counting needs a number; write counting:10")
        x = torch.arange(int(path)) + self.offset
        split = TensorSplit(x, x)
        return Splits(name="counting", train=split, validation=split.take(2, seed), task=Task.regression(), fingerprint=path)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    DATA.names()  # the members are there before one more is
    monkeypatch.setattr(DATA, "_members", {**dict(DATA.items()), "counting": Counting})


@pytest.mark.usefixtures("registered")
def test_a_source_is_its_options_and_gets_what_follows_the_colon() -> None:
    splits = load_data("counting:6", seed=3, offset=10)
    assert [x.tolist() for x, _ in splits.train.batches(6)] == [[10, 11, 12, 13, 14, 15]]
    assert splits.validation.indices == TensorSplit(torch.zeros(6), torch.zeros(6)).take(2, 3).indices
    with pytest.raises(DataError, match="counting needs a number; write counting:10"):
        load_data("counting")
    with pytest.raises(ConfigError, match=r"data.options.size: 'counting' has no such option; it has offset"):
        load_data("counting:6", size=3)


def test_a_source_without_load_cannot_be_made() -> None:
    class Half(DataSource):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize("share", [0.5, 1e-9, 0.999])
def test_shares(share: float) -> None:
    require_fraction("test", share)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, "0.5", None])
def test_what_is_no_share(share: object) -> None:
    with pytest.raises(ConfigError, match=r"data.options.test: must be a share between 0 and 1, got .*; write such as 0.1") as caught:
        require_fraction("test", share)
    assert caught.value.path == "data.options.test"


def test_one_of_a_few_words() -> None:
    require_one_of("augment", "none", ("none", "shift"))
    with pytest.raises(ConfigError, match=r"data.options.augment: must be one of none, shift, got 3") as caught:
        require_one_of("augment", 3, ("none", "shift"))
    assert caught.value.path == "data.options.augment"
