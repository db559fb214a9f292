"""Parts of the page as HTML; all text from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from mpsearch.core.summary import Summary
from mpsearch.core.unquantized import Unquantized, bytes_of
from mpsearch.costs.budgets import format_amount, short_amount
from mpsearch.report import palette
from mpsearch.report.info import BitsInfo, BudgetCheck, Facts, FrontInfo, MixtureInfo, Point, delivery_lines, replaced_sentence
from mpsearch.report.wording import (
    TIMES,
    covered_text,
    duration_text,
    foresight_sentence,
    format_text,
    gain_text,
    kept_sentence,
    latency_sentence,
    metric_text,
    shape_text,
)

__all__ = ["float_table", "front_table", "header", "layer_table", "mixture_table", "run_notes"]


@dataclass(frozen=True, kw_only=True)
class PagePart:
    """One part of the page under its own heading.

    Args:
        anchor: id of the heading.
        title: text of the heading.
        finding: one sentence on what is seen.
        reading: how to read the figure.
        figure: HTML.
        charts: specifications of the charts that the script draws in place of `figure`.
        empty: why there is no figure.
        extra: HTML below the figure.
    """

    anchor: str
    title: str
    finding: str = ""
    reading: str = ""
    figure: str = ""
    charts: tuple[Mapping[str, Any], ...] = ()
    empty: str = ""
    extra: str = ""

    def html(self) -> str:
        """A `<section>` with heading, finding, figure and tables."""
        anchor = escape(self.anchor)
        finding = f"<p>{escape(self.finding)}</p>" if self.finding else ""
        figure = f'<div id="chart-{anchor}"></div>' if self.charts else self.figure
        if figure:
            label = escape(f"{self.title}. {self.finding}")
            body = f'<figure role="group" aria-label="{label}">{figure}<figcaption>{escape(self.reading)}</figcaption></figure>'
        else:
            body = f'<p class="empty">{escape(self.empty)}</p>' if self.empty else ""
        head = f'<h2 id="{anchor}-title">{escape(self.title)}</h2>'
        return f'<section id="{anchor}" aria-labelledby="{anchor}-title">{head}{finding}{body}{self.extra}</section>\n'


def header(summary: Summary, known: Facts) -> str:
    """The head of the page: name, headline, figures of the run and its command."""
    tiles = "".join(f'<div class="tile"><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in _tiles(summary, known))
    words = [
        summary.model,
        summary.data,
        f"effort {summary.effort}",
        f"seed {summary.seed}",
        *(f"budget {budget.text}" for budget in summary.budgets),
    ]
    return f"""<header>
<button type="button" id="theme" hidden>Dark</button>
<h1>{escape(summary.name)}</h1>
<p class="sub">{escape(" · ".join(words))}</p>
<p class="headline">{escape(_headline(summary, known))}</p>
<dl class="tiles">{tiles}</dl>
<pre class="command"><code>{escape(summary.command)}</code></pre>
</header>"""


def _headline(summary: Summary, known: Facts) -> str:
    score = metric_text(summary.metric, known.scores["winner"].metric)
    size = f"{format_amount('size', summary.artifact_bytes)} {summary.place}, {known.compression:.1f}{TIMES} smaller than float"
    verdict = known.verdict.sentence
    parts = [
        f"{score} on the {known.split} split in {size}.",
        kept_sentence(summary),
        replaced_sentence(summary),
        f"{verdict[:1].upper()}{verdict[1:]}.",
    ]
    return " ".join(filter(None, parts))


def _tiles(summary: Summary, known: Facts) -> list[tuple[str, str]]:
    metric, bits = summary.metric, known.bits
    shown = {name: metric_text(metric, score.metric) for name, score in known.scores.items()}
    more = _small(f"{shown['control']} after the same training") if "control" in shown else ""
    act = "activations in float" if bits.mean_act_bits is None else f"activations {bits.mean_act_bits:.2f} bit"
    of_what = f"of {covered_text(summary)}; " if summary.unquantized else ""
    alone = f"packed weights only: {format_amount('size', bits.weight_bytes)}"
    return [
        (f"Final {metric}, {known.split} split", escape(shown["winner"]) + _small(f"{gain_text(metric, known.drop)} against float")),
        (f"Float {metric}, {known.split} split", escape(shown["float"]) + more),
        ("Mixed against best uniform", _verdict(metric, known)),
        *(
            (f"{'File' if check.budget.cost == 'size' else check.budget.cost.capitalize()} against budget", _budget(check))
            for check in known.budgets
        ),
        ("Compression", f"{known.compression:.1f}{TIMES}{_small(short_amount('size', known.float_bytes) + ' in float32')}"),
        ("Mean weight bits", f"{bits.mean_weight_bits:.2f}{_small(f'{of_what}{act}; {alone}')}"),
    ]


def _verdict(metric: str, known: Facts) -> str:
    verdict = known.verdict
    if verdict.gain is None:
        return f"&ndash;{_small(verdict.sentence)}"
    word, tone = {True: ("won", "good"), False: ("did not win", "bad"), None: ("a draw", "")}[verdict.won]
    uniform = metric_text(metric, known.scores["uniform"].metric)
    return f'<span class="{tone}">{escape(gain_text(metric, verdict.gain))}</span>{_small(f"{word}; uniform: {uniform}")}'


def _budget(check: BudgetCheck) -> str:
    cost, budget = check.budget.cost, check.budget
    word = f"{format_amount(cost, abs(budget.limit - check.amount))} {'unused' if check.ok else 'too much'}"
    tone = "good" if check.ok else "bad"
    return f'<span class="{tone}">{escape(format_amount(cost, check.amount))}</span>{_small(f"of {budget.text}; {word}")}'


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>"


def front_table(info: FrontInfo) -> str:
    """The front, cheapest first, with the best uniform allocation and the winner below."""
    rows = [(f"trial {p.number}", p) for p in info.front]
    if info.uniform is not None:
        rows.append(("best uniform", info.uniform))
    rows += [(f"front/{name}", p) for name, p in info.points_of_front]
    rows.append(("winner", info.winner))
    head = _head(["", ("num", info.cost), ("num", f"validation {info.metric}"), "trained", "proposed by", "meets budgets"])
    body = "".join(_front_row(info, name, p) for name, p in rows)
    return _table("The front of the trials, cheapest first; below it the best uniform allocation and the winner.", head, body)


def _front_row(info: FrontInfo, name: str, p: Point) -> str:
    css, star = ("winner", ' <span class="star" aria-hidden="true">&#9733;</span>') if p is info.winner else ("", "")
    fits = "yes" if p.feasible else '<span class="bad">no</span>'
    amount, score = escape(format_amount(info.cost, p.amount)), escape(metric_text(info.metric, p.metric))
    numbers = f'<td class="num">{amount}</td><td class="num">{score}</td>'
    words = f"<td>{escape(palette.rung_title(p.rung))}</td><td>{escape(p.origin)}</td><td>{fits}</td>"
    button = f'<button type="button" data-select="0:{escape(name)}">{escape(name)}</button>'
    return f'<tr class="{css}"><th scope="row">{button}{star}</th>{numbers}{words}</tr>'


def layer_table(info: BitsInfo) -> str:
    """The winner's layers: shape, bits, bytes in the file."""
    numbers = ("weights", "weight bits", "input bits", "bytes", "share")
    head = _head(["layer", "kind", "weight shape", *(("num", name) for name in numbers)])
    body = "".join(
        f'<tr><th scope="row">{escape(row.layer.name)}</th><td>{escape(row.layer.kind)}</td><td>{shape_text(row.layer.weight_shape)}</td>'
        f'<td class="num">{row.layer.weights:,}</td>'
        f'<td class="num">{format_text(row.choice.weight)}</td><td class="num">{format_text(row.choice.activation)}</td>'
        f'<td class="num">{row.bytes:,}</td><td class="num">{100 * row.share:.1f} %</td></tr>'
        for row in info.layers
    )
    caption = (
        f"Bytes in the file: packed weights, scales, biases. All layers together: {info.layer_bytes:,} B. "
        f"The header and what is not quantized take another {info.overhead_bytes:,} B."
    )
    table = _table(caption, head, body)
    return f"<details open><summary>All {len(info.layers)} layers</summary>{table}</details>"


def float_table(groups: Sequence[Unquantized]) -> str:
    """What stays float whatever the bits: bytes in the file, tensors, the largest of them."""
    if not groups:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(group.reason)}</th><td class="num">{group.tensors}</td><td class="num">{group.bytes:,}</td>'
        f"<td>{escape(', '.join(group.largest))}</td></tr>"
        for group in groups
    )
    caption = f"What stays float whatever the bits: {bytes_of(groups):,} B of the file."
    return _table(caption, _head(["", ("num", "tensors"), ("num", "bytes"), "largest"]), body)


def mixture_table(info: MixtureInfo) -> str:
    """The signals in a mixture: weight, share of the predicted damage, rank correlation alone; the last row is the mixture."""
    head = _head(["signal", ("num", "weight"), ("num", "share"), ("num", "rank correlation")])
    body = "".join(
        f'<tr><th scope="row">{escape(row.name)}</th><td class="num">{row.weight:.3g}</td><td class="num">{100 * row.share:.0f} %</td>'
        f'<td class="num">{_signed(row.rho)}</td></tr>'
        for row in info.rows
    )
    whole = f'<tr class="winner"><th scope="row">{escape(info.name)}</th><td></td><td></td><td class="num">{_signed(info.rho)}</td></tr>'
    caption = (
        f"The signals in {escape(info.name)}, weighted by the losses of {info.allocations} random allocations near the budgets. "
        f"The last row ranks each allocation by a fit without it. {_nats(info.floor)} of the loss do not depend on the bits."
    )
    return _table(caption, head, body + whole)


def _nats(value: float) -> str:
    return f"{value:.3g} nats".replace("-", "\u2212")


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212")


def run_notes(summary: Summary) -> PagePart:
    """What was skipped, the range of costs in the space, and where the time went."""
    skipped = "".join(f"<li>{escape(sentence)}</li>" for sentence in summary.skipped) or "<li>Nothing was skipped.</li>"
    reach = "".join(
        f"<li>{escape(cost)}: from {escape(format_amount(cost, low))} to {escape(format_amount(cost, high))}</li>"
        for cost, (low, high) in summary.reachable.items()
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(phase)}</th><td class="num">{escape(duration_text(s))}</td></tr>'
        for phase, s in summary.seconds.items()
    )
    total = f'<tr><th scope="row">total</th><td class="num">{duration_text(sum(summary.seconds.values()))}</td></tr>'
    times = _table("Wall time by phase", _head(["phase", ("num", "time")]), rows + total)
    compared = "".join(f"<li>{escape(line)}</li>" for line in delivery_lines(summary))
    compared = f"<p>What was compared before delivery:</p><ul>{compared}</ul>" if compared else ""
    norms = "" if summary.batchnorm is None else f"<p>{escape(summary.batchnorm.sentence)}</p>"
    norms += "" if summary.latency is None else f"<p>{escape(latency_sentence(summary))}</p>"
    norms += "" if summary.foresight is None else f"<p>{escape(foresight_sentence(summary))}</p>"
    reached = f"<p>Costs that the search space can reach:</p><ul>{reach}</ul>"
    return PagePart(
        anchor="run", title="The run itself", extra=f"<p>What this run left out:</p><ul>{skipped}</ul>{norms}{compared}{reached}{times}"
    )


def _table(caption: str, head: str, body: str) -> str:
    return f'<div class="scroll"><table><caption>{caption}</caption>{head}<tbody>{body}</tbody></table></div>'


def _head(columns: list[str | tuple[str, str]]) -> str:
    cells = [("", column) if isinstance(column, str) else column for column in columns]
    return (
        "<thead><tr>"
        + "".join(f'<th scope="col" class="{css}">{escape(text)}</th>' if text else "<td></td>" for css, text in cells)
        + "</tr></thead>"
    )
