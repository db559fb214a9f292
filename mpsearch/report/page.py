"""`front.html`: the report of a run as one self-contained page, which opens without a network connection."""

from __future__ import annotations

from html import escape
from pathlib import Path

from mpsearch.core.files import write_text
from mpsearch.core.summary import CARD, Summary
from mpsearch.report import figures
from mpsearch.report.info import bits_info, curves_info, facts, front_costs, front_info, history_info, mixture_infos, signal_infos
from mpsearch.report.page_parts import PagePart, float_table, front_table, header, layer_table, mixture_table, run_notes
from mpsearch.report.stylesheet import STYLE
from mpsearch.report.wording import is_fraction

__all__ = ["page_html", "write_page"]

_COST_NAMES = {"size": "size", "bits": "mean weight bits", "bops": "bit operations", "latency": "latency"}
# The page fetches nothing, whatever a layer's name contains; plotly.js needs inline scripts and styles, and data: URLs to save pictures.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
_PRINTING = """
const resizeAll = () => document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
window.matchMedia("print").addEventListener("change", resizeAll);
window.addEventListener("beforeprint", resizeAll);
window.addEventListener("afterprint", resizeAll);
"""


def write_page(summary: Summary, path: Path) -> Path:
    """Write the page, whole or not at all.

    Args:
        summary: results of the run.
        path: the HTML file; its directory is created if missing.

    Returns:
        The path.
    """
    return write_text(path, page_html(summary))


def page_html(summary: Summary) -> str:
    """The whole page as text."""
    parts = _parts(summary)
    links = "".join(f'<li><a href="#{escape(part.anchor)}">{escape(part.title)}</a></li>' for part in parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(summary.name)} · mpsearch</title>
<style>{STYLE}</style>
<script>{figures.plotly_script()}</script>
</head>
<body>
<div class="wrap">
{header(summary, facts(summary))}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{"".join(part.html() for part in parts)}
</main>
<footer>Written by mpsearch. Scores are of the validation split unless the page says test; the test split is read once, at the end.
{_card_link(summary)}</footer>
</div>
<script>{_PRINTING}</script>
</body>
</html>
"""


def _card_link(summary: Summary) -> str:
    return f'What else moves accuracy: <a href="{CARD}">quantization card</a>.' if summary.card else ""


def _parts(summary: Summary) -> list[PagePart]:
    fronts = [_front(summary, cost, number) for number, cost in enumerate(front_costs(summary))]
    return [*fronts, _bits(summary), _signals(summary), _history(summary), _curves(summary), run_notes(summary)]


def _front(summary: Summary, cost: str, number: int) -> PagePart:
    info = front_info(summary, cost=cost)
    return PagePart(
        anchor=f"front-{number}",
        title=f"{summary.metric.capitalize() if is_fraction(summary.metric) else summary.metric} against {_COST_NAMES.get(cost, cost)}",
        finding=info.finding,
        reading="Each mark is a trial; its shape shows how far it was trained, and pale marks exceed a budget. "
        "The line is the front: no trial is both cheaper and better than one on it. Hover over a mark for the bits of its layers.",
        figure=figures.figure_html(figures.front_figure(info), f"plot-front-{number}"),
        extra=front_table(info),
    )


def _bits(summary: Summary) -> PagePart:
    info = bits_info(summary)
    activations = " Diamonds show the bits of the layer's input." if info.mean_act_bits is not None else " Activations stay in float."
    return PagePart(
        anchor="bits",
        title="Bits of the winner, layer by layer",
        finding=info.finding,
        reading=f"Layers in forward order. Bars show the bits of the weights.{activations}",
        figure=figures.figure_html(figures.bits_figure(info), "plot-bits"),
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
        figure="" if empty else figures.figure_html(figures.signals_figure(infos), "plot-signals"),
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
        figure="" if info.empty else figures.figure_html(figures.history_figure(info), "plot-history"),
        empty=info.empty,
    )


def _curves(summary: Summary) -> PagePart:
    info = curves_info(summary)
    return PagePart(
        anchor="retraining",
        title="Retraining",
        finding=info.finding,
        reading="The winner, the best uniform allocation and the float control, trained with the same recipe.",
        figure="" if info.empty else figures.figure_html(figures.curves_figure(info), "plot-retraining"),
        empty=info.empty,
        extra="" if info.empty or not info.missing else f'<p class="empty">{escape(" ".join(info.missing))}</p>',
    )
