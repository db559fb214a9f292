from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpsearch.core.errors import DataError
from mpsearch.data.image_file import image_size, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def test_pixels_and_size(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(file)
    np.testing.assert_array_equal(read_image(file), PIXELS)
    assert image_size(file) == (6, 4)


@pytest.mark.parametrize(("mode", "value", "rgb"), [("L", 128, [128] * 3), ("RGBA", (1, 2, 3, 0), [1, 2, 3]), ("1", 1, [255] * 3)])
def test_other_modes_become_rgb(tmp_path: Path, mode: str, value: int, rgb: list[int]) -> None:
    Image.new(mode, (2, 3), value).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[rgb] * 2] * 3


def test_grey_values_of_sixteen_bits_and_floats_are_scaled(tmp_path: Path) -> None:
    """Pillow alone would read the first as nearly all white, the second as all black."""
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    expected = np.round(ramp / 257).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    Image.fromarray(ramp).save(tmp_path / "b.tiff")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "c.tiff")
    for name in ("a.png", "b.tiff", "c.tiff"):
        image = read_image(tmp_path / name)
        assert image.shape == (64, 64, 3)
        for channel in range(3):
            np.testing.assert_array_equal(image[:, :, channel], expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((2, 2), 300.0, np.float32), "from 300 to 300"),
        (np.full((2, 2), np.nan, np.float32), "from nan to nan"),
        (np.full((2, 2), -7, np.int32), "from -7 to -7"),
    ],
)
def test_values_without_a_known_scale_are_refused(values: np.ndarray, said: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=f"has values {said}, whose scale is not known; save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tiff")


def test_a_broken_image_is_named_with_the_reason_and_the_next_step(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    for content in (b"", b"not an image"):
        file.write_bytes(content)
        for read in (read_image, image_size):
            with pytest.raises(DataError) as caught:
                read(file)
            assert str(caught.value) == f"the image '{file}' cannot be read (cannot identify image file); replace or remove it"
    Image.fromarray(PIXELS).resize((64, 64)).save(file)
    file.write_bytes(file.read_bytes()[:-500])
    assert image_size(file) == (64, 64), "the header is whole"
    with pytest.raises(DataError, match=r"cannot be read \(.*truncated.*\); replace or remove it"):
        read_image(file)
    with pytest.raises(DataError, match=r"cannot be read \(.*No such file.*\); replace or remove it"):
        read_image(tmp_path / "gone.png")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match=r"decompression bomb.*; replace or remove it"):
        image_size(tmp_path / "a.png")
