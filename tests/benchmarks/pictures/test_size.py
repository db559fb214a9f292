"""Every training of the CIFAR-10 results is one mark."""

from __future__ import annotations

import json

from benchmarks.pictures.size import RESULTS, draw


def test_every_training_is_one_mark() -> None:
    runs = json.loads(RESULTS.read_text())
    expected = [(run["results"][key]["size"], run["test"][key]) for run in runs for key in ("winner", "uniform") if key in run["results"]]
    (axes,) = draw().axes
    assert sorted(tuple(p) for c in axes.collections for p in c.get_offsets().tolist()) == sorted(expected)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "mixed",
        "uniform, retrained alike",
        "hollow: activations at 4 bits",
    ]
