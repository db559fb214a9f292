"""The results of a run: final against float, size against budget, mixed against uniform."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.record import Score
from mpsearch.core.summary import Summary
from mpsearch.report.info.bits import bits_info
from mpsearch.report.info.points import final_score, uniform_text
from mpsearch.report.wording import gain_text, metric_text

__all__ = ["BudgetCheck", "Facts", "Verdict", "facts"]


@dataclass(frozen=True, kw_only=True)
class BudgetCheck:
    """One budget and what the winner uses of it; `ok` and `amount` are `None` without a winner, `reachable` if the bounds are unknown."""

    cost: str
    text: str
    limit: float
    amount: float | None
    ok: bool | None
    reachable: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether mixed precision beat the best uniform allocation: `won` is `None` for a draw or no comparison, `gain` is in the metric."""

    won: bool | None
    gain: float | None
    split: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The figures in the header of the page and in the terminal.

    Args:
        split: of all four scores: `test` if the run read it, else `validation`.
        float_score: of the float network.
        final_score: of the retrained winner.
        uniform_score: of the best uniform allocation, retrained alike.
        control_score: of the float network trained as many epochs more.
        drop: final metric − float metric, in the metric's unit.
        size_bytes: of the file on disk, or the winner's size cost if no file was written.
        on_disk: whether `size_bytes` is of a file.
        float_bytes: of the float32 network.
        compression: `float_bytes / size_bytes`.
        weight_bytes: packed weights alone, as papers report it.
        mean_weight_bits: over all layers.
        mean_act_bits: over all layer inputs; `None` if none is quantized.
        budgets: each checked.
        verdict: against the best uniform allocation.
        seconds: wall seconds of all phases.
    """

    split: str
    float_score: Score | None
    final_score: Score | None
    uniform_score: Score | None
    control_score: Score | None
    drop: float | None
    size_bytes: float | None
    on_disk: bool
    float_bytes: float | None
    compression: float | None
    weight_bytes: int | None
    mean_weight_bits: float | None
    mean_act_bits: float | None
    budgets: tuple[BudgetCheck, ...]
    verdict: Verdict
    seconds: float


def facts(summary: Summary) -> Facts:
    """The results of a run."""
    split = "test" if "winner" in summary.test or (summary.winner is None and "float" in summary.test) else "validation"
    scores = summary.test if split == "test" else _validation_scores(summary)
    float_score, final = scores.get("float"), scores.get("winner")
    size = float(summary.artifact_bytes) if summary.artifact_bytes else None if summary.winner is None else summary.winner.costs.get("size")
    float_bytes = summary.reference.costs.get("size")
    bits = bits_info(summary)
    return Facts(
        split=split,
        float_score=float_score,
        final_score=final,
        uniform_score=scores.get("uniform"),
        control_score=scores.get("control"),
        drop=None if float_score is None or final is None else final.metric - float_score.metric,
        size_bytes=size,
        on_disk=summary.artifact_bytes > 0,
        float_bytes=float_bytes,
        compression=float_bytes / size if float_bytes and size else None,
        weight_bytes=None if summary.winner is None else bits.weight_bytes,
        mean_weight_bits=bits.mean_weight_bits,
        mean_act_bits=bits.mean_act_bits,
        budgets=_budgets(summary, size),
        verdict=_verdict(summary, final, scores.get("uniform"), split),
        seconds=sum(summary.seconds.values()),
    )


def _validation_scores(summary: Summary) -> dict[str, Score]:
    records = {"winner": summary.winner, "uniform": summary.uniform, "control": summary.control}
    scores = {name: score for name, record in records.items() if (score := final_score(record)) is not None}
    if "validation" in summary.reference.scores:
        scores["float"] = summary.reference.scores["validation"]
    return scores


def _budgets(summary: Summary, size: float | None) -> tuple[BudgetCheck, ...]:
    costs = {} if summary.winner is None else dict(summary.winner.costs)
    if size is not None:
        costs["size"] = size
    checks = []
    for budget in summary.budgets:
        amount = costs.get(budget.cost)
        checks.append(
            BudgetCheck(
                cost=budget.cost,
                text=budget.text,
                limit=budget.limit,
                amount=amount,
                ok=None if amount is None else amount <= budget.limit,
                reachable=summary.reachable.get(budget.cost),
            )
        )
    return tuple(checks)


def _verdict(summary: Summary, final: Score | None, uniform: Score | None, split: str) -> Verdict:
    if final is None:
        return Verdict(won=None, gain=None, split=split, sentence="there is no winner to compare with a uniform allocation")
    if summary.uniform is None:
        return Verdict(
            won=None,
            gain=None,
            split=split,
            sentence="not compared: no uniform allocation fits the budget, or none was trained in this run",
        )
    if uniform is None:
        return Verdict(
            won=None, gain=None, split=split, sentence=f"not compared: the best uniform allocation has no score on the {split} split"
        )
    gain = final.metric - uniform.metric
    against = (
        f"{metric_text(summary.metric, final.metric)} against {metric_text(summary.metric, uniform.metric)} "
        f"for the best uniform allocation ({uniform_text(summary.uniform.allocation)}), {split} split"
    )
    if final.error == uniform.error:
        return Verdict(won=None, gain=gain, split=split, sentence=f"a draw: {against}")
    won = final.error < uniform.error
    opening = (
        f"mixed precision won by {gain_text(summary.metric, gain)}"
        if won
        else f"mixed precision did not win ({gain_text(summary.metric, gain)})"
    )
    return Verdict(won=won, gain=gain, split=split, sentence=f"{opening}: {against}")
