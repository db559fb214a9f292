"""The results of a run: final against float, size against budget, mixed against uniform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpsearch.core.budget import Budget
from mpsearch.core.record import Score
from mpsearch.core.summary import Summary
from mpsearch.report.info.bits import BitsInfo, bits_info
from mpsearch.report.info.points import uniform_text
from mpsearch.report.wording import gain_text, metric_text

__all__ = ["BudgetCheck", "Facts", "Verdict", "facts"]


@dataclass(frozen=True, kw_only=True)
class BudgetCheck:
    """One budget, the `amount` of it that the winner uses, and the bounds of the space; `size` is that of the file on disk."""

    budget: Budget
    amount: float
    reachable: tuple[float, float]

    @property
    def ok(self) -> bool:
        """Whether the budget holds."""
        return self.amount <= self.budget.limit


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether mixed precision beat the best uniform allocation: `won` is `None` for a draw or no comparison, `gain` is in the metric."""

    won: bool | None
    gain: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The figures in the header of the page and in the terminal.

    Args:
        split: of all scores: `test` if the run read it, else `validation`.
        scores: of the `float` network, the retrained `winner`, and where they exist, of the best `uniform` allocation, retrained alike,
            of `uniform_spent` and `searched`, see `Summary`, and of the `control`, the float network trained as many epochs more.
        drop: final metric − float metric, in the metric's unit.
        float_bytes: of the float32 network.
        compression: `float_bytes` / bytes of the file on disk.
        bits: the winner, layer by layer.
        budgets: each checked.
        verdict: against the best uniform allocation.
    """

    split: str
    scores: Mapping[str, Score]
    drop: float
    float_bytes: float
    compression: float
    bits: BitsInfo
    budgets: tuple[BudgetCheck, ...]
    verdict: Verdict


def facts(summary: Summary) -> Facts:
    """The results of a run."""
    split, scores = ("test", summary.test) if summary.test else ("validation", _validation_scores(summary))
    float_bytes = summary.reference.costs["size"]
    amounts = {**summary.winner.costs, "size": float(summary.artifact_bytes)}
    return Facts(
        split=split,
        scores=scores,
        drop=scores["winner"].metric - scores["float"].metric,
        float_bytes=float_bytes,
        compression=float_bytes / summary.artifact_bytes,
        bits=bits_info(summary),
        budgets=tuple(
            BudgetCheck(budget=budget, amount=amounts[budget.cost], reachable=summary.reachable[budget.cost]) for budget in summary.budgets
        ),
        verdict=_verdict(summary, scores, split),
    )


def _validation_scores(summary: Summary) -> dict[str, Score]:
    records = {
        "winner": summary.winner,
        "uniform": summary.uniform,
        "uniform_spent": summary.uniform_spent,
        "searched": summary.searched,
        "control": summary.control,
    }
    scores = {name: record.score for name, record in records.items() if record is not None}
    return {"float": summary.reference.scores["validation"], **scores}


def _verdict(summary: Summary, scores: Mapping[str, Score], split: str) -> Verdict:
    if summary.uniform is None:
        return Verdict(won=None, gain=None, sentence="not compared: no uniform allocation fits the budget, or none was trained in this run")
    final, uniform = scores["winner" if summary.mixed is summary.winner else "searched"], scores["uniform"]
    gain = final.metric - uniform.metric
    against = (
        f"{metric_text(summary.metric, final.metric)} against {metric_text(summary.metric, uniform.metric)} "
        f"for the best uniform allocation ({uniform_text(summary.uniform.allocation)}{_leftover(summary, scores)}), {split} split"
    )
    if final.error == uniform.error:
        return Verdict(won=None, gain=gain, sentence=f"a draw: {against}")
    won, points = final.error < uniform.error, gain_text(summary.metric, gain)
    opening = f"mixed precision won by {points}" if won else f"mixed precision did not win ({points})"
    return Verdict(won=won, gain=gain, sentence=f"{opening}: {against}")


def _leftover(summary: Summary, scores: Mapping[str, Score]) -> str:
    """The score of the uniform allocation with the rest of the budget spent."""
    if "uniform_spent" not in scores:
        return ""
    return f"; {metric_text(summary.metric, scores['uniform_spent'].metric)} with the rest of the budget spent"
