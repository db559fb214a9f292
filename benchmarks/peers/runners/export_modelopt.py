"""NVIDIA ModelOpt: weights at given bits by output channel, inputs at 8 by tensor, ranges by `max`; exports ONNX.

It exports by its own deployment function. Run by `exports.py` in ModelOpt's own environment.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import modelopt.torch.quantization as mtq
import torch
from exchange import calibration, network
from exporting import ACT_BITS, ALLOCATIONS, exported
from modelopt.torch._deploy.utils import get_onnx_bytes_and_metadata
from modelopt.torch._deploy.utils.torch_onnx import OnnxBytes
from torch import nn


@torch.no_grad()
def quantized(bits: dict[str, int]) -> nn.Module:
    """The network at these weight bits."""
    config: dict[str, Any] = {
        "quant_cfg": [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": ACT_BITS, "axis": None}},
            *({"quantizer_name": f"{name}.weight_quantizer", "cfg": {"num_bits": own, "axis": 0}} for name, own in bits.items()),
        ],
        "algorithm": "max",
    }

    def observe(model: nn.Module) -> None:
        for inputs, _ in calibration(64):
            model(inputs)

    found: nn.Module = mtq.quantize(network(), config, observe)
    return found.eval()


def written(model: nn.Module, folder: Path) -> Path:
    """ONNX of QuantizeLinear and DequantizeLinear."""
    content, _ = get_onnx_bytes_and_metadata(
        model, (torch.zeros(1, 3, 32, 32),), model_name="model", dynamic_axes={"x": {0: "batch"}}, onnx_opset=21
    )
    OnnxBytes.from_bytes(content).write_to_disk(str(folder))
    return next(folder.glob("*.onnx"))


def main() -> None:
    about = f"{version('nvidia-modelopt')}, torch {torch.__version__}"
    for name, bits in ALLOCATIONS.items():
        model = quantized(bits)
        exported("modelopt", about, name, "ONNX QDQ", model, lambda folder, model=model: written(model, folder))


if __name__ == "__main__":
    main()
