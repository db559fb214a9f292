"""Qualcomm AIMET: weights of 4 bits by output channel, activations at 8 bits, BatchNorm folded.

Run by `run.py` in AIMET's own environment. Its mixed-precision search stops at an accuracy drop and takes no size, and its simulation is
documented for weights of 4 bits and more: at a mean of 4 bits uniform 4 is then all there is to choose, and smaller sizes are out of reach.
"""

from __future__ import annotations

import time
from importlib.metadata import version

import torch
from aimet_torch.batch_norm_fold import fold_all_batch_norms
from aimet_torch.quantsim import QuantizationSimModel
from exchange import accuracy, calibration, keep, layers, network, points
from torch import nn

BITS, ACT_BITS = 4, 8


@torch.no_grad()
def observe(model: nn.Module) -> None:
    """Show the model the calibration images."""
    for inputs, _ in calibration(64):
        model(inputs)


def main() -> None:
    for bits, act_bits in points(source="aimet", method="its own"):
        if (bits, act_bits) != (BITS, ACT_BITS):
            continue
        started = time.monotonic()
        model = network()
        fold_all_batch_norms(model, input_shapes=(1, 3, 32, 32))
        simulated = QuantizationSimModel(
            model,
            dummy_input=torch.zeros(1, 3, 32, 32),
            quant_scheme="tf_enhanced",
            default_output_bw=ACT_BITS,
            default_param_bw=BITS,
            config_file="default_config_per_channel.json",
        )
        simulated.compute_encodings(observe)
        seconds = time.monotonic() - started
        keep(
            {
                "source": "aimet",
                "version": f"{version('aimet-torch')}, torch {torch.__version__}",
                "method": "its own",
                "asked_bits": bits,
                "act_bits": act_bits,
                "menu": [BITS],
                "weight_bytes": sum(layers().values()) * BITS / 8,
                "mean_bits": BITS,
                "seconds": round(seconds, 1),
                "test": accuracy(simulated.model.eval()),
                "bits": dict.fromkeys(layers(), BITS),
            }
        )


if __name__ == "__main__":
    main()
