"""Qualcomm AIMET: weights at given bits by output channel, activations at 8, BatchNorm folded; exports a float ONNX and encodings.

Run by `exports.py` in AIMET's own environment.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from aimet_torch import onnx
from aimet_torch.batch_norm_fold import fold_all_batch_norms
from aimet_torch.quantsim import QuantizationSimModel
from exchange import calibration, network
from exporting import ACT_BITS, ALLOCATIONS, exported
from torch import nn


@torch.no_grad()
def observe(model: nn.Module) -> None:
    """Show the model the calibration images."""
    for inputs, _ in calibration(64):
        model(inputs)


def quantized(bits: dict[str, int]) -> Any:
    """The simulation at these weight bits."""
    model = network()
    fold_all_batch_norms(model, input_shapes=(1, 3, 32, 32))
    simulated = QuantizationSimModel(
        model,
        dummy_input=torch.zeros(1, 3, 32, 32),
        quant_scheme="tf_enhanced",
        default_output_bw=ACT_BITS,
        default_param_bw=ACT_BITS,
        config_file="default_config_per_channel.json",
    )
    for name, own in bits.items():
        quantizer: Any = simulated.model.get_submodule(name).param_quantizers["weight"]
        quantizer.bitwidth = own
    simulated.compute_encodings(observe)
    return simulated


def with_encodings(simulated: Any, folder: Path) -> Path:
    """A float ONNX with the encodings beside it; what else AIMET leaves there is for torch and for itself."""
    simulated.export(str(folder), "model", dummy_input=torch.zeros(1, 3, 32, 32))
    for file in folder.iterdir():
        if file.name not in ("model.onnx", "model.encodings"):
            file.unlink()
    return folder / "model.onnx"


def with_nodes(simulated: Any, folder: Path, opset: int) -> Path:
    """ONNX of integers with QuantizeLinear and DequantizeLinear."""
    settings: dict[str, Any] = {"opset_version": opset, "dynamo": False, "input_names": ["x"], "prequantize_constants": True}
    onnx.export(simulated, (torch.zeros(1, 3, 32, 32),), str(folder / "model.onnx"), **settings)
    return folder / "model.onnx"


def main() -> None:
    about = f"{version('aimet-torch')}, torch {torch.__version__}"
    for name, bits in ALLOCATIONS.items():
        simulated = quantized(bits)
        model = simulated.model.eval()
        opset = 25 if 2 in bits.values() else 21  # the first with INT2, with INT4
        exported("aimet", about, name, "ONNX QDQ", model, lambda folder, own=simulated, opset=opset: with_nodes(own, folder, opset))
        exported("aimet", about, name, "float ONNX + encodings", model, lambda folder, own=simulated: with_encodings(own, folder))


if __name__ == "__main__":
    main()
