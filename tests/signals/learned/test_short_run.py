"""A short run trains whatever the library claims to handle, without labels, for the steps asked, and counts its passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpsearch.core.pass_counts import PassCounts
from mpsearch.core.space import Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import batch_size
from mpsearch.network.trace import trace
from mpsearch.signals import SignalInputs, compute_signal
from mpsearch.signals.learned.short_run import short_run, widest
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe
from tests.networks import NETWORKS

RECIPE = Recipe(lr=0.01, precision="float32")


def given(name: str, parts: int = 1) -> SignalInputs:
    torch.manual_seed(0)
    factory, batch = NETWORKS[name]
    model, batches = factory().eval(), [(batch(), None) for _ in range(parts)]
    space = Space(name="s", weights=(1, 2, 4, 8), activations=(4, 32)).resolve(trace(model, batches[0][0]))
    calibration = Calibration.fit(model, space, [x for x, _ in batches])
    return SignalInputs(model=model, space=space, calibration=calibration, batches=batches, task=Task.classification(), target_bits=3.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network(name: str) -> None:
    inputs = given(name)
    table = compute_signal("alq", inputs)
    assert set(table.bits) == set(inputs.space.names)
    sizes = np.array([layer.weights for layer in inputs.space.layers])
    learned = np.array([table.bits[name] for name in inputs.space.names])
    assert float(sizes @ learned / sizes.sum()) == pytest.approx(3.0, abs=0.5)


def test_passes_are_counted_once_and_no_label_is_read() -> None:
    inputs = given("depthwise", parts=2)
    with PassCounts().listening("signals") as tally:
        run = short_run(inputs, Lsq(), widest(inputs.space), RECIPE, steps=5)
    images = sum(batch_size(x) for x, _ in inputs.batches)
    assert (run.forwards, run.backwards, run.images) == (3.0, 2.0, images)  # two passes of two batches, and the float outputs
    assert tally["signals"].forward == 3 * images
    assert tally["signals"].backward == tally["signals"].labels == 0  # the pipeline counts a signal's passes back from its table


def test_batches_of_one_sample_are_left_out_where_there_are_others() -> None:
    inputs = given("depthwise", parts=2)
    single = replace(inputs, batches=[inputs.batches[0], (inputs.batches[1][0][:1], None)])
    assert short_run(single, Lsq(), widest(inputs.space), RECIPE, steps=2).images == len(inputs.batches[0][0])
