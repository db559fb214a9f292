from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.core.progress import Silent
from mpsearch.data import load_data
from mpsearch.data.base import Splits
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.split import Split
from mpsearch.data.tensor_split import TensorSplit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def paint(folder: Path, count: int, size: tuple[int, int] = (8, 8), seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{number:04}.jpg")


def tree(root: Path, parts: dict[str, int], classes: tuple[str, ...] = ("ant", "bee", "cow"), **options: Any) -> Path:
    for part, count in parts.items():
        for seed, name in enumerate(classes):
            paint(root / part / name, count, seed=seed + 10 * len(part), **options)
    return root


def load(root: Path, **options: Any) -> Splits:
    return load_data(f"imagefolder:{root}", **options)


def labels(split: Split | None) -> Counter[int]:
    assert split is not None
    return Counter(label for _, y in split.batches(64) for label in y.tolist())


def rows(split: Split | None) -> set[int]:
    assert split is not None
    assert split.indices is not None
    assert len(set(split.indices)) == len(split)
    return set(split.indices)


def test_train_and_test_folders(tmp_path: Path) -> None:
    splits = load(tree(tmp_path / "d", {"train": 20, "test": 4}))
    assert splits.classes == ("ant", "bee", "cow")
    assert [labels(part) for part in (splits.train, splits.validation, splits.test)] == [
        {0: 18, 1: 18, 2: 18},
        {0: 2, 1: 2, 2: 2},
        {0: 4, 1: 4, 2: 4},
    ]
    assert rows(splits.train) | rows(splits.validation) == set(range(60))
    assert not rows(splits.train) & rows(splits.validation)
    assert rows(splits.test) == set(range(60, 72))


@pytest.mark.parametrize("layout", ["train", "."])
def test_without_a_test_folder_the_seed_cuts_one(tmp_path: Path, layout: str) -> None:
    splits = load(tree(tmp_path / "d", {layout: 20}), test=0.25, validation=0.15)
    parts = [rows(part) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [36, 9, 15]
    assert set.union(*parts) == set(range(60))
    assert labels(splits.test) == {0: 5, 1: 5, 2: 5}


def test_val_is_the_test_split_alone_and_the_validation_split_beside_test(tmp_path: Path) -> None:
    root = tree(tmp_path / "d", {"train": 10, "val": 3})
    splits = load(root)
    assert labels(splits.test) == {0: 3, 1: 3, 2: 3}
    splits = load(tree(root, {"test": 5}))
    assert labels(splits.validation) == {0: 3, 1: 3, 2: 3}
    assert labels(splits.test) == {0: 5, 1: 5, 2: 5}
    assert labels(splits.train) == {0: 10, 1: 10, 2: 10}


def test_the_seed_decides(tmp_path: Path) -> None:
    root = tree(tmp_path / "d", {"train": 20, "test": 2})
    first, again, other = (load(root, seed=seed) for seed in (1, 1, 2))
    assert first.train.indices == again.train.indices != other.train.indices
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.fingerprint != load(root, seed=1, mean=[0, 0, 0]).fingerprint


def test_images_are_a_stratified_subset_that_leaves_validation_alone(tmp_path: Path) -> None:
    root = tree(tmp_path / "d", {"train": 20, "test": 2})
    whole, few = load(root), load(root, images=12)
    assert labels(few.train) == {0: 4, 1: 4, 2: 4}
    assert rows(few.train) < rows(whole.train)
    assert rows(few.validation) == rows(whole.validation)
    assert len(load(root, images=10**6).train) == len(whole.train)


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    root = tree(tmp_path / "d", {"train": 4, "test": 2}, size=(8, 6))
    mean, std = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
    splits = load(root, mean=mean, std=std)
    assert isinstance(splits.test, TensorSplit)
    x, y = next(iter(splits.test.batches(6)))
    files = sorted((root / "test").rglob("*.jpg"))
    wanted = np.stack([(np.asarray(Image.open(file)) / 255 - mean) / std for file in files]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(x.numpy(), wanted, atol=1e-5)
    assert y.tolist() == [0, 0, 1, 1, 2, 2]


class Counting(Silent):
    def __init__(self) -> None:
        self.titles: list[str] = []

    def phase(self, title: str, total: float = 1) -> Any:
        self.titles.append(title)
        return super().phase(title, total)


def test_decoded_once_then_read_from_the_cache(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "d", {"train": 4, "test": 2})
    progress = Counting()

    def pixels() -> torch.Tensor:
        split = load_data(f"imagefolder:{root}", progress=progress).train
        assert isinstance(split, TensorSplit)
        return split.x

    first = pixels()
    (file,) = cache.iterdir()
    assert torch.equal(first, pixels())
    assert progress.titles == ["decoding images"]
    file.write_bytes(file.read_bytes()[:200])
    assert torch.equal(first, pixels())
    assert progress.titles == ["decoding images"] * 2
    paint(root / "train" / "ant", 1, seed=99)
    assert not torch.equal(first, pixels())
    assert progress.titles == ["decoding images"] * 3


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "d", {"train": 4, "test": 2})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="decoded images are not kept for the next time"):
        assert len(load(root).train) == 11


@pytest.mark.parametrize("options", [{"size": 4}, {"augment": "resized-crop-flip", "size": 8}, {"augment": "none", "size": 12}])
def test_other_sizes_are_decoded_as_needed(tmp_path: Path, options: dict[str, Any]) -> None:
    splits = load(tree(tmp_path / "d", {"train": 6, "test": 2}), workers=0, **options)
    assert isinstance(splits.train, DatasetSplit)

    def seen(seed: int, augment: bool) -> torch.Tensor:
        return torch.cat([x for x, _ in splits.train.batches(4, seed=seed, augment=augment)])

    assert seen(0, False).shape == (16, 3, options["size"], options["size"])
    assert seen(0, False).dtype == torch.float32
    assert torch.equal(seen(0, False), seen(1, False))
    assert torch.equal(seen(1, True), seen(1, True))
    assert torch.equal(seen(1, True), seen(2, True)) == (options.get("augment") == "none")


def test_lazy_and_in_memory_agree_where_nothing_is_cut(tmp_path: Path) -> None:
    root = tree(tmp_path / "d", {"train": 6, "test": 2})
    paint(root / "train" / "ant", 1, size=(9, 9), seed=5)
    lazy = load(root, size=8, augment="crop-flip", workers=0).test
    paint(root / "train" / "ant", 1, size=(8, 8), seed=5)
    kept = load(root, size=8, augment="crop-flip").test
    assert isinstance(lazy, DatasetSplit)
    assert isinstance(kept, TensorSplit)
    torch.testing.assert_close(next(iter(lazy.batches(6)))[0], next(iter(kept.batches(6)))[0], atol=1e-5, rtol=0)


def test_one_odd_image_among_many_is_found_while_decoding(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "d", {"train": 50, "test": 2})
    Image.new("RGB", (5, 5)).save(root / "train" / "bee" / "0000.jpg")
    splits = load(root, workers=0)
    assert isinstance(splits.train, DatasetSplit)
    assert not cache.exists()


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    root = tree(tmp_path / "d", {"train": 4, "test": 2})
    Image.new("L", (8, 8), 128).save(root / "train" / "ant" / "grey.png")
    Image.new("RGBA", (8, 8)).save(root / "train" / "bee" / "clear.png")
    (root / "train" / "bee" / "notes.txt").write_text("not an image")
    assert len(load(root).train) == 13


def one_line(root: Path | str, **options: Any) -> str:
    def use() -> None:
        list(load_data(f"imagefolder:{root}", **options).train.batches(4))

    with pytest.raises(DataError) as caught:
        use()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_errors(tmp_path: Path) -> None:
    assert "there is no folder" in one_line(tmp_path / "nowhere")
    with pytest.raises(DataError, match="imagefolder needs a folder; write imagefolder:DIR"):
        load_data("imagefolder")
    (tmp_path / "empty").mkdir()
    assert "holds no class folders" in one_line(tmp_path / "empty")
    (tmp_path / "bare" / "train").mkdir(parents=True)
    assert f"'{tmp_path / 'bare' / 'train'}' holds no class folders" in one_line(tmp_path / "bare")
    assert "has no folder 'train'" in one_line(tree(tmp_path / "half", {"test": 2}))


def test_class_errors(tmp_path: Path) -> None:
    assert "holds one class only, 'ant'; classification needs at least two" in one_line(tree(tmp_path / "one", {"train": 3}, ("ant",)))
    root = tree(tmp_path / "hollow", {"train": 3})
    (root / "train" / "dog").mkdir()
    assert f"the class folder '{root / 'train' / 'dog'}' holds no images" in one_line(root)
    root = tree(tmp_path / "differ", {"train": 3})
    tree(root, {"test": 2}, ("ant", "bee", "elk"))
    assert "must hold the same classes; in one only: cow, elk" in one_line(root)
    assert "cannot be cut" in one_line(tree(tmp_path / "tiny", {"train": 1}, ("ant", "bee")))


@pytest.mark.parametrize("options", [{}, {"size": 4, "workers": 0}, {"size": 4, "workers": 1}])
@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_broken_image_is_named(tmp_path: Path, options: dict[str, Any], content: bytes | None) -> None:
    root = tree(tmp_path / "d", {"train": 40, "test": 2}, size=(16, 16))
    file = root / "train" / "bee" / "0005.jpg"
    file.write_bytes(file.read_bytes()[:-200] if content is None else content)
    message = one_line(root, validation=0.01, **options)
    assert message.startswith(f"the image '{file}' cannot be read (")
    assert message.endswith("; replace or remove it")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.5}, "data.options.validation: must be a share between 0 and 1, got 1.5"),
        ({"validation": "much"}, "data.options.validation: must be a share between 0 and 1, got 'much'"),
        ({"images": 0}, "data.options.images: must be a whole number of at least 1, got 0"),
        ({"size": "big"}, "data.options.size: must be a whole number of at least 1, got 'big'"),
        ({"mean": [0.5]}, r"data.options.mean: must be three numbers, one a channel, got \[0.5\]"),
        ({"std": [1, 1, 0]}, "data.options.std: must be above zero"),
        ({"augment": "mixup"}, "data.options.augment: must be one of auto, crop-flip, resized-crop-flip, none, got 'mixup'"),
        ({"colour": 1}, "data.options.colour: 'imagefolder' has no such option; it has validation, test, images, size"),
    ],
)
def test_option_errors(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **options)
