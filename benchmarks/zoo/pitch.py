"""CREPE (torchcrepe 0.0.24): the pitch of tones that are made here.

A frame of 64 ms is cut from a harmonic tone: fundamental between 60 and 1,200 Hz with vibrato of up to 50 cents, harmonics that fall off
at a random rate with random phases, swelling loudness, white noise 5 to 40 dB below. Metric: raw pitch accuracy (Kim et al., arXiv
1802.06182), the share of frames whose pitch, the weighted mean around the most probable bin, lies within 50 cents of the fundamental at
the middle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.zoo.case import Case, Samples, load_package
from mpsearch.tasks.task import Task

__all__ = ["blurred", "build", "within_50_cents"]

RATE = 16_000
WINDOW = 1_024
BINS = 360
CENTS_PER_BIN = 20.0
FIRST = 1997.3794084376191
"""Cents above 10 Hz of the first bin."""
SPREAD = 25.0
"""Standard deviation of the target's bell in cents."""
REACH = 4
"""Bins on each side of the most probable one that the pitch is averaged over."""


def build(capacity: str) -> Case:
    """The network `tiny` or `full`."""
    torchcrepe = load_package("torchcrepe")
    torchcrepe.load.model("cpu", capacity)
    large = capacity == "full"
    sizes = (64, 64, 128) if large else (512, 256, 768)
    train, validation, test = (_split(torchcrepe, size, seed) for seed, size in enumerate(sizes))
    return Case(
        model=torchcrepe.infer.model,
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(
            loss=lambda outputs, cents: F.binary_cross_entropy(outputs.float(), blurred(cents)),
            metric=within_50_cents,
            metric_name="raw pitch accuracy",
            higher_is_better=True,
        ),
        gap="share",
        epochs=0 if large else 2,
        images=8 if large else 64,
        trials=2 if large else 6,
        signals=("fisher",) if large else ("fisher", "measured"),
        methods=("lsq",) if large else ("lsq", "gptq"),
    )


def blurred(cents: Tensor) -> Tensor:
    """Targets `[N, 360]` as CREPE was trained with: a bell of 25 cents around the pitch `[N]`, one at its top."""
    middles = FIRST + CENTS_PER_BIN * torch.arange(BINS, device=cents.device)
    return torch.exp(-((middles - cents[:, None]) ** 2) / (2 * SPREAD**2))


def within_50_cents(probabilities: Tensor, cents: Tensor) -> Tensor:
    """One for each frame `[N]` whose pitch is right, zero for the others."""
    places = torch.arange(BINS, device=probabilities.device)
    near = (places - probabilities.argmax(1, keepdim=True)).abs() <= REACH
    weights = probabilities * near
    found = FIRST + CENTS_PER_BIN * (weights * places).sum(1) / weights.sum(1).clamp_min(1e-12)
    return ((found - cents).abs() <= 50).float()


def _split(torchcrepe: Any, size: int, seed: int) -> Samples:
    generator = np.random.default_rng((16, seed))
    tones, pitches = zip(*(_tone(generator) for _ in range(size)), strict=True)
    signal = torch.from_numpy(np.concatenate(tones)).float()[None]
    # The package's own cutting and scaling: each frame to zero mean and unit deviation.
    frames = next(iter(torchcrepe.preprocess(signal, RATE, hop_length=WINDOW, pad=False)))
    return Samples([frames], torch.tensor(1200 * np.log2(np.array(pitches) / 10)).float())


def _tone(generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """Samples `[1024]`, and the fundamental in Hz at the middle."""
    time = (np.arange(WINDOW) - WINDOW / 2) / RATE
    middle = float(np.exp(generator.uniform(np.log(60), np.log(1200))))
    rate, depth, phase = generator.uniform(4, 7), generator.uniform(0, 50) / 1200, generator.uniform(0, 2 * np.pi)
    wave = np.sin(2 * np.pi * rate * time + phase) - np.sin(phase)  # zero at the middle, where the pitch is told
    angle = 2 * np.pi * np.cumsum(middle * 2 ** (depth * wave)) / RATE
    fall = generator.uniform(0.5, 2.0)
    tone = np.zeros(WINDOW)
    for harmonic in range(1, int(min(RATE / 2 / (1.1 * middle), 40)) + 1):
        height = harmonic**-fall * generator.uniform(0.3, 1.0)
        tone += height * np.sin(harmonic * angle + generator.uniform(0, 2 * np.pi))
    tone *= np.exp(generator.uniform(-8, 8) * time)
    noise = tone.std() * 10 ** (-generator.uniform(5, 40) / 20)
    return tone + noise * generator.normal(size=WINDOW), middle
