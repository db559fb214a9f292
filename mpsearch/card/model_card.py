"""`model_card`: the README of a folder of `save_pretrained`: YAML front matter as the Hugging Face Hub reads it, then the run in short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mpsearch.core.printable import printable
from mpsearch.core.summary import CARD, Summary
from mpsearch.core.version import __version__
from mpsearch.costs.budgets import format_amount, short_amount
from mpsearch.report.info import bits_info, facts
from mpsearch.report.wording import TIMES, format_text, gain_text, metric_text

__all__ = ["model_card"]


def model_card(summary: Summary, *, target: str, registered: bool, options: str = "") -> str:
    """The text of the model card.

    Args:
        summary: results of the run.
        target: of the artifact.
        registered: whether mpsearch builds the architecture by its name.
        options: spelled keyword arguments of the architecture, for the reader.
    """
    return "\n".join([*_front_matter(summary, target), "", *_body(summary, target, registered, options), ""])


def _front_matter(summary: Summary, target: str) -> Iterator[str]:
    """Every value is spelled as JSON, which YAML reads as it is meant, whatever is in it."""
    known = facts(summary)
    figures = {summary.metric: known.scores["winner"].metric, "file size in bytes": summary.artifact_bytes}
    figures["mean weight bits"] = round(known.bits.mean_weight_bits, 4)
    if known.bits.mean_act_bits is not None:
        figures["mean activation bits"] = round(known.bits.mean_act_bits, 4)
    yield "---"
    yield f"library_name: {_quoted('mpsearch')}"
    yield f"tags: {_quoted(['mpsearch', 'quantized', 'mixed-precision', target])}"
    yield f"metrics: {_quoted([summary.metric])}"
    yield "model-index:"
    yield f"- name: {_quoted(summary.name)}"
    yield "  results:"
    yield f"  - task: {_quoted({'type': 'other'})}"
    yield f"    dataset: {_quoted({'name': summary.data, 'type': summary.data, 'split': known.split})}"
    yield "    metrics:"
    for name, value in figures.items():
        yield f"    - {_quoted({'type': name, 'value': value, 'name': name})}"
    yield "---"


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def _body(summary: Summary, target: str, registered: bool, options: str) -> Iterator[str]:
    known, metric = facts(summary), summary.metric
    shown = {name: metric_text(metric, score.metric) for name, score in known.scores.items()}
    size = format_amount("size", summary.artifact_bytes)
    yield f"# {_text(summary.name)}"
    yield ""
    drop = gain_text(metric, known.drop)
    yield (
        f"`{_code(summary.model)}` with bits that differ from layer to layer: {size}, {known.compression:.1f}{TIMES} smaller than float, "
        f"{_text(metric)} {shown['winner']} on the {known.split} split ({drop} against float)."
    )
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in _rows(summary, target, shown):
        yield f"| {_text(name)} | {_text(value)} |"
    yield ""
    yield "## Load it"
    yield ""
    yield "```python"
    yield "import mpsearch"
    yield ""
    given = "" if registered else ", model=architecture"
    if not registered:
        yield f"# architecture: the float network, {' '.join(filter(None, [_code(summary.model), options]))}; its weights do not matter"
    yield f'network = mpsearch.from_pretrained("this folder"{given})  # a torch.nn.Module in evaluation mode'
    yield "```"
    yield ""
    yield "Its outputs are bit for bit those that were scored. No code in this folder is run."
    yield ""
    yield "## Bits of every layer"
    yield ""
    yield "| layer | weights | weight bits | input bits |"
    yield "|---|---:|---:|---:|"
    for row in bits_info(summary).layers:
        weight, activation = format_text(row.choice.weight), format_text(row.choice.activation)
        yield f"| `{_code(row.layer.name)}` | {row.layer.weights:,} | {weight} | {activation} |"
    yield ""
    yield "## How it was made"
    yield ""
    for line in printable(summary.command).splitlines() or [""]:
        yield f"    {line}"
    yield ""
    yield f"mpsearch {__version__}, seed {summary.seed}, effort {_text(summary.effort)}."
    if summary.card:
        yield f"What was quantized, calibrated and counted how: [the quantization card]({CARD})."
    yield "License, intended use and limits are those of the float network and its data; add them here."


def _rows(summary: Summary, target: str, shown: dict[str, str]) -> Iterator[tuple[str, str]]:
    known = facts(summary)
    yield "file", f"{Path(summary.artifact).name}, {format_amount('size', summary.artifact_bytes)} (target {target})"
    yield "float32", short_amount("size", known.float_bytes)
    bits = known.bits
    yield "mean weight bits", f"{bits.mean_weight_bits:.3f}"
    yield "mean activation bits", "float" if bits.mean_act_bits is None else f"{bits.mean_act_bits:.3f}"
    names = {"winner": "this network", "float": "float", "uniform": "best uniform bits that fit, trained alike"}
    for name, words in names.items():
        if name in shown:
            yield f"{summary.metric}, {known.split} split: {words}", shown[name]
    for check in known.budgets:
        yield f"budget {check.budget.text}", f"{format_amount(check.budget.cost, check.amount)}, {'met' if check.ok else 'exceeded'}"
    yield "data", summary.data


def _text(text: str) -> str:
    """Plain text in Markdown: what would be markup, a cell's end or HTML is spelled out."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in printable(text))
    return " ".join(escaped.split())


def _code(text: str) -> str:
    """Text within backticks, in a cell or out of it."""
    return " ".join(printable(text).replace("`", "'").replace("|", "\\|").split())
