from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpsearch.core.errors import DataError
from mpsearch.core.progress import Silent
from mpsearch.data import image_memory
from mpsearch.data.image_listing import ImageListing, list_images
from mpsearch.data.image_memory import common_size, load_pixels


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def listing(root: Path, count: int = 3, size: tuple[int, int] = (4, 6)) -> ImageListing:
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    return list_images(root)


def test_a_common_size_is_height_and_width(tmp_path: Path) -> None:
    assert common_size(listing(tmp_path / "d")) == (4, 6)
    Image.new("RGB", (5, 5)).save(tmp_path / "d" / "ant" / "x.png")
    assert common_size(list_images(tmp_path / "d")) is None


def test_images_that_take_too_much_memory_have_no_common_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = listing(tmp_path / "d")
    monkeypatch.setattr(image_memory, "_LARGEST", 6 * 4 * 6 * 3)
    assert common_size(found) == (4, 6)
    monkeypatch.setattr(image_memory, "_LARGEST", 6 * 4 * 6 * 3 - 1)
    assert common_size(found) is None


def test_pixels_stand_in_the_order_of_the_listing(tmp_path: Path) -> None:
    found = listing(tmp_path / "d")
    pixels = load_pixels(found, (4, 6), Silent())
    assert pixels is not None
    wanted = np.stack([np.asarray(Image.open(found.root / file)) for file in found.files]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(pixels.numpy(), wanted)


def test_the_cache_is_read_and_what_does_not_fit_is_not(tmp_path: Path, cache: Path) -> None:
    found = listing(tmp_path / "d")
    first = load_pixels(found, (4, 6), Silent())
    assert first is not None
    (file,) = cache.iterdir()
    assert file.name == f"{found.state}-4x6.npy"
    np.save(file, np.zeros_like(first.numpy()))
    cached = load_pixels(found, (4, 6), Silent())
    assert cached is not None
    assert not cached.any(), "the file was not read"
    for other in (first.numpy()[:2], first.numpy().astype(np.int16)):
        np.save(file, other)
        again = load_pixels(found, (4, 6), Silent())
        assert again is not None
        np.testing.assert_array_equal(again.numpy(), first.numpy())


def test_another_size_gives_nothing_and_writes_nothing(tmp_path: Path, cache: Path) -> None:
    found = listing(tmp_path / "d")
    assert load_pixels(found, (6, 4), Silent()) is None
    assert not cache.exists()


def test_a_broken_image_is_an_error(tmp_path: Path, cache: Path) -> None:
    found = listing(tmp_path / "d")
    (tmp_path / "d" / "bee" / "1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"bee.1\.png' cannot be read"):
        load_pixels(found, (4, 6), Silent())
    assert not cache.exists()
