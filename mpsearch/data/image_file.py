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
    """RGB, uint8 `[H, W, 3]`. Grey values of 16 bits and floats from 0 to 1 are scaled; Pillow itself would clip them at 255.

    Raises:
        DataError: the file is not a whole image, or its values have no known scale.
    """
    with _opened(file) as image:
        grey = _scaled(file, image)
        return np.array(image.convert("RGB")) if grey is None else np.repeat(grey[:, :, None], 3, axis=2)


def _scaled(file: Path, image: Image.Image) -> NDArray[np.uint8] | None:
    """Grey values that take more than 8 bits, `[H, W]`; None for any other image."""
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if not sixteen and image.mode not in ("I", "F"):
        return None
    values, highest = np.asarray(image, dtype=np.float64), 65535.0 if sixteen else 1.0
    if not sixteen and (image.mode == "I" or not bool(((values >= 0) & (values <= 1)).all())):
        raise DataError(
            f"the image '{file}' has values from {values.min():g} to {values.max():g}, whose scale is not known; "
            "save it with 8 or 16 bits, or as floats from 0 to 1"
        )
    return np.round(values * (255 / highest)).astype(np.uint8)


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
