"""Loading processes stay, and what they load depends on neither their number nor earlier passes."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils.data import Dataset

from mpsearch.data.dataset_split import DatasetSplit


class Items(Dataset[Any]):
    """The index with noise, and the process that loaded it."""

    def __getitem__(self, index: int) -> Any:
        return {"x": index + torch.rand(()), "process": os.getpid()}, index

    def __len__(self) -> int:
        return 12


def _read(split: DatasetSplit, **settings: Any) -> tuple[list[list[float]], set[int]]:
    batches = list(split.batches(5, **settings))
    return [inputs["x"].tolist() for inputs, _ in batches], {int(each) for inputs, _ in batches for each in inputs["process"]}


def test_processes_stay_from_one_pass_to_the_next_and_serve_all_subsets() -> None:
    split, alone = DatasetSplit(Items(), workers=1), DatasetSplit(Items())
    first, processes = _read(split, seed=1)
    assert os.getpid() not in processes
    assert first == _read(alone, seed=1)[0]
    for settings in ({"seed": 2, "shuffle": True}, {"seed": 1, "augment": True}, {"seed": 3, "drop_last": True}):
        again, same = _read(split, **settings)
        assert same == processes
        assert again == _read(alone, **settings)[0]
    few, same = _read(split.take(4, 0))
    assert same == processes
    assert few == _read(alone.take(4, 0))[0]


def test_passes_may_overlap_and_be_left() -> None:
    split, alone = DatasetSplit(Items(), workers=1), DatasetSplit(Items())
    outer = split.batches(5, seed=4)
    next(outer)
    assert _read(split, seed=5)[0] == _read(alone, seed=5)[0]  # in processes of its own
    assert next(outer)[0]["x"].tolist() == _read(alone, seed=4)[0][1]
    del outer
    assert _read(split, seed=6)[0] == _read(alone, seed=6)[0]


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    _read(DatasetSplit(Items(), workers=1), seed=1)
    assert torch.equal(torch.rand(()), expected)
