from __future__ import annotations

from mpsearch.core.statistics import CORRECTED, KEPT, REESTIMATED, WAYS, StatisticsChoice


def test_the_sentence_has_the_choice_and_the_figures_of_all_ways() -> None:
    figures = {KEPT: (0.0021, 0.5), REESTIMATED: (7.25, 7.3), CORRECTED: (0.0019, 0.25)}
    choice = StatisticsChoice(chosen=CORRECTED, samples=200, allocations=("uniform w7af", "uniform w8af"), divergences=figures)
    assert set(figures) == set(WAYS)
    for words in ("untrained allocations are corrected", "200 held-out", "w7af / uniform w8af", "re-estimated 7.25 / 7.3", "kept 0.0021"):
        assert words in choice.sentence
