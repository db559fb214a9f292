"""Numbers as text: accuracies in percent, sizes in decimal units, bits, durations."""

from __future__ import annotations

from mpsearch.core.number_format import NumberFormat
from mpsearch.core.promises import Foresight
from mpsearch.core.summary import Summary
from mpsearch.core.unquantized import covered_share
from mpsearch.costs.budgets import format_amount

__all__ = [
    "MINUS",
    "TIMES",
    "cost_title",
    "covered_text",
    "duration_text",
    "expected_words",
    "foresight_sentence",
    "format_text",
    "format_words",
    "gain_text",
    "is_fraction",
    "kept_sentence",
    "latency_sentence",
    "metric_text",
    "shape_text",
]

MINUS = "\u2212"
TIMES = "\u00d7"
_COSTS = {"size": "size of the file", "latency": "latency", "bops": "bit operations", "bits": "mean weight bits"}
_FRACTIONS = ("accuracy", "top", "precision", "recall", "f1", "iou", "miou", "auc")


def is_fraction(metric: str) -> bool:
    """Whether a metric of this name lies in [0, 1] and is shown in percent."""
    return metric.lower().startswith(_FRACTIONS)


def metric_text(metric: str, value: float) -> str:
    """A metric: `89.30 %`, or four digits if it is not a fraction."""
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}".replace("-", MINUS)


def gain_text(metric: str, difference: float) -> str:
    """A difference of two metrics with its sign: `+1.20 points`, `+0.013`."""
    text = f"{100 * difference:+.2f} points" if is_fraction(metric) else f"{difference:+.3g}"
    return text.replace("-", MINUS)


def format_text(format: NumberFormat) -> str:
    """`4`, `t`, or `float`."""
    return "float" if format.is_float else str(format)


def format_words(format: NumberFormat) -> str:
    """A number format for a sentence: `4 bit`, `float`, `t (ternary, 1.6 bit)`."""
    if format.is_float:
        return "float"
    spelled = str(format)
    return f"{spelled} bit" if spelled.isdigit() else f"{spelled} ({format.kind.replace('_', ' ')}, {format.bits_per_value:g} bit)"


def shape_text(shape: tuple[int, ...]) -> str:
    """`64 x 3 x 3 x 3`, with the multiplication sign."""
    return f" {TIMES} ".join(map(str, shape))


def duration_text(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def cost_title(cost: str) -> str:
    """A cost in words: `size of the file`; its name if it has no other."""
    return _COSTS.get(cost, cost.replace("_", " "))


def covered_text(summary: Summary) -> str:
    """What mean bits are a mean of: `98.2 % of the parameters`."""
    return f"{100 * covered_share(summary.layers, summary.unquantized):.1f} % of the parameters"


def kept_sentence(summary: Summary) -> str:
    """What was to be kept of the float metric, whether the delivered network keeps it, and what to do if not; "" if nothing was."""
    kept = summary.kept
    if kept is None:
        return ""
    name, reference, winner = summary.metric, summary.reference.scores["validation"], summary.winner
    bound, whole, found = (metric_text(name, value) for value in (kept.metric, reference.metric, winner.score.metric))
    asked = f"Asked for: the smallest {kept.cost} that keeps {kept.asked} of the float {name}"
    if kept.asked.startswith("at most"):
        less = kept.asked.replace(" less", " points less") if is_fraction(name) else kept.asked
        asked = f"Asked for: the smallest {kept.cost} with {less} than the float {name}"
    amount = format_amount(kept.cost, summary.artifact_bytes if kept.cost == "size" else winner.costs[kept.cost])
    told = f"{asked}, {bound} of {whole} on validation; delivered: {found} in {amount}"
    if kept.held:
        return f"{told}." if kept.verified else f"{told}, which retraining reached and no trial did; more trials may find a smaller one."
    why = "retraining lost what a trial had" if kept.verified else "no trial kept so much"
    return f"{told}, which is NOT enough: {why}; raise --epochs or --trials, widen the space, or ask for less."


def foresight_sentence(summary: Summary) -> str:
    """What was expected of the retraining before it began, and what came out, on validation; "" if nothing was foreseen."""
    found = summary.foresight
    if found is None:
        return ""
    came_out = metric_text(summary.metric, (summary.searched or summary.winner).score.metric)
    return f"Foreseen before retraining: {expected_words(summary.metric, found)} (by {found.based_on}); came out {came_out}."


def expected_words(metric: str, found: Foresight) -> str:
    """`accuracy 98.15 % on validation, 97.04 % to 98.89 % with a probability of 90 %`."""
    low, expected, high = (metric_text(metric, value) for value in (found.low, found.metric, found.high))
    return f"{metric} {expected} on validation, {low} to {high} with a probability of 90 %"


def latency_sentence(summary: Summary) -> str:
    """What the delivered file took in its runtime, its spread, the budget, and the prediction; "" if it was not measured."""
    found = summary.latency
    if found is None:
        return ""
    median, low, high, at_pace = (format_amount("latency", seconds) for seconds in (found.median, found.low, found.high, found.at_pace))
    budget = next((budget for budget in summary.budgets if budget.cost == "latency"), None)
    against = "" if budget is None else f", budget {budget.text} ({_verdict(budget.limit, found.low, found.high)})"
    predicted = summary.winner.costs.get("latency")
    told = "" if predicted is None else f"; predicted {format_amount('latency', predicted)}"
    return (
        f"Latency: {summary.artifact} measured {median} a sample (quartiles {low} to {high}){against}{told}, "
        f"and {at_pace} at the speed that the machine had for the profile; {found.place}."
    )


def _verdict(limit: float, low: float, high: float) -> str:
    if high <= limit:
        return "met"
    return "met by the spread" if low <= limit else "not met"
