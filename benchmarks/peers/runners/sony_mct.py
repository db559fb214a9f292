"""Sony Model Compression Toolkit: ILP over weights of 2, 4 and 8 bits under a budget of weight bytes, activations at 8 bits.

Run by `run.py` in MCT's own environment. Two tiers: its plain post-training quantization, and at the sizes in `gradient` also its
gradient-based one, which learns rounding and steps on the same images.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import model_compression_toolkit as mct
import torch
from exchange import ASKED, WEIGHTS, accuracy, calibration, keep, layers, network, points
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


def platform(act_bits: int) -> Any:
    """MCT's own target of 2, 4 and 8 bits; with float activations if they have 32."""
    target = mct.get_target_platform_capabilities(tpc_version="1.0", device_type="imx500")
    if act_bits <= 8:
        return target
    off = {"enable_activation_quantization": False}
    operators = tuple(
        each.model_copy(update={"qc_options": each.qc_options.clone_and_edit(**off)}) if each.qc_options is not None else each
        for each in target.operator_set
    )
    return target.model_copy(update={"default_qco": target.default_qco.clone_and_edit(**off), "operator_set": operators})


def quantized(bits: float, act_bits: int, epochs: int) -> tuple[nn.Module, Any]:
    """The network at a mean number of bits, and what MCT says of it; `epochs`: of the gradient-based tier, 0 for the plain one."""
    words: dict[str, Any] = {
        "target_resource_utilization": ResourceUtilization(weights_memory=WEIGHTS * bits / 8),
        "core_config": CoreConfig(mixed_precision_config=MixedPrecisionQuantizationConfig(num_of_images=64)),
        "target_platform_capabilities": platform(act_bits),
    }
    found: tuple[nn.Module, Any]
    if epochs:
        learning = mct.gptq.get_pytorch_gptq_config(n_epochs=epochs)
        found = mct.gptq.pytorch_gradient_post_training_quantization(network(), images, gptq_config=learning, **words)
    else:
        found = mct.ptq.pytorch_post_training_quantization(network(), images, **words)
    return found


def main() -> None:
    tiers = [("its own", 0, ASKED["bits"]), (f"its own by gradients, {ASKED['epochs']} epochs", ASKED["epochs"], ASKED["gradient"])]
    for method, epochs, wanted in tiers:
        for bits, act_bits in points(source="mct", method=method):
            if bits not in wanted or (epochs and act_bits > 8):
                continue
            torch.manual_seed(0)
            started = time.monotonic()
            model, info = quantized(bits, act_bits, epochs)
            seconds, chosen = time.monotonic() - started, bits_of(model)
            size = float(info.final_resource_utilization.weights_memory)
            keep(
                {
                    "source": "mct",
                    "version": f"{mct.__version__}, torch {torch.__version__}",
                    "method": method,
                    "asked_bits": bits,
                    "act_bits": act_bits,
                    "menu": [2, 4, 8],
                    "weight_bytes": size,
                    "mean_bits": 8 * size / WEIGHTS,
                    "seconds": round(seconds, 1),
                    "test": accuracy(model.eval()),
                    "bits": chosen,
                }
            )


if __name__ == "__main__":
    main()
