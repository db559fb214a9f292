"""The speaker encoder of Resemblyzer 0.1.4, a three-layer LSTM: who speaks, among voices that are made here.

A voice is a source and a filter (Fant 1960): a fundamental, the fall of the glottal spectrum, breath, a length of the vocal tract that
scales all formants, and deviations of its own in each. An utterance of 1.6 s is a random walk through ten vowels (formants of Peterson
and Barney 1952) with a melody, syllables that swell and fade, and hisses between some of them; it becomes the package's own mel
spectrogram. Speakers of the three splits are different ones. Metric: the share of utterances whose embedding is nearest to the mean
embedding of their own speaker, the utterance itself left out of it; one number of the whole split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.zoo.case import Case, Samples, load_package
from mpsearch.tasks.task import Task

__all__ = ["build", "identified", "similarities"]

RATE = 16_000
SECONDS = 1.6
FRAMES = 160
STEP = RATE // 100
"""Samples for which amplitudes hold."""
VOWELS = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ]
)
"""First three formants in Hz, means over men; the fourth is set at 3,400."""
SHARPNESS = 10.0
"""Cosines are multiplied by it in the loss, as in GE2E (Wan et al., arXiv 1710.10467)."""


@dataclass(frozen=True)
class Voice:
    """A speaker: Hz, factor of all formants, factors of each, exponent of the harmonics, share of breath, factor of bandwidths."""

    fundamental: float
    scale: float
    formants: np.ndarray
    fall: float
    breath: float
    width: float


def build() -> Case:
    """The encoder with its weights."""
    resemblyzer = load_package("resemblyzer")
    model = resemblyzer.VoiceEncoder("cpu", verbose=False)
    train, validation, test = (
        _split(resemblyzer, speakers, utterances, seed) for seed, (speakers, utterances) in enumerate(((16, 8), (16, 6), (24, 20)))
    )
    return Case(
        model=model.eval(),
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(
            loss=lambda embeddings, speakers: F.cross_entropy(*_logits(embeddings, speakers)),
            metric=identified,
            metric_name="speakers told",
            higher_is_better=True,
        ),
        gap="share",
        epochs=2,
        images=32,
        trials=4,
        batch_size=64,
    )


def similarities(embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines `[N, K]` of each embedding with the mean of each speaker, its own left out of that of its own; and its speaker `[N]` of K.

    The third are the embeddings `[N]` that have another of their speaker beside them, which alone can be told.
    """
    _, own, counts = torch.unique(speakers, return_inverse=True, return_counts=True)
    members = F.one_hot(own, len(counts)).float()
    sums = members.T @ embeddings
    cosines = F.normalize(embeddings, dim=1) @ F.normalize(sums, dim=1).T
    left = F.cosine_similarity(embeddings, sums[own] - embeddings, dim=1)
    return torch.where(members.bool(), left[:, None], cosines), own, counts[own] > 1


def identified(embeddings: Tensor, speakers: Tensor) -> float:
    """Share of embeddings that are nearest to the mean of their own speaker."""
    cosines, own, told = similarities(embeddings.float(), speakers)
    return float((cosines.argmax(1) == own)[told].float().mean())


def _logits(embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
    cosines, own, told = similarities(embeddings.float(), speakers)
    chosen = told if bool(told.any()) else torch.ones_like(told)  # a batch of strangers
    return SHARPNESS * cosines[chosen], own[chosen]


def _split(resemblyzer: Any, speakers: int, utterances: int, seed: int) -> Samples:
    generator = np.random.default_rng((18, seed))
    spectrograms, owners = [], []
    for speaker in range(speakers):
        voice = _voice(generator)
        for _ in range(utterances):
            wave = resemblyzer.normalize_volume(_utterance(voice, generator), -30.0)
            spectrograms.append(resemblyzer.wav_to_mel_spectrogram(wave.astype(np.float32))[:FRAMES])
            owners.append(speaker)
    order = generator.permutation(len(owners))  # so that a batch holds several utterances of each of many speakers
    return Samples([torch.tensor(np.stack(spectrograms))[order]], torch.tensor(owners)[order])


def _voice(generator: np.random.Generator) -> Voice:
    high = generator.random() < 0.5
    return Voice(
        fundamental=float(generator.normal(200, 25) if high else generator.normal(120, 18)),
        scale=float(generator.normal(1.14, 0.05) if high else generator.normal(1.0, 0.05)),
        formants=generator.normal(1.0, 0.04, size=4),
        fall=float(generator.uniform(0.8, 1.6)),
        breath=float(generator.uniform(0.005, 0.05)),
        width=float(generator.uniform(0.8, 1.4)),
    )


def _utterance(voice: Voice, generator: np.random.Generator) -> np.ndarray:
    """Samples `[25600]`."""
    from scipy.signal import istft, stft

    count = int(SECONDS * RATE)
    frames = count // STEP
    formants, loudness, hiss = _articulation(voice, generator, frames)
    every, ends = np.arange(count), np.arange(frames) * STEP
    melody = np.cumsum(generator.normal(0, 0.012, frames))
    fundamental = voice.fundamental * np.exp(np.interp(every, ends, melody - melody.mean()))
    # Pulses: all harmonics below half the rate, equally strong, summed in closed form.
    half = np.pi * np.cumsum(fundamental) / RATE
    harmonics = int(RATE / 2 / fundamental.max())
    pulses = np.sin((2 * harmonics + 1) * half) / np.sin(half) - 1
    noise = generator.normal(size=count)
    source = pulses / pulses.std() + 10 * voice.breath * noise
    frequency, _, spectrum = stft(source * np.interp(every, ends, loudness), RATE, nperseg=2 * STEP, noverlap=STEP)
    columns = np.minimum(np.arange(spectrum.shape[1]), frames - 1)
    gain = np.maximum(frequency, 50.0)[:, None] ** -voice.fall * _filter(frequency[:, None], formants[columns], voice.width)
    wave = istft(spectrum * gain, RATE, nperseg=2 * STEP, noverlap=STEP)[1][:count]
    sharp = np.diff(noise, prepend=0.0)  # a hiss has its energy at high frequencies
    return np.asarray(wave + 0.3 * wave.std() * sharp * np.interp(every, ends, hiss))


def _articulation(voice: Voice, generator: np.random.Generator, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Formants `[frames, 4]` in Hz, loudness of the voice `[frames]` and of hisses `[frames]`."""
    targets = np.zeros((frames, 4))
    loudness, hiss = np.zeros(frames), np.zeros(frames)
    place = 0
    while place < frames:
        length = int(generator.integers(12, 26))
        span = slice(place, min(place + length, frames))
        vowel = VOWELS[generator.integers(len(VOWELS))]
        targets[span] = np.array([*vowel, 3400.0]) * voice.scale * voice.formants * generator.normal(1, 0.015, 4)
        rise = np.sin(np.pi * (np.arange(span.stop - span.start) + 0.5) / length)
        loudness[span] = rise**0.5 * generator.uniform(0.6, 1.0)
        if generator.random() < 0.4:
            hiss[span.start : span.start + 6] = generator.uniform(0.3, 1.0)
        place += length
    kernel = np.hanning(9) / np.hanning(9).sum()
    padded = np.pad(targets, ((4, 4), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, k], kernel, mode="valid") for k in range(4)], axis=1)
    return smooth, loudness, hiss


def _filter(frequency: np.ndarray, formants: np.ndarray, width: float) -> np.ndarray:
    """Gain `[bins, frames]` of a cascade of resonances, one at zero."""
    gain = np.ones((len(frequency), len(formants)))
    for k, bandwidth in enumerate((60.0, 90.0, 130.0, 200.0)):
        centre, half = formants[:, k], width * bandwidth / 2
        gain *= (centre**2 + half**2) / np.sqrt(((frequency - centre) ** 2 + half**2) * ((frequency + centre) ** 2 + half**2))
    return gain
