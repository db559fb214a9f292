"""`pseudo_errors`: how much each part of a split contributes to an error, for metrics of the whole split too."""

from __future__ import annotations

from collections.abc import Sequence

from mpsearch.tasks.meters import Meter
from mpsearch.tasks.task import Task

__all__ = ["pseudo_errors"]


def pseudo_errors(task: Task, groups: Sequence[Meter]) -> list[float]:
    """Jackknife pseudo-values of the error, one for each of G groups of about equal size.

        p_g = G · error(all) − (G − 1) · error(all but g)

    For a mean over samples p_g is the error of group g. For a metric of the whole split, such as F1 or mean IoU, a group has no error of
    its own (it may lack a class), but the standard error of the mean of the p_g is that of the error all the same; and that of the mean of
    differences p_g − q_g is that of the difference of two networks on the same groups. (Tukey, Bias and confidence in not-quite large
    samples, 1958; Efron and Stein, The jackknife estimate of variance, 1981. It is not consistent for medians and other quantiles.)

    Args:
        task: has the metric.
        groups: a meter of the task for each group, which has read it.
    """
    if len(groups) < 2:
        return [_error(task, groups)] if groups else []
    count, whole = len(groups), _error(task, groups)
    return [count * whole - (count - 1) * _error(task, [*groups[:g], *groups[g + 1 :]]) for g in range(count)]


def _error(task: Task, groups: Sequence[Meter]) -> float:
    joined = task.meter()
    for group in groups:
        joined.join(group)
    return task.error(joined.value())
