"""Data audit (section H): which samples each stage used, whether it read their labels, and whether any is in the test split.

Two samples of one source are the same if they have the same index; samples of different sources are the same if their contents are equal.
Whole splits are compared, which covers every subset that a stage used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import na
from mpsearch.card.sections import DataSection
from mpsearch.core.nested import leaves
from mpsearch.core.pass_counts import PassCounts
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.loader_split import LoaderSplit
from mpsearch.data.split import Split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods import METHODS, Method
from mpsearch.network.inputs import batch_size
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import CALIBRATION_IMAGES

__all__ = ["Overlap", "calibration_images", "data_use", "overlap"]

_MOST_READ = 20_000
"""At most so many samples are loaded again only to be compared."""

_CHUNK = 1024


@dataclass(frozen=True)
class Overlap:
    """How many samples two splits share; `shared` is None if that is unknown, `how` says how it was found."""

    shared: int | None
    how: str


def overlap(one: Split, other: Split) -> Overlap:
    """How many samples of `other` are also in `one`."""
    mine, theirs = _place(one), _place(other)
    if mine is not None and theirs is not None and mine[0] is theirs[0]:
        return Overlap(len(set(mine[1]) & set(theirs[1])), "by index")
    in_memory = isinstance(one, TensorSplit) and isinstance(other, TensorSplit)
    if in_memory or len(one) + len(other) <= _MOST_READ:
        seen = set(_contents(one, raw=in_memory))
        return Overlap(sum(content in seen for content in _contents(other, raw=in_memory)), "by content")
    return Overlap(None, f"different sources of more than {_MOST_READ:,} samples together, which are not compared")


def _place(split: Split) -> tuple[object, list[int]] | None:
    """The source and the positions in it; None if the split does not have any."""
    if isinstance(split, TensorSplit):
        return split.x, split.rows.tolist()
    if isinstance(split, LoaderSplit):
        split = split.as_dataset()
    if isinstance(split, DatasetSplit):
        return _unwrapped(split.dataset, split.rows.tolist())
    return None


def _unwrapped(dataset: Dataset[Any], rows: list[int]) -> tuple[object, list[int]]:
    while isinstance(dataset, Subset):
        indices = dataset.indices
        rows = [int(indices[row]) for row in rows]
        dataset = dataset.dataset
    return dataset, rows


def _contents(split: Split, *, raw: bool) -> Iterator[bytes]:
    """A digest of each sample, input and target, as stored (`raw`) or as loaded without augmentation."""
    if raw and isinstance(split, TensorSplit):
        for start in range(0, len(split), _CHUNK):
            rows = split.rows[start : start + _CHUNK]
            yield from _digests(split.x[rows], split.y[rows])
        return
    for inputs, targets in split.batches(256):
        yield from _digests(inputs, targets)


def _digests(inputs: Any, targets: Tensor) -> Iterator[bytes]:
    count = batch_size(inputs)
    columns = [
        tensor.detach().cpu().reshape(count, -1).contiguous().view(torch.uint8).numpy()
        for tensor in (*leaves(inputs), targets)
        if tensor.numel() and tensor.dim() and len(tensor) == count
    ]
    for row in range(count):
        yield hashlib.blake2b(b"".join(column[row].tobytes() for column in columns), digest_size=16).digest()


def data_use(inputs: CardInputs, hyper: Hyperparameters, counts: PassCounts) -> DataSection:
    """Section H: images and labels per stage, from the counters; overlap with the test split, from the samples.

    Args:
        inputs: the run.
        hyper: method and recipe of the delivered numbers.
        counts: passes of the run.
    """
    config, splits, problem = inputs.config, inputs.splits, inputs.problem
    signals, study, retraining = counts["signals"], counts["study"] + counts["supernet"], counts["retraining"]
    few = min(
        max(config.signals.images if signals.forward else 0, _images_untrained(hyper, *(METHODS[name] for name in config.methods))),
        len(problem.train),
    )
    trains = config.search.evaluate == "supernet" or any(rung.epochs for rung in config.search.climbed)
    whole = (study.backward and trains) or signals.scored  # a signal scores only what it trained
    both = config.retrain.include_validation
    tuned = len(splits.train) + (len(splits.validation) if both else 0)
    uses = {
        "calibration": ("train", calibration_images(inputs, counts), counts["calibration"].labels),
        "search": ("train", len(splits.train) if whole else few if study.forward else 0, signals.labels + study.labels),
        "fine-tune": (
            "train and validation" if both else "train",
            tuned
            if retraining.backward and config.retrain.epochs
            else min(_images_untrained(hyper, type(hyper.method)), len(splits.train))
            if retraining.forward
            else 0,
            retraining.labels,
        ),
        "selection": ("validation", len(splits.validation), signals.scored + study.scored + retraining.scored),
        "test": ("test", 0 if splits.test is None else len(splits.test), counts["test"].scored),
    }
    shared = {} if splits.test is None else {name: overlap(getattr(splits, name), splits.test) for name in ("train", "validation")}
    entries = {
        use: {"split": split, "images": images, "labels": labels > 0, "labels_read": labels, **_found(split, shared)}
        for use, (split, images, labels) in uses.items()
    }
    totals = [entry["overlap_with_test"] for entry in entries.values() if isinstance(entry["overlap_with_test"], int)]
    distilled = hyper.recipe.distill if retraining.backward or study.backward else 0
    return DataSection(
        use=entries,
        overlap_with_test=max(totals) if totals else na("no test split" if splits.test is None else "could not be known"),
        synthetic="none",
        teacher=f"the float network, weight {distilled:g} of the loss" if distilled else "none",
    )


def _images_untrained(hyper: Hyperparameters, *methods: type[Method]) -> int:
    """Images for re-estimating BatchNorm or for the calibration of the methods, whichever is more."""
    own = any(method.calibrate is not Method.calibrate for method in methods)
    return max(hyper.recipe.reestimate, CALIBRATION_IMAGES if own else 0)


def _found(split: str, shared: Mapping[str, Overlap]) -> dict[str, Any]:
    """Overlap of the splits that a stage used with the test split."""
    parts = [shared[name] for name in ("train", "validation") if name in split and name in shared]
    if not parts:
        return {"overlap_with_test": na(), "how": na("the test split itself" if split == "test" else "no test split")}
    known = [part.shared for part in parts if part.shared is not None]
    number: Any = sum(known) if len(known) == len(parts) or any(known) else na("could not be known")
    return {"overlap_with_test": number, "how": "; ".join(dict.fromkeys(part.how for part in parts))}


def calibration_images(inputs: CardInputs, counts: PassCounts) -> int:
    """Images for calibrating activation ranges; 0 if only weights are quantized."""
    return min(inputs.config.signals.images, len(inputs.splits.train)) if counts["calibration"].forward else 0
