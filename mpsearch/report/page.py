"""`front.html`: the report of a run as one self-contained page, which opens without a network connection."""

from __future__ import annotations

from html import escape
from pathlib import Path

from mpsearch.core.files import write_text
from mpsearch.core.summary import CARD, Summary
from mpsearch.report import charts
from mpsearch.report.document import document
from mpsearch.report.explorer_data import explorer_data
from mpsearch.report.info import bits_info, curves_info, facts, front_info, history_info, mixture_infos, signal_infos
from mpsearch.report.info.explorer import RunDetails, ShownRun, explorer_info
from mpsearch.report.page_parts import PagePart, float_table, front_table, header, layer_table, mixture_table, run_notes
from mpsearch.report.wording import is_fraction

__all__ = ["page_html", "write_page"]


def write_page(summary: Summary, path: Path, details: RunDetails | None = None) -> Path:
    """Write the page, whole or not at all.

    Args:
        summary: results of the run.
        path: the HTML file; its directory is created if missing.
        details: what the run directory tells besides.

    Returns:
        The path.
    """
    return write_text(path, page_html(summary, details))


def page_html(summary: Summary, details: RunDetails | None = None) -> str:
    """The whole page as text."""
    shown = ShownRun(name=summary.name, summary=summary, details=details or RunDetails())
    parts = _parts(shown)
    links = "".join(f'<li><a href="#{escape(part.anchor)}">{escape(part.title)}</a></li>' for part in parts)
    body = f"""{header(summary, facts(summary))}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{"".join(part.html() for part in parts)}
</main>
<footer>Written by mpsearch. Scores are of the validation split unless the page says test; the test split is read once, at the end.
{_card_link(summary)}</footer>"""
    told = {f"chart-{part.anchor}": part.charts for part in parts if part.charts}
    return document(summary.name, body, {"charts": told, "explorer": explorer_data(explorer_info([shown]))})


def _card_link(summary: Summary) -> str:
    return f'What else moves accuracy: <a href="{CARD}">quantization card</a>.' if summary.card else ""


def _parts(shown: ShownRun) -> list[PagePart]:
    summary = shown.summary
    return [_front(shown), _bits(summary), _signals(summary), _history(summary), _curves(summary), run_notes(summary)]


def _front(shown: ShownRun) -> PagePart:
    summary = shown.summary
    info = front_info(summary)
    missing = f'<p class="empty">{escape(shown.details.missing)}</p>' if shown.details.missing else ""
    return PagePart(
        anchor="front",
        title=f"{summary.metric.capitalize() if is_fraction(summary.metric) else summary.metric} against cost: pick a point",
        finding=info.finding,
        reading="Each mark is a network; its shape shows how far it was trained. The line is the front: no trial is both cheaper and "
        "better than one on it. The knee is where the front bends: before it, cost buys much, behind it, little.",
        figure='<div id="explorer"></div>',
        extra=f"{missing}<details><summary>The front as a table</summary>{front_table(info)}</details>",
    )


def _bits(summary: Summary) -> PagePart:
    info = bits_info(summary)
    return PagePart(
        anchor="bits",
        title="The winner, layer by layer",
        finding=info.finding + ("" if info.mean_act_bits is not None else " Activations stay in float."),
        extra=layer_table(info) + float_table(summary.unquantized),
    )


def _signals(summary: Summary) -> PagePart:
    infos, mixtures = signal_infos(summary), mixture_infos(summary.tables)
    empty = " ".join(info.empty for info in infos if info.empty) if infos else "No signal was measured in this run."
    return PagePart(
        anchor="signals",
        title="What the signals predicted",
        finding=" ".join([info.finding for info in infos if info.pairs] + [mixture.finding for mixture in mixtures]),
        reading="Each mark is a trial: the damage that a signal predicts for its bits, against the loss measured before any training. "
        "The closer the marks are to one rising line, the better the signal ranks allocations.",
        charts=() if empty else tuple(charts.signals_charts(infos)),
        empty=empty,
        extra="".join(map(mixture_table, mixtures)),
    )


def _history(summary: Summary) -> PagePart:
    info = history_info(summary)
    return PagePart(
        anchor="history",
        title="History of the study",
        finding=info.finding,
        reading="Trials in the order of their proposal, each with its score at the deepest rung it reached. "
        "The line is the best trial so far that meets every budget.",
        charts=() if info.empty else tuple(charts.history_charts(info)),
        empty=info.empty,
    )


def _curves(summary: Summary) -> PagePart:
    info = curves_info(summary)
    return PagePart(
        anchor="retraining",
        title="Retraining",
        finding=info.finding,
        reading="The winner, the best uniform allocation and the float control, trained with the same recipe.",
        charts=() if info.empty else tuple(charts.curves_charts(info)),
        empty=info.empty,
        extra="" if info.empty or not info.missing else f'<p class="empty">{escape(" ".join(info.missing))}</p>',
    )
