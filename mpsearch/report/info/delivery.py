"""What is delivered and why: the search's own network or a rival, by figures with their noise."""

from __future__ import annotations

from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import short_amount
from mpsearch.report.wording import gain_text, is_fraction, metric_text

__all__ = ["delivery_lines", "noise_text", "replaced_sentence"]


def replaced_sentence(summary: Summary) -> str:
    """Why a rival is delivered in place of the search's own network; empty if the winner is that network."""
    searched = summary.searched
    chosen = next((each for each in summary.comparisons if each.delivered), None)
    if searched is None or chosen is None:
        return ""
    opening = "Mixed bits gained nothing here" if summary.mixed is searched else "A smaller network is delivered"
    shown = [
        f"{metric_text(summary.metric, record.score.metric)} in {short_amount('size', record.costs['size'])}"
        for record in (summary.winner, searched)
    ]
    return (
        f"{opening}: on validation {chosen.rival} has {shown[0]}, the allocation that the search selected {shown[1]} "
        f"({_gain(summary, chosen.gain, chosen.noise)} on the same samples)."
    )


def delivery_lines(summary: Summary) -> tuple[str, ...]:
    """The noise of the validation split, and every comparison of the search's network with a rival, one sentence each."""
    lines = [replaced_sentence(summary)]
    if summary.noise is not None:
        lines.append(f"One standard error of the winner's score on the validation split is {noise_text(summary.metric, summary.noise)}.")
    lines += [
        f"On the validation split {each.rival} has {_gain(summary, each.gain, each.noise)} against the allocation that the search selected."
        for each in summary.comparisons
        if not each.delivered
    ]
    if summary.uniform is not None and summary.uniform_spent is not None:
        uniform, spent = (metric_text(summary.metric, record.score.metric) for record in (summary.uniform, summary.uniform_spent))
        lines.append(f"Best uniform bits have {uniform} on validation, and {spent} with what they leave of the budget spent.")
    return tuple(line for line in lines if line)


def _gain(summary: Summary, gain: float, noise: float) -> str:
    """`+0.74 ± 0.52 points`; above zero is better, whatever the metric."""
    return f"{gain_text(summary.metric, gain).removesuffix(' points')} ± {noise_text(summary.metric, noise)}"


def noise_text(metric: str, noise: float) -> str:
    """A standard error: `0.52 points`, `0.0031`; `unknown` for a single group of samples."""
    if noise >= 1e30:
        return "unknown"
    return f"{100 * noise:.2f} points" if is_fraction(metric) else f"{noise:.2g}"
