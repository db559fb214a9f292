"""A panel for each network and budget, a line for each search; the medians at every count are those of the results."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.pictures.tabular import RESULTS, draw, panels


def test_lines_hold_the_medians_between_their_steps() -> None:
    kept = json.loads(RESULTS.read_text())
    figure = draw()
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(kept)
    for axes, entries in zip(figure.axes, kept.values(), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert set(lines) == {name for name in entries if not name.startswith("front:")}
        for name in ("mpsearch", "Optuna TPE"):
            xs, ys = (np.asarray(side) for side in (lines[name].get_xdata(), lines[name].get_ydata()))
            median = np.clip(entries[name]["regret"][1], 1e-3, 3.0)
            at = np.searchsorted(xs, np.arange(1, len(median) + 1), side="right") - 1
            assert np.array_equal(ys[at], median)


def test_an_odd_number_of_panels_leaves_the_rest_empty() -> None:
    entry = {"seeds": 1, "regret": [[0.5, 0.2], [0.5, 0.2], [0.5, 0.2]]}
    figure = panels({"a, tight": {"mpsearch": entry}})
    assert [axes.get_visible() for axes in figure.axes] == [True, False, False]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mpsearch"]
