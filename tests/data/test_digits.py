from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.data import load_data
from mpsearch.data.split import Split


def labels(split: Split) -> list[int]:
    return [label for _, y in split.batches(500) for label in y.tolist()]


def test_the_cut_is_disjoint_whole_and_stratified() -> None:
    splits = load_data("digits", seed=0)
    assert splits.test is not None
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [1078, 270, 449]
    indices = [index for part in parts for index in part.indices or ()]
    assert sorted(indices) == list(range(1797))
    for part in parts:
        counts = Counter(labels(part))
        assert len(counts) == 10
        assert max(counts.values()) - min(counts.values()) <= 0.02 * len(part) + 2


def test_the_seed_decides() -> None:
    first, again, other = (load_data("digits", seed=seed) for seed in (1, 1, 2))
    assert first.train.indices == again.train.indices != other.train.indices
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert load_data("digits", seed=1, augment="shift").fingerprint != first.fingerprint


def test_images_are_normalised() -> None:
    splits = load_data("digits")
    x = torch.cat([x for split in (splits.train, splits.validation, splits.test) if split for x, _ in split.batches(256)])
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == torch.float32
    assert abs(float(x.mean())) < 1e-3
    assert abs(float(x.std()) - 1) < 1e-3
    assert splits.classes == tuple("0123456789")


def test_augmentation_shifts_by_a_pixel_at_most() -> None:
    train = load_data("digits", augment="shift").train.take(64, 0)
    plain, shifted = (next(iter(train.batches(64, seed=1, augment=augment)))[0] for augment in (False, True))
    background = float(plain.min())
    padded = torch.nn.functional.pad(plain, (1, 1, 1, 1), value=background)
    cuts = torch.stack([padded[:, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)])
    assert (cuts == shifted).flatten(2).all(2).any(0).all()
    assert not torch.equal(plain, shifted)
    still = load_data("digits").train.take(64, 0)
    assert all(torch.equal(a[0], b[0]) for a, b in pairwise([*still.batches(64), *still.batches(64, augment=True)]))


def test_shares_are_options() -> None:
    splits = load_data("digits", validation=0.1, test=0.5)
    assert splits.test is not None
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [719, 180, 898]


def test_errors() -> None:
    with pytest.raises(DataError, match="digits are embedded and take no folder, got 'here'; write 'digits', or 'imagefolder:here'"):
        load_data("digits:here")
    with pytest.raises(ConfigError, match=r"data.options.augment: must be one of none, shift, got 'flip'"):
        load_data("digits", augment="flip")
    with pytest.raises(ConfigError, match=r"data.options.test: must be a share between 0 and 1, got 2"):
        load_data("digits", test=2)
    with pytest.raises(ConfigError, match=r"validation and test take 1.1 of the images; leave some for training"):
        load_data("digits", test=0.6, validation=0.5)
