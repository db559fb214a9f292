"""Sensitivity signals: the expected rise of the loss when one layer takes one choice. One module each; see `mpsearch list`."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from mpsearch.core.errors import DataError, ModelError
from mpsearch.core.registry import Registry
from mpsearch.core.table import Table
from mpsearch.signals.base import Signal, SignalInputs

__all__ = ["SIGNALS", "Signal", "SignalInputs", "compute_signal"]

SIGNALS: Registry[Signal] = Registry("signal", "mpsearch.signals", "mpsearch.signals.direct", "mpsearch.signals.learned")


def compute_signal(name: str, inputs: SignalInputs) -> Table:
    """Compute the table of a signal, `[L, C]` nats; NaN exactly where the space does not allow a choice.

    The seconds and images of its cost are added here, unless the signal gives its own; a combination has those of its parts.

    Args:
        name: as registered, such as `fisher`.
        inputs: model, space, calibrated ranges and data.

    Raises:
        UnknownNameError: no such signal.
        DataError: no calibration batches.
        ModelError: the signal is not finite somewhere.
    """
    signal = SIGNALS[name]
    if not inputs.batches:
        raise DataError(f"signal '{name}' needs at least one batch of training data; the training split gave none")
    began = time.perf_counter()
    table = signal.function(inputs)
    if not signal.combines:
        seconds, images = time.perf_counter() - began, float(inputs.images)
        table = replace(table, cost={"seconds": seconds, "forwards": 0.0, "backwards": 0.0, "images": images, **table.cost})
    bad = ~np.isfinite(table.values) & inputs.space.allowed
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ModelError(
            f"signal '{name}' is not finite for layer '{table.layers[row]}' at {table.choices[column]}; "
            "check that the float network gives finite outputs on the training data"
        )
    return table
