"""Text inside Plotly figures; Plotly interprets some HTML in it, so all text from outside is escaped here."""

from __future__ import annotations

import html

from mpsearch.costs.budgets import format_amount
from mpsearch.report import palette
from mpsearch.report.info import LayerBits, Point
from mpsearch.report.info.signals import SignalPair
from mpsearch.report.wording import format_words, metric_text, shape_text

__all__ = ["escaped", "layer_hover", "pair_hover", "point_hover", "short_name"]

_END = "<extra></extra>"
_LONGEST_NAME = 28


def escaped(text: str) -> str:
    """Text that Plotly shows unchanged."""
    return html.escape(text, quote=False)


def short_name(name: str) -> str:
    """A layer's name shortened for an axis; the end stays, because it says more than the beginning."""
    return escaped(name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}")


def point_hover(p: Point, title: str, cost: str | None, metric: str) -> str:
    """A point: who proposed it, its score, its cost, and the bits of its layers."""
    amount = "" if cost is None else f" at {format_amount(cost, p.amount)}"
    rows = [
        f"<b>{title}</b> · {escaped(p.origin)} · {escaped(palette.rung_title(p.rung))}",
        f"{escaped(metric)} {metric_text(metric, p.metric)}{amount}{'' if p.feasible else ' · over the budget'}",
        *(escaped(line).replace("    ", "&nbsp;&nbsp;&nbsp;") for line in p.bits),
    ]
    return "<br>".join(rows) + _END


def layer_hover(row: LayerBits) -> str:
    """A layer: shape, bits, bytes and share of the file."""
    rows = [
        f"<b>{escaped(row.layer.name)}</b>",
        f"{escaped(row.layer.kind)} {shape_text(row.layer.weight_shape)}",
        f"weights {format_words(row.choice.weight)}, activations {format_words(row.choice.activation)}",
        f"{row.bytes:,} B in the file, {100 * row.share:.1f} % of the layers",
    ]
    return "<br>".join(rows) + _END


def pair_hover(pair: SignalPair) -> str:
    """A trial: what a signal predicts and what was measured."""
    rows = [f"<b>trial {pair.number}</b> · {escaped(pair.origin)}", f"predicted {pair.predicted:.4g}", f"measured {pair.measured:.4g}"]
    return "<br>".join(rows) + _END
