"""`card.md`: the card as a document, with a one-line header for tables of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from mpsearch.card.schema import NA, Card
from mpsearch.card.sections import AblationSection, CardSection, PrecisionSection
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.costs.budgets import format_amount, short_amount
from mpsearch.report.wording import format_text, gain_text, metric_text

__all__ = ["card_markdown", "header_line"]

_LONG = 24
_WIDE = 4
_SHORT = {"per output channel": "per-ch", "per tensor": "per-T"}


def card_markdown(card: Card) -> str:
    """The whole card as Markdown."""
    failed = "".join(f"> **This card fails:** {_cell(check)}\n>\n" for check in card.provenance.failed_checks)
    header = " ".join(header_line(card).split()).replace("`", "'")
    parts = [f"# Quantization card\n\n`{header}`\n", failed, *(_section(card, section) for section in card.sections)]
    return "\n".join(part for part in parts if part)


def header_line(card: Card) -> str:
    """The card in one line: `resnet20 | W2.31/A32 weights only, 99.4 % of parameters | … | 89.01 % test (FP 89.30 %) | 79.9 KB | …`."""
    costs, result = card.costs, card.result
    acts = f"A{costs.mean_input_bits:.2f}" if isinstance(costs.mean_input_bits, float | int) else f"A{FLOAT_BITS}"
    words = [
        card.model.architecture,
        f"W{costs.mean_weight_bits:.2f}/{acts} {card.coverage.scope}, {100 * card.coverage.parameters:.1f} % of parameters",
        card.resources.tier,
        _formats(card),
        f"first/last {card.coverage.ends}",
        _allowed(card.precision.allowed),
        _data(card),
        f"{_score(card)} {result.split} (FP {_metric(result.metric, card.model.float_metric.get(result.split))})",
        short_amount("size", costs.file_bytes),
        format_amount("bops", costs.bops),
        _latency(costs.latency),
    ]
    line = " | ".join(words)
    return f"FAILED: {line}" if card.provenance.failed_checks else line


def _formats(card: Card) -> str:
    def symmetry(part: Any) -> str:
        if not isinstance(part, Mapping):
            return "float"
        how = part.get("symmetric")
        return str(how) if not isinstance(how, bool) else "sym" if how else "asym"

    activations, granularity = symmetry(card.formats.activations), card.granularity
    acts = "float A" if activations == "float" else f"{_SHORT.get(granularity.activations, granularity.activations)} {activations} A"
    return f"{_SHORT.get(granularity.weights, granularity.weights)} {symmetry(card.formats.weights)} W, {acts}"


def _allowed(spelled: Sequence[str]) -> str:
    """`W{2, 4, 8}/A{8, float}`."""
    choices = [Choice.parse(text) for text in spelled]
    weights, acts = sorted({c.weight for c in choices}), sorted({c.activation for c in choices})
    return f"W{{{', '.join(map(format_text, weights))}}}/A{{{', '.join(map(format_text, acts))}}}"


def _data(card: Card) -> str:
    used = {name: entry for name, entry in card.data.use.items() if name in ("calibration", "search", "fine-tune")}
    images = max((entry["images"] for entry in used.values() if isinstance(entry["images"], int)), default=0)
    return f"{images} img {'with' if any(entry['labels'] for entry in used.values()) else 'no'} labels"


def _score(card: Card) -> str:
    mean = _metric(card.result.metric, card.result.mean)
    return f"{mean} ± {_metric(card.result.metric, card.result.std)}" if isinstance(card.result.std, float) else mean


def _metric(name: str, value: Any) -> str:
    return metric_text(name, value) if isinstance(value, float | int) else str(NA if value is None else value)


def _latency(latency: Any) -> str:
    if isinstance(latency, Mapping) and isinstance(latency.get("seconds"), float | int):
        return f"latency {format_amount('latency', latency['seconds'])} ({latency.get('how', NA)})"
    return f"latency {latency}"


def _section(card: Card, section: CardSection) -> str:
    heading = f"## {section.letter}. {section.title}\n"
    if isinstance(section, AblationSection):
        return heading + "\n" + _ablation(card, section)
    rows: list[tuple[str, str]] = []
    tables: list[str] = []
    for place in fields(section):
        value = getattr(section, place.name)
        if isinstance(section, PrecisionSection) and place.name == "bits":
            tables.append(_bits(value))
        elif isinstance(value, Mapping) and value and all(isinstance(item, Mapping) for item in value.values()):
            tables.append(_grid(place.name, value))
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            tables.append(_grid(place.name, {str(number): item for number, item in enumerate(value, 1)}))
        elif isinstance(value, Mapping) and len(value) >= _WIDE:
            tables.append(_table([_words(place.name), ""], [(_words(name), _text(item)) for name, item in value.items()]))
        else:
            rows.append((_words(place.name), _text(value)))
    body = _table(["field", "value"], rows) if rows else ""
    return "\n".join([heading, body, *tables])


def _ablation(card: Card, section: AblationSection) -> str:
    metric = card.result.metric
    rows = []
    for flip in section.flips:
        change = gain_text(metric, flip.metric_change) if isinstance(flip.metric_change, float | int) else _text(flip.metric_change)
        rows.append((flip.toggle, flip.what, flip.status, change, _text(flip.cost_change), flip.note))
    base = f"{section.path}. Unflipped {metric}: {_metric(metric, section.unflipped_metric)} on {section.samples:,} samples.\n\n"
    return base + _table(["", "flip", "status", f"{metric} changes by", "cost changes by", "note"], rows)


def _bits(bits: Mapping[str, Sequence[int]]) -> str:
    return _table(
        ["layer", "weight bits", "input bits"],
        [(name, format_text(c.weight), format_text(c.activation)) for name, c in Allocation.from_dict(bits).items()],
    )


def _grid(title: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for entry in entries.values() for key in entry))
    rows = [(name, *(_text(entry.get(column, "")) for column in columns)) for name, entry in entries.items()]
    return _table([_words(title), *map(_words, columns)], rows)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """The text as one line, without anything that ends a cell, opens a tag or makes a link."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        shown = [_text(item) for item in value[:_LONG]]
        more = f" and {len(value) - _LONG} more" if len(value) > _LONG else ""
        return (", ".join(shown) + more) or "none"
    return str(value)
