"""The networks of the zoo by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.zoo import crystals, faces, forecast, pitch, sentences, untrained, voices
from benchmarks.zoo.case import Case

__all__ = ["NETWORKS", "Network"]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A row's title and what makes its case."""

    title: str
    build: Callable[[], Case]


NETWORKS: Mapping[str, Network] = {
    "pnet": Network(title="MTCNN P-Net", build=partial(faces.build, "PNet")),
    "rnet": Network(title="MTCNN R-Net", build=partial(faces.build, "RNet")),
    "onet": Network(title="MTCNN O-Net", build=partial(faces.build, "ONet")),
    "crepe-tiny": Network(title="CREPE tiny", build=partial(pitch.build, "tiny")),
    "voices": Network(title="Resemblyzer", build=voices.build),
    "fracast": Network(title="Fracast", build=forecast.build),
    "wordllama": Network(title="WordLlama", build=sentences.build),
    "chgnet": Network(title="CHGNet", build=crystals.build),
    "mobilenet": Network(title="MobileNetV3-Small, random weights", build=untrained.build),
    "crepe-full": Network(title="CREPE full", build=partial(pitch.build, "full")),
}
"""Name → network, the quick ones first."""
