"""Parts of the page: what a table holds, and that text stays text."""

from __future__ import annotations

import re
from dataclasses import replace

from mpsearch.core.unquantized import Unquantized
from mpsearch.report.info import MixtureInfo, MixtureRow, bits_info, facts, front_info
from mpsearch.report.page_parts import PagePart, float_table, front_table, header, layer_table, mixture_table, run_notes
from mpsearch.report.wording import MINUS
from tests.report.summaries import HOSTILE, hostile_summary, make_summary


def rows(html: str) -> list[list[str]]:
    """Cells of the body, tags left out."""
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", body)]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


def test_the_front_then_the_uniform_then_the_winner() -> None:
    info = front_info(make_summary())
    table = rows(front_table(info))
    assert [row[0] for row in table[:-2]] == [f"trial {p.number}" for p in info.front]
    assert table[-2][0] == "best uniform"
    assert table[-1][0].startswith("winner")
    assert table[-1][1:4] == [f"{info.winner.amount:,.0f} B", f"{100 * info.winner.metric:.2f} %", "full QAT"]
    assert [row[-1] for row in table] == ["yes" if p.feasible else "no" for p in (*info.front, info.uniform, info.winner) if p]
    assert len(rows(front_table(replace(info, front=(), uniform=None)))) == 1


def test_layers_sum_up_to_the_file() -> None:
    summary = make_summary()
    info = bits_info(summary)
    html = layer_table(info)
    table = rows(html)
    assert [row[0] for row in table] == [layer.name for layer in summary.layers]
    total = sum(int(row[6].replace(",", "")) for row in table)
    assert f"All layers together: {total:,} B." in html
    assert f"another {summary.artifact_bytes - total:,} B" in html


def test_the_mixture_itself_is_the_last_row() -> None:
    parts = (MixtureRow(name="a", weight=0.5, share=0.75, rho=0.6), MixtureRow(name="b", weight=2.0, share=0.25, rho=-0.4))
    info = MixtureInfo(name="mix", rows=parts, rho=0.9, allocations=20, floor=0.125, finding="")
    assert rows(mixture_table(info)) == [["a", "0.5", "75 %", "0.60"], ["b", "2", "25 %", f"{MINUS}0.40"], ["mix", "", "", "0.90"]]
    assert "0.125 nats of the loss do not depend on the bits" in mixture_table(info)


def test_the_header_says_won_draw_or_lost() -> None:
    summary = make_summary()
    for metric, word in ((0.9, "won; "), (0.8781, "a draw; "), (0.5, "did not win; ")):
        scores = {**summary.test, "winner": replace(summary.test["winner"], metric=metric, error=1 - metric)}
        test = replace(summary, test={**scores, "uniform": replace(summary.test["uniform"], error=1 - 0.8781)})
        assert word in header(test, facts(test))
    over = replace(summary, artifact_bytes=80_001)
    assert "1 B too much" in header(over, facts(over))


def test_phases_add_up_to_the_total() -> None:
    summary = make_summary()
    table = rows(run_notes(summary).html())
    assert [row[0] for row in table] == [*summary.seconds, "total"]
    assert table[-1][1] == "17 min 42 s"  # 1,061.9 s


def test_text_is_escaped_and_html_is_not() -> None:
    part = PagePart(anchor="a", title=HOSTILE, finding=HOSTILE, reading=HOSTILE, figure="<b>drawn</b>", extra="<i>more</i>")
    text = part.html()
    assert HOSTILE not in text
    assert "<b>drawn</b>" in text
    assert text.count("<i>more</i>") == 1
    assert PagePart(anchor="a", title="t", empty="because <b>").html().count("because &lt;b&gt;") == 1
    summary = hostile_summary()
    for html in (header(summary, facts(summary)), front_table(front_info(summary)), layer_table(bits_info(summary))):
        assert HOSTILE not in html


def test_what_stays_float_is_a_table() -> None:
    group = Unquantized(reason="<b>", tensors=2, bytes=1_234, parameters=1, largest=("a<", "b"), largest_bytes=(4, 4))
    html = float_table((group,))
    assert "1,234" in html
    assert "&lt;b&gt;" in html
    assert "a&lt;, b" in html
    assert float_table(()) == ""
