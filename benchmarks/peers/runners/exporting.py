"""What the runners of `exports.py` share: allocations asked for, test images, and a row for every file that a tool writes.

A runner is called as `python RUNNER FOLDER ROWS`, as those of `run.py` are; see `exchange.py`.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from exchange import ASKED, FOLDER, ROWS, kept, tensors
from torch import Tensor, nn

ALLOCATIONS: dict[str, dict[str, int]] = ASKED["allocations"]
"""Name → weight bits of every layer; inputs of layers have 8 bits in all of them."""

ACT_BITS = 8

Run = Callable[[Tensor], Tensor]


def test_images() -> Tensor:
    """The test images as the network takes them, float32 `[N, 3, 32, 32]`."""
    mean, std = (torch.tensor(ASKED[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    return (tensors("test")["inputs"].float() / 255 - mean) / std


@torch.no_grad()
def logits(run: nn.Module | Run, images: Tensor, batch: int = 250) -> Tensor:
    """What a model says of the images, `[N, 10]`."""
    return torch.cat([torch.as_tensor(run(each)).detach() for each in images.split(batch)])


def exported(
    tool: str,
    version: str,
    allocation: str,
    format: str,
    reported: nn.Module | Run,
    write: Callable[[Path], Path],
    own: Callable[[Path], Run] | None = None,
    own_images: int | None = None,
) -> None:
    """Keep a row on one file: written by the tool, or why it was not.

    Args:
        tool: that exports.
        version: of it.
        allocation: name of it.
        format: that it exports to.
        reported: the quantized model in the tool.
        write: writes into a folder, and names the file that a runtime loads.
        own: the file in a runtime that the tool brings for it, where ONNX Runtime alone has none.
        own_images: so many of the test images alone, where that is slow.
    """
    name = "-".join((tool, allocation, format)).replace(" ", "_")
    folder = FOLDER / "exports" / name
    folder.mkdir(parents=True, exist_ok=True)
    row: dict[str, Any] = {"tool": tool, "version": version, "allocation": allocation, "format": format}
    try:
        images = test_images()
        torch.save(logits(reported, images), folder.with_suffix(".reported"))
        file = write(folder)
        row["file"] = str(file)
        if own is not None:
            torch.save(logits(own(file), images[:own_images]), folder.with_suffix(".own"))
    except Exception as error:  # a tool may raise anything
        traceback.print_exc()
        row["error"] = first_line(error)
    ROWS.write_text(json.dumps([*kept(), row], indent=1) + "\n")
    print(f"{name}: {row.get('error', 'written')}", flush=True)


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300]
