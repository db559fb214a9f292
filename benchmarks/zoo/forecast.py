"""Fracast 0.1.0: forecasts of series that are made here, and of one that statsmodels ships.

A series has two seasons of random shape (periods of 7 to 168 steps), a trend and autoregressive noise; 2,048 steps are seen, the next 48
are forecast in nine quantiles. A quarter of the samples of each split are windows of the weekly carbon dioxide of Mauna Loa, 1958 to
2001; the windows of the three splits forecast different years. Metric: pinball loss over all quantiles and steps, in hundredths of the
range that the context spans. The core and the head are one module here, called in the order of the package's `FracastModel`. Its own file
of 8-bit weights is the rival.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.zoo.case import Case, Rival, Samples, load_package
from mpsearch.tasks.task import Task

__all__ = ["QUANTILES", "Forecaster", "build", "pinball"]

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CONTEXT = 2_048
HORIZON = 48
PERIODS = (7, 12, 24, 48, 52, 96, 168)


class Forecaster(nn.Module):
    """The package's core and head, called as the package calls them.

    Args:
        core: of `load_fracast`.
        head: of `load_fracast`.
    """

    def __init__(self, core: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.head: Any = head

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Quantiles `[N, 48, 9]` from scaled values `[N, 2048]` and whether each was observed (1 or 0, `[N, 2048]`)."""
        valid = observed > 0
        hidden = self.core(values[:, None], valid[:, None], observed[:, None])
        found: Tensor = self.head.forward_horizon(hidden, last_obs=values[:, -1:], ctx=values, ctx_mask=valid)
        return found


def build() -> Case:
    """The float network, with the package's own 8-bit file beside it."""
    fracast = load_package("fracast.inference")
    folder = load_package("fracast.weights").__path__[0]
    train, validation, test = (_split(part, size) for part, size in enumerate((32, 32, 64)))
    file = f"{folder}/model.int8.safetensors"
    return Case(
        model=Forecaster(*fracast.load_fracast(folder, weights="fp32")).eval(),
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(loss=lambda outputs, future: pinball(outputs, future).mean(), metric=pinball, metric_name="pinball loss"),
        gap="error",
        epochs=1,
        images=16,
        trials=3,
        batch_size=16,
        signals=("fisher",),
        rivals=[
            Rival(
                name="the package's own int8 file",
                model=Forecaster(*fracast.load_fracast(folder, weights="w8")).eval(),
                bytes=_size(file),
            )
        ],
    )


def pinball(quantiles: Tensor, future: Tensor) -> Tensor:
    """Mean pinball loss of each sample `[N]`, in hundredths of the context's range: `[N, 48, 9]` against `[N, 48]`."""
    levels = torch.tensor(QUANTILES, device=quantiles.device)
    off = future[..., None] - quantiles.float()
    return 100 * torch.maximum(levels * off, (levels - 1) * off).mean((1, 2))


def _size(file: str) -> int:
    from os.path import getsize

    return getsize(file)


def _split(part: int, size: int) -> Samples:
    generator = np.random.default_rng((19, part))
    measured = _carbon_dioxide()
    last = len(measured) - HORIZON
    starts = [
        # The years that are forecast: 1991 to 1996, to 1998, to 2001, a horizon apart, so that no two splits share one.
        np.linspace(last - 550, last - 310, size // 4),
        np.linspace(last - 260, last - 160, size // 4),
        np.linspace(last - 110, last, size // 4),
    ][part].astype(int)
    series = [measured[max(0, start - CONTEXT) : start + HORIZON] for start in starts]
    series += [_series(generator) for _ in range(size - len(series))]
    values, observed, future = (np.stack(parts) for parts in zip(*map(_scaled, series), strict=True))
    return Samples([torch.tensor(values).float(), torch.tensor(observed).float()], torch.tensor(future).float())


def _carbon_dioxide() -> np.ndarray:
    """Weekly parts per million; weeks without a measurement are interpolated."""
    found: np.ndarray = load_package("statsmodels.datasets").co2.load_pandas().data["co2"].interpolate().to_numpy()
    return found


def _series(generator: np.random.Generator) -> np.ndarray:
    time = np.arange(CONTEXT + HORIZON)
    series = generator.normal(0, 1e-3) * time
    for period, strength in zip(generator.choice(PERIODS, size=2, replace=False), (1.0, generator.uniform(0.2, 0.8)), strict=True):
        harmonics = np.arange(1, 4)
        heights = generator.normal(0, 1 / harmonics)
        phases = generator.uniform(0, 2 * np.pi, size=3)
        series = series + strength * (heights * np.sin(2 * np.pi * time[:, None] * harmonics / period + phases)).sum(1)
    memory, noise = generator.uniform(0.2, 0.9), generator.normal(0, generator.uniform(0.05, 0.3), size=len(time))
    for step in range(1, len(time)):
        noise[step] += memory * noise[step - 1]
    return np.asarray(series + noise)


def _scaled(series: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context to between 0 and 1, filled up with unobserved zeros in front; whether observed; the future in the same scale."""
    context, future = series[:-HORIZON], series[-HORIZON:]
    low, span = context.min(), np.ptp(context)
    missing = CONTEXT - len(context)
    values = np.pad((context - low) / span, (missing, 0))
    return values, np.pad(np.ones(len(context)), (missing, 0)), (future - low) / span
