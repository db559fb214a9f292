"""One image file: its pixels and its size. The only door to Pillow.

torchvision's `default_loader` hands Pillow an open stream, so that errors name the stream and not the file, and it has no way to read a
size without decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mpsearch.core.errors import DataError

__all__ = ["image_size", "read_image"]

# What Pillow raises on files that are not images, are truncated or declare an absurd size.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_image(file: Path) -> NDArray[np.uint8]:
    """RGB, uint8 `[H, W, 3]`.

    Raises:
        DataError: the file is not a whole image.
    """
    with _opened(file) as image:
        return np.array(image.convert("RGB"))


def image_size(file: Path) -> tuple[int, int]:
    """(height, width) in pixels, from the header alone.

    Raises:
        DataError: the file is not an image.
    """
    with _opened(file) as image:
        return image.height, image.width


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as image:
            yield image
    except _BROKEN as error:
        reason = " ".join(str(error).split()).replace(f" '{file}'", "") or type(error).__name__
        raise DataError(f"the image '{file}' cannot be read ({reason}); replace or remove it") from error
