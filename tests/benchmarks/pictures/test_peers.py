"""A mark for each mean of draws, on a scale where the errors grow evenly."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.table import lines, read
from benchmarks.pictures.peers import LINES, RESULTS, draw, picture

FULL = [1, 2, 3, 4, 5, 6, 7, 8]


def row(source: str, bits: float, test: float) -> dict[str, object]:
    return {"source": source, "asked_bits": bits, "act_bits": 8, "menu": FULL, "test": test, "method": "gptq"}


def test_draws_of_one_row_are_one_mark_at_their_mean() -> None:
    (axes,) = picture([row("mpsearch", 4, 0.89), row("mpsearch", 4, 0.87), row("mpsearch", 3, 0.5), row("nobody", 3, 0.1)]).axes
    ours = next(line for line in axes.lines if line.get_label() == "mpsearch (gptq)")
    assert np.asarray(ours.get_xdata()).tolist() == [3, 4]
    assert np.asarray(ours.get_ydata()).tolist() == pytest.approx([0.5, 0.88])
    heights = [axes.transData.transform((3, metric))[1] for metric in (0.6, 0.8, 0.9)]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0])  # the error halves twice


def test_every_line_has_results() -> None:
    found = lines(read(RESULTS))
    drawn = {line.get_label(): line for line in draw().axes[0].lines}
    for name, (_, _, label) in LINES.items():
        assert np.size(drawn[label].get_xdata()) == len(found[name]) == 5
