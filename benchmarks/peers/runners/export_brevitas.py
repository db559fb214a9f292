"""Brevitas: weights by output channel with steps of least squared error, inputs by tensor; exports ONNX and QONNX.

Run by `exports.py` in Brevitas' own environment.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
from brevitas.graph.quantize import layerwise_quantize, preprocess_for_quantize
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloatMSE
from exchange import calibration, network
from exporting import ALLOCATIONS, exported, logits
from torch import Tensor, nn

OPSET = 18


class Plain(nn.Module):
    """A network of torch.fx as any other module: the exporter takes its `graph` for one of TorchScript."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        found: Tensor = self.network(x)
        return found


@torch.no_grad()
def quantized(bits: dict[str, int]) -> nn.Module:
    """The network at these weight bits, calibrated, biases corrected."""
    settings: dict[str, Any] = {
        "weight_quant": Int8WeightPerChannelFloatMSE,
        "weight_bit_width": lambda module, name: bits[name],
        "input_quant": Int8ActPerTensorFloat,
        "return_quant_tensor": False,
    }
    images = torch.cat([inputs for inputs, _ in calibration(64)])
    model = preprocess_for_quantize(network())
    model = layerwise_quantize(model, {nn.Conv2d: (qnn.QuantConv2d, settings), nn.Linear: (qnn.QuantLinear, settings)})
    model.eval()
    with calibration_mode(model):
        logits(model, images, 64)
    with bias_correction_mode(model):
        logits(model, images, 64)
    return Plain(model).eval()


def standard(model: nn.Module, folder: Path) -> Path:
    """ONNX of QuantizeLinear, Clip and DequantizeLinear."""
    export_onnx_qcdq(
        model,
        args=torch.zeros(1, 3, 32, 32),
        export_path=str(folder / "model.onnx"),
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    return folder / "model.onnx"


def qonnx(model: nn.Module, folder: Path) -> Path:
    """ONNX with Quant nodes."""
    export_qonnx(
        model,
        args=torch.zeros(1, 3, 32, 32),
        export_path=str(folder / "model.onnx"),
        input_names=["x"],
        opset_version=OPSET,
        dynamo=False,
    )
    return folder / "model.onnx"


def executor(file: Path) -> Any:
    """The executor of qonnx, one image at a time."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(ModelWrapper(str(file)))
    (name,) = [value.name for value in model.graph.input]

    def run(images: Tensor) -> Tensor:
        found = [next(iter(execute_onnx(model, {name: one[None].numpy()}).values())) for one in images]
        return torch.from_numpy(np.concatenate(found))

    return run


def main() -> None:
    about = f"{version('brevitas')}, torch {torch.__version__}"
    for name, bits in ALLOCATIONS.items():
        model = quantized(bits)
        exported("brevitas", about, name, "ONNX QCDQ", model, lambda folder, model=model: standard(model, folder))
        exported("brevitas", about, name, "QONNX", model, lambda folder, model=model: qonnx(model, folder), executor, own_images=100)


if __name__ == "__main__":
    main()
