"""NVIDIA ModelOpt: `auto_quantize` by gradients over weights of 2, 3, 4, 5, 6 and 8 bits at a mean, activations at 8 bits.

Run by `run.py` in ModelOpt's own environment: `python modelopt.py FOLDER`. Its loss is multiplied by 1,000: scores of a trained network are
so small that its solver takes them for zero otherwise and leaves the budget unused.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import modelopt.torch.quantization as mtq
import torch
import torch.nn.functional as F
from exchange import ASKED, WEIGHTS, accuracy, calibration, layers, network, report
from torch import Tensor, nn

MENU = (8, 6, 5, 4, 3, 2)


def weights_at(bits: int) -> dict[str, Any]:
    """A format of ModelOpt: weights by output channel, activations by tensor."""
    return {
        "quant_cfg": [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": bits, "axis": 0}},
            {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": 8, "axis": None}},
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
    batches = calibration(64)
    rows: list[dict[str, Any]] = []
    sizes = layers()
    for bits in ASKED["bits"]:
        model, _ = mtq.auto_quantize(
            network(),
            constraints={"effective_bits": bits},
            quantization_formats=[weights_at(choice) for choice in MENU],
            data_loader=batches,
            forward_step=lambda model, batch: model(batch[0]),
            loss_func=loss,
            num_calib_steps=len(batches),
            num_score_steps=len(batches),
            method="gradient",
        )
        with torch.no_grad():
            test = accuracy(model.eval())
        chosen = bits_of(model)
        rows.append(
            {
                "source": "modelopt",
                "version": version("nvidia-modelopt"),
                "asked_bits": bits,
                "act_bits": 8,
                "menu": sorted(MENU),
                "weight_bytes": sum(sizes[name] * chosen[name] for name in sizes) / 8,
                "share_of_weights": sum(sizes.values()) / WEIGHTS,
                "test": test,
                "bits": chosen,
            }
        )
        report(rows)


if __name__ == "__main__":
    main()
