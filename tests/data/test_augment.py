from __future__ import annotations

import pytest
import torch

from mpsearch.data.augment import CropFlip, Normalize


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(image: torch.Tensor, padding: int, flip: bool) -> list[bytes]:
    """Every result the augmentation may give, by the definition."""
    _, height, width = image.shape
    padded = torch.zeros(image.shape[0], height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    padded[:, padding : padding + height, padding : padding + width] = image
    cuts = [padded[:, y : y + height, x : x + width] for y in range(2 * padding + 1) for x in range(2 * padding + 1)]
    cuts += [cut.flip(2) for cut in cuts] if flip else []
    return [cut.contiguous().numpy().tobytes() for cut in cuts]


@pytest.mark.parametrize(("padding", "flip"), [(1, False), (2, True)])
def test_each_image_is_one_of_its_own_windows_and_all_occur(padding: int, flip: bool) -> None:
    x = torch.randint(1, 256, (2, 3, 5, 7), generator=generator(), dtype=torch.uint8)
    out = CropFlip(padding, flip)(x.repeat(600, 1, 1, 1), generator(1))
    assert out.dtype == torch.uint8
    assert out.shape == (1200, 3, 5, 7)
    for which in range(2):
        seen = {image.contiguous().numpy().tobytes() for image in out[which::2]}
        assert seen == set(windows(x[which], padding, flip))


def test_the_generator_decides() -> None:
    x = torch.rand(16, 1, 8, 8)
    augment = CropFlip(1)
    assert torch.equal(augment(x, generator(1)), augment(x, generator(1)))
    assert not torch.equal(augment(x, generator(1)), augment(x, generator(2)))


def test_normalize_by_channel() -> None:
    x = torch.randint(0, 256, (4, 2, 3, 3), dtype=torch.uint8)
    kept = x.clone()
    out = Normalize((0.5, 0.25), (0.2, 0.1))(x)
    assert out.dtype == torch.float32
    assert torch.equal(x, kept)
    torch.testing.assert_close(out[:, 0], (x[:, 0] / 255 - 0.5) / 0.2)
    torch.testing.assert_close(out[:, 1], (x[:, 1] / 255 - 0.25) / 0.1)


def test_normalize_leaves_stored_floats_alone() -> None:
    x = torch.rand(2, 1, 2, 2)
    kept = x.clone()
    Normalize((0.5,), (0.5,), scale=1.0)(x)
    assert torch.equal(x, kept)
