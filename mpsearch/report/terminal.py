"""Tables and the closing summary in the terminal, printed by rich; names from outside are neither markup nor commands to the terminal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.layer import Layer
from mpsearch.core.peak import CostTable
from mpsearch.core.plan import Plan
from mpsearch.core.printable import printable
from mpsearch.core.summary import Summary
from mpsearch.core.table import Table
from mpsearch.costs.budgets import format_amount, short_amount
from mpsearch.costs.latency_profile import LatencyProfile
from mpsearch.report import palette
from mpsearch.report.info import BudgetCheck, Facts, delivery_lines, facts, front_info, replaced_sentence
from mpsearch.report.info.points import point
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
from mpsearch.study.status import Status

__all__ = [
    "allocation_table",
    "front_table",
    "latency_table",
    "plan_table",
    "print_summary",
    "sensitivity_table",
    "status_table",
    "sum_sentences",
]


def front_table(summary: Summary, *, cost: str = "size") -> Grid:
    """The front of the trials, cheapest first, with the best uniform allocation and the winner below."""
    info = front_info(summary, cost=cost)
    grid = _grid(
        f"Front: {summary.metric} against {cost}", ["trial"], [cost, "mean bits", f"val. {summary.metric}"], ["trained", "origin", "budget"]
    )
    allocations = {record.number: record.allocation for record in summary.trials}
    rows = [(str(p.number), p, allocations[p.number], "") for p in info.front]
    if info.uniform is not None and summary.uniform is not None:
        rows.append(("uniform", info.uniform, summary.uniform.allocation, ""))
    rows += [(f"front/{each.name}", point(each.record, cost), each.record.allocation, "bold") for each in summary.front]
    rows.append(("winner", info.winner, summary.winner.allocation, "bold"))
    for name, p, allocation, style in rows:
        mean = f"{allocation.mean_weight_bits(summary.layers):.2f}"
        fits = Text("ok", style="green") if p.feasible else Text("over", style="red")
        cells = [name, format_amount(cost, p.amount), mean, metric_text(info.metric, p.metric), palette.rung_title(p.rung), p.origin]
        grid.add_row(*map(_text, cells), fits, style=style)
    return grid


def print_summary(summary: Summary, console: Console, run: Path) -> None:
    """Print the front and the results of a run.

    Args:
        summary: results of the run.
        console: where to print.
        run: the run directory.
    """
    known = facts(summary)
    console.print(front_table(summary))
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, value in [*_scores(summary, known), *_sizes(summary, known), *_floats(summary), *_places(summary, run)]:
        grid.add_row(_text(name), value)
    console.print()
    console.print(grid)
    for sentence in delivery_lines(summary):
        console.print(_text(sentence, style="bold" if sentence == replaced_sentence(summary) else "dim"))
    if summary.kept is not None:
        console.print(_text(kept_sentence(summary), style="" if summary.kept.held else "bold red"))
    if summary.batchnorm is not None:
        console.print(_text(summary.batchnorm.sentence, style="dim"))
    if summary.latency is not None:
        console.print(_text(latency_sentence(summary)))
    if summary.foresight is not None:
        console.print(_text(foresight_sentence(summary), style="dim"))
    for sentence in summary.skipped:
        console.print(_text(f"left out: {sentence}", style="dim"))
    console.print()
    console.print(Text("Next:"))
    for command, purpose in _next_commands(summary, run):
        console.print(Text.assemble("  ", (printable(command), "bold"), (f"   {purpose}", "dim")), soft_wrap=True)


def plan_table(plan: Plan) -> Grid:
    """The phases of a run with the passes and the time that are expected."""
    grid = _grid("Plan", ["phase"], ["forward passes", "backward passes", "about"], ["what"])
    for phase in plan.phases:
        passes = (f"{round(count):,}" for count in (phase.forwards, phase.backwards))
        grid.add_row(_text(phase.name), *map(_text, passes), _text(duration_text(phase.seconds)), _text(phase.what))
    grid.add_row(_text("all", style="bold"), "", "", _text(duration_text(plan.seconds), style="bold"), "")
    grid.caption = _text("; ".join(plan.based_on))
    return grid


def status_table(status: Status) -> Grid:
    """What the workers of a study are at: a row for each, and its trial under way."""
    running: dict[str, list[str]] = {}
    for trial in status.running:
        under_way = f"trial {trial.number} ({trial.origin}) for {duration_text(trial.seconds)}, renewed {trial.renewals} times"
        running.setdefault(trial.worker, []).append(under_way)
    grid = _grid(f"Study {status.name}", ["worker"], ["trials ended"], ["under way"])
    for worker in dict.fromkeys([*status.by_worker, *running]):
        grid.add_row(_text(worker), _text(f"{status.by_worker.get(worker, 0):,}"), _text("; ".join(running.get(worker, ["-"]))))
    done = f"{status.done:,} of {status.trials:,} trials" if status.trials is not None else f"{status.done:,} trials"
    said = [f"ended: {status.ended}" if status.ended is not None else "at work", done]
    said += [f"{status.failed} failed"] * bool(status.failed) + [f"{status.waiting} to be taken over"] * bool(status.waiting)
    said += [f"{status.taken_over} taken over"] * bool(status.taken_over)
    said += [] if status.best is None else [f"best: trial {status.best[0]} with validation error {status.best[1]:.4f}"]
    said += [] if status.pace is None else [f"{status.pace:.3g} trials a minute"]
    said += [] if status.minutes_left is None else [f"done in about {duration_text(60 * status.minutes_left)}"]
    grid.caption, grid.min_width = _text("; ".join(said)), 100
    return grid


def sensitivity_table(table: Table, layers: Sequence[Layer]) -> Grid:
    """One signal: a row per layer, a column per choice; the highest value of each column stands out."""
    grid = _grid(f"{table.name}, {table.unit}" if table.unit else table.name, ["layer"], ["weights", *map(str, table.choices)], [])
    weights = {layer.name: layer.weights for layer in layers}
    worst = [max((v for v in column if not math.isnan(v)), default=math.nan) for column in table.values.T.tolist()]
    for name, row in zip(table.layers, table.values.tolist(), strict=True):
        cells = [
            Text("-") if math.isnan(v) else _text(f"{v:.2g}", style="bold red" if v == top and v > 0 else "")
            for v, top in zip(row, worst, strict=True)
        ]
        grid.add_row(_text(name), _text(f"{weights[name]:,}"), *cells)
    if table.cost:
        grid.caption = _text("cost: " + ", ".join(f"{name} {value:.4g}" for name, value in table.cost.items()))
    return grid


def latency_table(profile: LatencyProfile) -> Grid:
    """The times of a measured profile: a row per layer, a column per stored choice; median and half the distance of the quartiles."""
    choices = sorted({choice for cells in profile.cells.values() for choice in cells})
    grid = _grid(f"latency in µs a sample: {profile.place}", ["layer"], list(map(str, choices)), [])
    for layer in profile.layers:
        timings = [profile.cells.get(layer, {}).get(choice) for choice in choices]
        cells = ["-" if t is None else f"{t.median * 1e6:.4g} ±{(t.high - t.low) / 2 * 1e6:.2g}" for t in timings]
        grid.add_row(_text(layer), *map(_text, cells))
    if profile.pace is not None and profile.call is not None:
        grid.caption = _text(f"float network {profile.pace.median * 1e6:.4g}; a call without work {profile.call.median * 1e6:.3g}")
    return grid


def sum_sentences(profile: LatencyProfile) -> tuple[str, ...]:
    """How well the sum over layers predicts whole networks, and what has no time."""
    sentences = [f"no time: layer {layer} as {choice}: {why}" for layer, all_ in profile.unmeasured.items() for choice, why in all_.items()]
    check, correction = profile.check, profile.correction
    if check is None:
        return tuple(sentences)
    spreads = [(each.timing.high - each.timing.low) / 2 / each.timing.median for each in profile.networks]
    sentences.append(
        f"sum over layers against {check.networks} whole networks: error {check.median:.1%} in the median, {check.largest:.1%} at most; "
        f"spread of the networks' own times ±{sorted(spreads)[len(spreads) // 2]:.1%} in the median"
    )
    if check.corrected_median is not None and check.corrected_largest is not None:
        held_out = f"{check.corrected_median:.1%} in the median, {check.corrected_largest:.1%} at most, each network held out of the fit"
        used = "used" if correction is not None else "not used, since it is no better"
        line = "" if correction is None else f" ({correction.fixed * 1e6:+.4g} µs {correction.slope:+.3f} · sum)"
        sentences.append(f"with a fixed part and a slope{line}: error {held_out}; {used}")
    return tuple(sentences)


def allocation_table(
    allocation: Allocation, layers: Sequence[Layer], costs: Mapping[str, CostTable], budgets: Sequence[Budget] = ()
) -> Grid:
    """An allocation, layer by layer, and what it costs.

    Args:
        allocation: L choices.
        layers: L layers in forward order.
        costs: a table by name of the cost, each in the unit of its cost; `size` is among them.
        budgets: limits to compare with; the unused rest is shown.

    Returns:
        A table, with the amounts below it.
    """
    (bytes_of,) = costs["size"].rows
    column = {choice: c for c, choice in enumerate(bytes_of.choices)}
    sizes = {name: int(bytes_of.values[row, column[allocation[name]]]) for row, name in enumerate(bytes_of.layers)}
    total = sum(sizes.values())
    grid = _grid("Allocation", ["layer", "shape"], ["weights", "weight bits", "input bits", "bytes", "share"], [])
    for layer in layers:
        choice, size = allocation[layer.name], sizes[layer.name]
        bits = (format_text(choice.weight), format_text(choice.activation))
        grid.add_row(
            *map(
                _text, (layer.name, shape_text(layer.weight_shape), f"{layer.weights:,}", *bits, f"{size:,}", f"{100 * size / total:.1f} %")
            )
        )
    lines = [f"mean weight bits {allocation.mean_weight_bits(layers):.3f}"]
    if any(not choice.activation.is_float for choice in allocation.values()):
        lines[0] += f", mean input bits {allocation.mean_act_bits(layers):.3f}"
    limits = {budget.cost: budget for budget in budgets}
    for cost, table in costs.items():
        amount, budget = table.total(allocation), limits.get(cost)
        lines.append(f"{cost} {format_amount(cost, amount)}" + ("" if budget is None else _against(budget, amount)))
    grid.caption = Text("\n".join(map(printable, lines)))
    grid.caption_justify = "left"
    return grid


def _scores(summary: Summary, known: Facts) -> list[tuple[str, Text]]:
    metric = summary.metric
    shown = {name: metric_text(metric, score.metric) for name, score in known.scores.items()}
    rows = [(f"float {metric}, {known.split}", _text(shown["float"]))]
    if "control" in shown:
        rows.append((f"float trained as long, {known.split}", _text(shown["control"])))
    drop = f"  ({gain_text(metric, known.drop)} against float)"
    tone = {True: "green", False: "red", None: ""}[known.verdict.won]
    rows.append((f"final {metric}, {known.split}", Text.assemble((shown["winner"], "bold"), drop)))
    rows.append(("against uniform", _text(known.verdict.sentence, style=tone)))
    return rows


def _sizes(summary: Summary, known: Facts) -> list[tuple[str, Text]]:
    size = f"size {summary.place}"
    rows = {size if check.budget.cost == "size" else check.budget.cost: _check(check) for check in known.budgets}
    rows.setdefault(size, _text(format_amount("size", summary.artifact_bytes)))
    bits = known.bits
    acts = "float" if bits.mean_act_bits is None else f"{bits.mean_act_bits:.2f}"
    return [
        *rows.items(),
        ("compression", _text(f"{known.compression:.1f}{TIMES} smaller than {short_amount('size', known.float_bytes)} in float32")),
        ("mean bits", _text(f"weights {bits.mean_weight_bits:.2f}{_of_what(summary)}, activations {acts}")),
        ("packed weights only", _text(format_amount("size", bits.weight_bytes))),
        ("time", _text(duration_text(sum(summary.seconds.values())))),
    ]


def _of_what(summary: Summary) -> str:
    return f" of {covered_text(summary)}" if summary.unquantized else ""


def _floats(summary: Summary) -> list[tuple[str, Text]]:
    return [("" if row else "stays float", _text(group.line)) for row, group in enumerate(summary.unquantized)]


def _places(summary: Summary, run: Path) -> list[tuple[str, Text]]:
    places = {"run": run, "report": run / "front.html", "artifact": run / summary.artifact}
    if summary.card:
        places["card"] = run / summary.card
    return [(name, _text(str(path))) for name, path in places.items()]


_OF_THIS_RUN = frozenset({"--effort", "--trials", "--epochs", "--out", "--run-dir"})
"""Options that set the scale of a run or its directory; a longer search replaces them."""


def _next_commands(summary: Summary, run: Path) -> list[tuple[str, str]]:
    commands = [
        (shlex.join(["mpsearch", "evaluate", str(run / summary.artifact)]), "score the file from disk"),
        (shlex.join(["mpsearch", "plot", str(run)]), "draw the report again"),
    ]
    deeper = {"quick": "normal", "normal": "thorough"}.get(summary.effort)
    words = _words(summary.command)
    if deeper is not None and words[:2] == ["mpsearch", "study"]:
        commands.append((shlex.join([*_without(_OF_THIS_RUN, words), "--effort", deeper]), "search longer"))
    return commands


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quotation has no end: nothing that was typed
        return []


def _without(options: frozenset[str], words: Sequence[str]) -> Iterator[str]:
    """The words of a command without some options and their values."""
    rest = iter(words)
    for word in rest:
        if word in options:
            next(rest, None)
        elif word.partition("=")[0] not in options:
            yield word


def _check(check: BudgetCheck) -> Text:
    cost = check.budget.cost
    low, high = (format_amount(cost, bound) for bound in check.reachable)
    amount = (format_amount(cost, check.amount), "green" if check.ok else "bold red")
    return Text.assemble(amount, printable(_against(check.budget, check.amount)), f"; reachable {low} to {high}")


def _against(budget: Budget, amount: float) -> str:
    rest = budget.limit - amount
    return f" of {budget.text}, {format_amount(budget.cost, abs(rest))} {'unused' if rest >= 0 else 'too much'}"


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _grid(title: str, left: Sequence[str], right: Sequence[str], tail: Sequence[str]) -> Grid:
    grid = Grid(title=_text(title, style="bold"), title_justify="left", header_style="dim", box=None, pad_edge=False)
    for name in left:
        grid.add_column(_text(name), overflow="fold")
    for name in right:
        grid.add_column(_text(name), justify="right", no_wrap=True)
    for name in tail:
        grid.add_column(_text(name))
    return grid
