"""Small images of one size: decoded once, kept as uint8 in memory and as one `.npy` file in the cache."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpsearch.core.files import replacing
from mpsearch.core.progress import Progress
from mpsearch.data.cache import cache_directory
from mpsearch.data.image_file import image_size, read_image
from mpsearch.data.image_listing import ImageListing

__all__ = ["common_size", "load_pixels"]

_LARGEST = 2 * 10**9
_PROBED = 64
_CHUNK = 512


def common_size(listing: ImageListing) -> tuple[int, int] | None:
    """(height, width) if the headers of some 64 images agree and all images together take at most 2 GB, else `None`."""
    stride = max(1, len(listing.files) // _PROBED)
    sizes = {image_size(listing.root / file) for file in listing.files[::stride]}
    if len(sizes) > 1:
        return None
    height, width = sizes.pop()
    return (height, width) if len(listing.files) * height * width * 3 <= _LARGEST else None


def load_pixels(listing: ImageListing, size: tuple[int, int], progress: Progress) -> Tensor | None:
    """All images, uint8 `[N, 3, H, W]`; `None` if one of them has another size.

    Raises:
        DataError: an image cannot be read.
    """
    shape = (len(listing.files), 3, *size)
    file = cache_directory() / "images" / f"{listing.state}-{size[0]}x{size[1]}.npy"
    pixels = _read(file, shape)
    if pixels is None:
        pixels = _decode(listing, shape, progress)
        if pixels is not None:
            _write(file, pixels)
    return None if pixels is None else torch.from_numpy(pixels)


def _decode(listing: ImageListing, shape: tuple[int, ...], progress: Progress) -> NDArray[np.uint8] | None:
    pixels = np.empty(shape, dtype=np.uint8)

    def decode(position: int) -> bool:
        image = read_image(listing.root / listing.files[position]).transpose(2, 0, 1)
        if image.shape != shape[1:]:
            return False
        pixels[position] = image
        return True

    count = len(listing.files)
    with progress.phase("decoding images", total=count) as bar, ThreadPoolExecutor() as pool:
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            if not all(pool.map(decode, range(start, stop))):
                return None
            bar.update(stop, count)
    return pixels


def _read(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The cached pixels; `None` if there are none or the file is damaged."""
    try:
        pixels: NDArray[np.uint8] = np.load(file)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _write(file: Path, pixels: NDArray[np.uint8]) -> None:
    try:
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, pixels)
    except OSError as error:
        warnings.warn(f"decoded images are not kept for the next time: {error}; set MPSEARCH_CACHE to a folder with room", stacklevel=2)
