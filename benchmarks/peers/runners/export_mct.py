"""Sony Model Compression Toolkit: post-training quantization at given weight bits, inputs at 8; exports ONNX.

Once with weights as floats on their grid (fake-quantized), once with its own quantizers as operators. MCT 2.6 counts on the exporter by
TorchScript, which is no longer torch's default, so it is asked for here. Run by `exports.py` in MCT's own environment.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model_compression_toolkit as mct
import torch
from exchange import calibration, network
from exporting import ALLOCATIONS, Run, exported
from model_compression_toolkit.core import BitWidthConfig, CoreConfig
from model_compression_toolkit.core.common.matchers.node_matcher import BaseNodeMatcher
from torch import Tensor, nn


class Layer(BaseNodeMatcher):  # type: ignore[misc]
    """A layer of the float network in MCT's graph, which spells dots as underscores and appends what it folded in."""

    def __init__(self, name: str) -> None:
        self.name = re.sub(r"\W", "_", name)

    def apply(self, input_object: Any) -> bool:
        """Whether a node is the layer."""
        spelled = re.sub(r"\W", "_", input_object.name)
        return spelled == self.name or spelled.startswith((f"{self.name}_bn", f"{self.name}_downsample"))


def images() -> Iterator[list[Tensor]]:
    """The calibration images as MCT asks for them."""
    for inputs, _ in calibration(64):
        yield [inputs]


def quantized(bits: dict[str, int]) -> nn.Module:
    """The network at these weight bits."""
    chosen = BitWidthConfig()
    for name, own in bits.items():
        chosen.set_manual_weights_bit_width(Layer(name), own, "weight")
    model, _ = mct.ptq.pytorch_post_training_quantization(
        network(),
        images,
        core_config=CoreConfig(bit_width_config=chosen),
        target_platform_capabilities=mct.get_target_platform_capabilities(tpc_version="1.0", device_type="imx500"),
    )
    found: nn.Module = model
    return found.eval()


def written(model: nn.Module, folder: Path, format: Any) -> Path:
    """ONNX."""
    file, export = folder / "model.onnx", torch.onnx.export
    torch.onnx.export = functools.partial(export, dynamo=False)
    mct.exporter.pytorch_export_model(
        model=model,
        save_model_path=str(file),
        repr_dataset=images,
        serialization_format=mct.exporter.PytorchExportSerializationFormat.ONNX,
        quantization_format=format,
    )
    torch.onnx.export = export
    return file


def custom_operators(file: Path) -> Run:
    """ONNX Runtime with the operators of MCT's quantizers."""
    import mct_quantizers
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), mct_quantizers.get_ort_session_options(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {given.name: images.numpy()})[0])

    return run


def main() -> None:
    about = f"{mct.__version__}, torch {torch.__version__}"
    kinds = mct.exporter.QuantizationFormat
    for name, bits in ALLOCATIONS.items():
        torch.manual_seed(0)
        model = quantized(bits)
        other = copy.deepcopy(model)  # an export changes the model, so each has one of its own
        exported("mct", about, name, "ONNX fake-quant", other, lambda folder, other=other: written(other, folder, kinds.FAKELY_QUANT))
        exported("mct", about, name, "ONNX MCTQ", model, lambda folder, model=model: written(model, folder, kinds.MCTQ), custom_operators)


if __name__ == "__main__":
    main()
