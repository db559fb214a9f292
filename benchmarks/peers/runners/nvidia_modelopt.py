"""NVIDIA ModelOpt: `auto_quantize` by gradients over weights of 2, 3, 4, 5, 6 and 8 bits at a mean.

Run by `run.py` in ModelOpt's own environment. Its loss is multiplied by 1,000: scores of a trained network are so small that its solver
takes them for zero otherwise and leaves the budget unused. Ranges and scores do not depend on the mean and are kept in a checkpoint of its
own. This file is not named after the package, which it would hide.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import modelopt.torch.quantization as mtq
import torch
import torch.nn.functional as F
from exchange import FOLDER, WEIGHTS, accuracy, calibration, keep, layers, network, points
from torch import Tensor, nn

MENU = (8, 6, 5, 4, 3, 2)


def weights_at(bits: int, act_bits: int) -> dict[str, Any]:
    """A format of ModelOpt: weights by output channel, activations by tensor or float."""
    activations = {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": act_bits, "axis": None}}
    return {
        "quant_cfg": [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": bits, "axis": 0}},
            *([activations] if act_bits <= 8 else []),
        ],
        "algorithm": "max",
    }


def loss(outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy, times 1,000."""
    return 1e3 * F.cross_entropy(outputs, batch[1])


def bits_of(model: nn.Module) -> dict[str, int]:
    """Weight bits by layer name; a layer left unquantized has 16 in ModelOpt's own count."""
    found: dict[str, int] = {}
    for name in layers():
        quantizer = model.get_submodule(name).weight_quantizer
        found[name] = int(quantizer.num_bits) if quantizer.is_enabled else 16
    return found


def main() -> None:
    batches, sizes = calibration(64), layers()
    for bits, act_bits in points(source="modelopt", method="its own"):
        started = time.monotonic()
        model, _ = mtq.auto_quantize(
            network(),
            constraints={"effective_bits": bits},
            quantization_formats=[weights_at(choice, act_bits) for choice in MENU],
            data_loader=batches,
            forward_step=lambda model, batch: model(batch[0]),
            loss_func=loss,
            num_calib_steps=len(batches),
            num_score_steps=len(batches),
            method="gradient",
            checkpoint=str(FOLDER / f"modelopt-a{act_bits}.pth"),
        )
        seconds, chosen = time.monotonic() - started, bits_of(model)
        keep(
            {
                "source": "modelopt",
                "version": f"{version('nvidia-modelopt')}, torch {torch.__version__}",
                "method": "its own",
                "asked_bits": bits,
                "act_bits": act_bits,
                "menu": sorted(MENU),
                "weight_bytes": sum(sizes[name] * chosen[name] for name in sizes) / 8,
                "mean_bits": sum(sizes[name] * chosen[name] for name in sizes) / WEIGHTS,
                "seconds": round(seconds, 1),
                "test": accuracy(model.eval()),
                "bits": chosen,
            }
        )


if __name__ == "__main__":
    main()
