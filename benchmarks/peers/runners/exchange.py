"""What every peer's runner reads and writes; imports nothing but torch and the network's own file, so it runs in any peer's environment.

A runner is called as `python RUNNER FOLDER ROWS`: the folder that `run.py` wrote, and the JSON file its rows go to.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FOLDER, ROWS = Path(sys.argv[1]), Path(sys.argv[2])
ASKED: dict[str, Any] = json.loads((FOLDER / "asked.json").read_text())
WEIGHTS = 270_896


def tensors(name: str) -> dict[str, Tensor]:
    """A file that `run.py` wrote: `calibration` (inputs, targets), `test` (inputs as bytes, targets) or `weights`."""
    found: dict[str, Tensor] = torch.load(FOLDER / f"{name}.pt", map_location="cpu", weights_only=True)
    return found


def network() -> nn.Module:
    """The float ResNet-20 with the checkpoint's weights, in evaluation mode."""
    source = Path(ASKED["repository"]) / "mpsearch" / "models" / "resnet_cifar.py"
    for name in ("mpsearch", "mpsearch.models"):  # the package itself needs more than a peer's environment has
        sys.modules.setdefault(name, types.ModuleType(name)).__path__ = [str(Path(ASKED["repository"], *name.split(".")))]
    sys.modules["mpsearch.models"].MODELS = types.SimpleNamespace(register=lambda name: lambda member: member)  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("resnet_cifar", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    model: nn.Module = module.resnet_cifar()
    model.load_state_dict(tensors("weights"))
    return model.eval()


def calibration(size: int) -> list[tuple[Tensor, Tensor]]:
    """The calibration images, the same for everybody, in batches."""
    held = tensors("calibration")
    return list(zip(held["inputs"].split(size), held["targets"].split(size), strict=True))


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """On the test split."""
    held, right = tensors("test"), 0
    mean, std = (torch.tensor(ASKED[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    for pixels, targets in zip(held["inputs"].split(250), held["targets"].split(250), strict=True):
        right += int((model((pixels.float() / 255 - mean) / std).argmax(1) == targets).sum())
    return right / len(held["targets"])


def points(**words: Any) -> Iterator[tuple[float, int]]:
    """Mean bits and activation bits (32: float) that are asked for and of which the file has no row with the same words."""
    for act_bits in ASKED["activations"]:
        for bits in ASKED["bits"]:
            wanted = {**words, "asked_bits": bits, "act_bits": act_bits}
            if not any(all(row.get(name) == value for name, value in wanted.items()) for row in kept()):
                yield bits, act_bits


def kept() -> list[dict[str, Any]]:
    """The rows in the file."""
    rows: list[dict[str, Any]] = json.loads(ROWS.read_text()) if ROWS.exists() else []
    return rows


def keep(row: dict[str, Any]) -> None:
    """Write a row at once, so that a run that breaks off leaves what it has."""
    ROWS.write_text(json.dumps([*kept(), {**row, "run": date.today().isoformat()}], indent=1) + "\n")
    print(f"{row['source']} at {row['asked_bits']} bits, activations {row['act_bits']}: test {row['test']:.4f}", flush=True)


def layers() -> dict[str, int]:
    """Weights of every layer by name."""
    return {name: m.weight.numel() for name, m in network().named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
