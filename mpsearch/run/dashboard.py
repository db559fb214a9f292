"""`show_result`: what a run has found, as a note and plots that optuna-dashboard shows beside the study's trials."""

from __future__ import annotations

import html
import importlib.util
import warnings

import optuna

from mpsearch.core.errors import MpsearchError
from mpsearch.core.progress import Progress
from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import format_amount
from mpsearch.report.info import facts
from mpsearch.report.notebook import summary_figure
from mpsearch.report.wording import format_text, metric_text
from mpsearch.study.importance import bits_importance
from mpsearch.study.storage import open_study, storage_errors

__all__ = ["show_result"]

_PLOTS = ("front", "bits")
"""Figures of a summary, and their names in the dashboard."""
_HEIGHT = 430
"""Pixels, what a panel of the dashboard shows."""
_MOST = 256
"""Layers of a table."""


def show_result(url: str, name: str, summary: Summary, progress: Progress) -> bool:
    """Save what a run has found for optuna-dashboard; returns whether it did. Without that package nothing is saved.

    Args:
        url: storage.
        name: of the study.
        summary: of the run, which has ended: a storage that fails here is a line, no more.
        progress: gets that line.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        return False
    try:
        with storage_errors(url):
            _save(open_study(url, name), summary)
    except MpsearchError as error:
        progress.say(f"optuna-dashboard will not show the result ({error})")
        return False
    return True


def _save(study: optuna.Study, summary: Summary) -> None:
    from optuna_dashboard import save_note, save_plotly_graph_object

    for plot in _PLOTS:
        save_plotly_graph_object(study, summary_figure(summary, plot).update_layout(height=_HEIGHT), graph_object_id=plot)
    if (trials := bits_importance(summary.trials)) is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            figure = optuna.visualization.plot_param_importances(trials)
        figure.update_layout(title_text="What a layer's choice says about the validation error", height=_HEIGHT)
        figure.update_xaxes(title_text="share of the variance (fANOVA)")
        figure.update_yaxes(title_text="layer")
        save_plotly_graph_object(study, figure, graph_object_id="importance")
    save_note(study, _note(summary))


def _note(summary: Summary) -> str:
    """The result in Markdown."""
    found, metric = facts(summary), summary.metric
    lines = [
        f"**{_text(summary.name)}** · {_text(summary.model)} · {_text(summary.data)}",
        "",
        f"| | {_text(metric)} ({found.split}) | bytes |",
        "|---|---:|---:|",
        f"| float | {metric_text(metric, found.scores['float'].metric)} | {found.float_bytes:,.0f} |",
        f"| **delivered** | **{metric_text(metric, found.scores['winner'].metric)}** | **{summary.artifact_bytes:,}** |",
        "",
        *(f"- {_text(each.budget.text)}: {format_amount(each.budget.cost, each.amount)}" for each in found.budgets),
        f"- {_text(found.verdict.sentence)}",
        "",
        "| layer | weight | activation |",
        "|---|---|---|",
        *(
            f"| {_text(layer)} | {format_text(choice.weight)} | {format_text(choice.activation)} |"
            for layer, choice in summary.winner.allocation.items()
        ),
    ]
    if len(summary.winner.allocation) > _MOST:
        lines = [*lines[: -len(summary.winner.allocation) - 2], f"The bits of {len(summary.winner.allocation):,} layers are in bits.yaml."]
    return "\n".join(lines)


def _text(text: str) -> str:
    """Names as they are: no markup of a stranger's, and no column of the table."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("`", "\\`").replace("*", "\\*").replace("_", "\\_")
