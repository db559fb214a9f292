"""`load_batches`: a pass over a `DataLoader` under random state of its own, each batch checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from mpsearch.core.errors import DataError
from mpsearch.data.random_stream import RandomStream
from mpsearch.data.split import Batch, pair

__all__ = ["load_batches"]


def load_batches(loader: DataLoader[Any], seed: int) -> Iterator[Batch]:
    """One pass; sampler and transforms draw from random state made from the seed, and the caller's stays as it is.

    Raises:
        DataError: a batch that is not (inputs, targets), targets that are no tensor, an item that cannot be loaded.
    """
    stream = RandomStream(seed)
    try:
        with stream.active():
            batches = iter(loader)
        while True:
            with stream.active():
                batch = next(batches, None)
            if batch is None:
                return
            yield _checked(batch)
    except DataError as error:
        raise DataError(_one_line(error)) from error


def _checked(batch: object) -> Batch:
    inputs, targets = pair(batch)
    if not isinstance(targets, Tensor):
        raise DataError(
            f"targets must come out of the loader as a tensor, not {type(targets).__name__}; let each target be a number or a tensor"
        )
    return inputs, targets


def _one_line(error: DataError) -> str:
    """The message alone; a worker process sends its whole traceback along."""
    return str(error).strip().rpartition("\n")[2].removeprefix(f"{DataError.__module__}.{DataError.__qualname__}: ")
