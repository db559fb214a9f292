"""Sony Model Compression Toolkit: ILP over weights of 2, 4 and 8 bits under a budget of weight bytes, activations at 8 bits.

Run by `run.py` in MCT's own environment: `python mct.py FOLDER`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import model_compression_toolkit as mct
from exchange import ASKED, WEIGHTS, accuracy, calibration, layers, network, report
from model_compression_toolkit.core import CoreConfig, MixedPrecisionQuantizationConfig, ResourceUtilization
from torch import Tensor, nn


def images() -> Iterator[list[Tensor]]:
    """The calibration images as MCT asks for them."""
    for inputs, _ in calibration(64):
        yield [inputs]


def bits_of(model: nn.Module) -> dict[str, int]:
    """Weight bits by the layer's name in the float network; MCT's graph spells dots as underscores and appends what it folded in."""
    names = {re.sub(r"\W", "_", name): name for name in layers()}
    found: dict[str, int] = {}
    for path, module in model.named_modules():
        for quantizer in getattr(module, "weights_quantizers", {}).values():
            spelled = re.sub(r"\W", "_", path)
            fitting = [
                name for name in names if spelled == name or spelled.startswith(f"{name}_bn") or spelled.startswith(f"{name}_downsample")
            ]
            if fitting and hasattr(quantizer, "num_bits"):
                found[names[max(fitting, key=len)]] = int(quantizer.num_bits)
    return found


def main() -> None:
    platform = mct.get_target_platform_capabilities(tpc_version="1.0", device_type="imx500")
    rows: list[dict[str, Any]] = []
    for bits in ASKED["bits"]:
        core = CoreConfig(mixed_precision_config=MixedPrecisionQuantizationConfig(num_of_images=64))
        model, info = mct.ptq.pytorch_post_training_quantization(
            network(),
            images,
            target_resource_utilization=ResourceUtilization(weights_memory=WEIGHTS * bits / 8),
            core_config=core,
            target_platform_capabilities=platform,
        )
        rows.append(
            {
                "source": "mct",
                "version": mct.__version__,
                "asked_bits": bits,
                "act_bits": 8,
                "menu": [2, 4, 8],
                "weight_bytes": float(info.final_resource_utilization.weights_memory),
                "test": accuracy(model.eval()),
                "bits": bits_of(model),
            }
        )
        report(rows)


if __name__ == "__main__":
    main()
