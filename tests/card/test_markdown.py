from __future__ import annotations

import re

from mpsearch.card import card_markdown, header_line
from tests.card.cards import changed, make_card


def test_header_reads_as_the_card_says() -> None:
    assert header_line(make_card()) == (
        "resnet50 | W4.00/A4.00 weights and layer inputs, 99.8 % of parameters | P2 | per-ch sym W, per-T where negative A | "
        "first/last included | W{2, 4, 8}/A{4} | 1024 img no labels | 75.10 % test (FP 76.10 %) | 12.9 MB | 61.000 GBOPs | latency n/a"
    )


def test_header_of_other_cards() -> None:
    assert "A32 weights and" in header_line(changed("costs.mean_input_bits", "n/a"))
    assert "sym W, float A" in header_line(changed("formats.activations", "n/a: float"))
    assert "75.10 % ± 1.00 % test" in header_line(changed("result.std", 0.01))
    assert "latency 5 ms (estimated)" in header_line(changed("costs.latency", {"seconds": 0.005, "how": "estimated"}))
    assert "1024 img with labels" in header_line(changed("data.use.search.labels", True))
    assert header_line(changed("provenance.failed_checks", ["leak"])).startswith("FAILED: ")


def test_every_field_is_in_the_document_and_tables_are_whole() -> None:
    text = card_markdown(make_card())
    for section in make_card().sections:
        assert f"## {section.letter}. {section.title}" in text
    for name in (name for content in make_card().to_dict().values() for name in content):
        assert name.replace("_", " ") in text or name in ("bits", "use", "flips", "path", "samples", "unflipped_metric")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_what_comes_from_outside_ends_no_cell_and_opens_no_tag() -> None:
    text = card_markdown(changed("provenance.command", "study | rm\n<script>"))
    assert "study \\| rm &lt;script>" in text
    assert "a \\| b" in text


def test_a_failed_card_says_so_on_top() -> None:
    text = card_markdown(changed("provenance.failed_checks", ["search: 3 samples of the test split (by index)"]))
    assert text.index("This card fails") < text.index("## A")
    assert "unknown" in card_markdown(changed("ranges.images", None))


def test_what_comes_from_outside_makes_no_link() -> None:
    text = card_markdown(changed("provenance.command", "[read me](javascript:alert(1))"))
    assert "](javascript" not in text
    assert "[read me]\\(javascript:alert(1))" in text
    assert card_markdown(changed("model.architecture", "a`\n# b")).splitlines()[2].startswith("`a' # b |")
