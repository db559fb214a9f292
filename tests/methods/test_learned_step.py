"""Steps that are trained by gradient stay near the calibrated ones, whatever the learning rate."""

from __future__ import annotations

import torch

from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.methods.learned_step import LearnedStepActivation, LearnedStepWeight
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from tests.networks import Depthwise


def test_a_step_moves_by_a_factor_of_four_at_most() -> None:
    torch.manual_seed(0)
    model, images = Depthwise().eval(), torch.randn(16, 1, 8, 8)
    space = Space(name="w8a8", weights=(8,), activations=(8,)).resolve(trace(model, images))
    method = METHODS["lsq"]()
    network = Network(model, space, Calibration.fit(model, space, [images]), method)
    network.begin(space.uniform(Choice(8, 8)))
    quantizers = [m for m in network.model.modules() if isinstance(m, LearnedStepWeight | LearnedStepActivation)]
    calibrated = [quantizer.step.detach().clone() for quantizer in quantizers]
    for push in (-1e3, 1e3):
        with torch.no_grad():
            for quantizer in quantizers:
                quantizer.step.add_(push)
            method.after_step(network, 0.5)
        for quantizer, start in zip(quantizers, calibrated, strict=True):
            assert torch.equal(quantizer.step, start * 4 if push > 0 else start / 4)
