"""The style sheet is whole, loads nothing, and its colours can be read."""

from __future__ import annotations

import re

from mpsearch.report import palette
from mpsearch.report.page import page_html
from mpsearch.report.stylesheet import STYLE
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
    assert STYLE.count("{") == STYLE.count("}") > 20
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_text_has_the_contrast_that_wcag_asks_for() -> None:
    (background,) = re.findall(r"background: (#[0-9a-f]{6}); color: var\(--ink\)", STYLE)
    for colour in (palette.INK, palette.MUTED, palette.FLOAT, palette.BUDGET):
        assert contrast(colour, palette.PAPER) >= 4.5
        assert contrast(colour, background) >= 4.5


def test_every_class_of_the_page_that_is_not_plotlys_has_a_rule() -> None:
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", page_html(make_summary()), flags=re.DOTALL)
    used = {name for names in re.findall(r'class="([^"]+)"', text) for name in names.split()}
    ruled = set(re.findall(r"\.([a-z-]+)", STYLE))
    assert used - ruled <= {"plotly-graph-div"}
