"""The style sheet is whole, loads nothing, and its colours can be read."""

from __future__ import annotations

import re

import pytest

from mpsearch.report import palette
from mpsearch.report.page import page_html
from mpsearch.report.stylesheet import COLOURS, style_sheet
from tests.report.summaries import make_summary


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_blocks_are_closed_and_nothing_is_loaded() -> None:
    style = style_sheet()
    assert style.count("{") == style.count("}") > 20
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_have_the_contrast_that_wcag_asks_for(theme: int) -> None:
    colours = {name: pair[theme] for name, pair in COLOURS.items()}
    for ground in ("paper", "ground"):
        for text in ("ink", "muted", "link", "good", "bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["ink"], colours["mark"]) >= 4.5
    assert contrast(colours["muted"], colours["mark"]) >= 4.5
    drawn = {name: colours[name] for name in ("accent", "uniform", "ptq", "short", "long", "other", "selected", "pinned", "focus")}
    for name, colour in {**drawn, **{f"run {place}": pair[theme] for place, pair in enumerate(palette.OF_RUNS)}}.items():
        assert contrast(colour, colours["paper"]) >= 3, name


def test_every_class_of_the_page_has_a_rule() -> None:
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", page_html(make_summary()), flags=re.DOTALL)
    used = {name for names in re.findall(r'class="([^"]+)"', text) for name in names.split()}
    assert used - set(re.findall(r"\.([a-z-]+)", style_sheet())) == set()
