"""Several runs in one page: their fronts in one picture, a colour a run, and a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from mpsearch.core.files import write_text
from mpsearch.costs.budgets import format_amount
from mpsearch.report.document import document
from mpsearch.report.explorer_data import explorer_data, role_of_run
from mpsearch.report.info import bits_info, facts
from mpsearch.report.info.explorer import ExplorerInfo, ShownRun, explorer_info
from mpsearch.report.wording import TIMES, metric_text

__all__ = ["run_names", "write_runs_page"]


def write_runs_page(runs: Sequence[ShownRun], path: Path) -> Path:
    """Write the page of several runs, whole or not at all.

    Args:
        runs: two or more, with different names.
        path: the HTML file; its directory is created if missing.

    Returns:
        The path.

    Raises:
        UsageError: the runs have different metrics.
    """
    info = explorer_info(runs)
    names = " · ".join(run.name for run in runs)
    body = f"""<header>
<button type="button" id="theme" hidden>Dark</button>
<h1>{len(runs)} runs, one front each</h1>
<p class="sub">{escape(names)}</p>
</header>
<main>
<section id="front" aria-labelledby="front-title"><h2 id="front-title">Pick a point of any run</h2>
<p>{escape(_finding(info))}</p>
{_warnings(runs)}
<figure role="group" aria-label="{escape(_finding(info))}"><div id="explorer"></div>
<figcaption>Each mark is a network; its colour shows its run, its shape how far it was trained. The lines are the fronts of the trials.
Pin a point, then choose another, of any run, to compare both.</figcaption></figure></section>
<section id="runs" aria-labelledby="runs-title"><h2 id="runs-title">The runs</h2>{_table(runs)}</section>
</main>
<footer>Written by mpsearch. Scores are of the validation split unless the page says test; the test split of a run is read once, at its end.
</footer>"""
    return write_text(path, document(names, body, {"charts": {}, "explorer": explorer_data(info)}))


def run_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def _finding(info: ExplorerInfo) -> str:
    winners = [(run.summary.winner, run.name) for run in info.runs]
    best, name = min(winners, key=lambda pair: (pair[0].score.error, pair[0].costs["size"]))
    small, smallest = min(winners, key=lambda pair: (pair[0].costs["size"], pair[0].score.error))
    told = f"The best winner on validation is that of {name}: {metric_text(info.metric, best.score.metric)}"
    told += f" in {format_amount('size', best.costs['size'])}"
    if smallest == name:
        return f"{told}; it is the smallest too."
    amount = format_amount("size", small.costs["size"])
    return f"{told}. The smallest is that of {smallest}: {metric_text(info.metric, small.score.metric)} in {amount}."


def _warnings(runs: Sequence[ShownRun]) -> str:
    """What keeps the runs from being compared."""
    found = []
    data = dict.fromkeys(run.summary.data for run in runs)
    if len(data) > 1:
        found.append(f"The runs are of different data ({', '.join(data)}): heights in the picture compare only within one.")
    seeds = dict.fromkeys(run.summary.seed for run in runs)
    if len(data) == 1 and len(seeds) > 1:
        found.append("The runs have different seeds, which may draw another validation split: small differences between runs may be noise.")
    found += [f"{run.name}: {run.details.missing}" for run in runs if run.details.missing]
    return "".join(f'<p class="empty">{escape(sentence)}</p>' for sentence in found)


def _table(runs: Sequence[ShownRun]) -> str:
    tests = any(run.summary.test for run in runs)
    numbers = ("file", "smaller", "mean bits", "float", "validation", *(("test",) if tests else ()), "trials")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("run", "model", "data", "budget"))
    head += "".join(f'<th scope="col" class="num">{name}</th>' for name in numbers)
    body = "".join(_row(run, place, tests) for place, run in enumerate(runs))
    caption = "The delivered network of each run."
    return f'<div class="scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(run: ShownRun, place: int, tests: bool) -> str:
    summary = run.summary
    known = facts(summary)
    words = (summary.model, summary.data, ", ".join(str(budget) for budget in summary.budgets))
    numbers = [
        format_amount("size", summary.artifact_bytes),
        f"{known.compression:.1f}{TIMES}",
        f"{bits_info(summary).mean_weight_bits:.2f}",
        metric_text(summary.metric, summary.reference.scores["validation"].metric),
        metric_text(summary.metric, summary.winner.score.metric),
        *([metric_text(summary.metric, summary.test["winner"].metric) if summary.test else "\u2013"] if tests else []),
        f"{len(summary.trials)}",
    ]
    button = f'<button type="button" data-select="{place}:winner">{escape(run.name)}</button>'
    cells = "".join(f"<td>{escape(each)}</td>" for each in words) + "".join(f'<td class="num">{escape(each)}</td>' for each in numbers)
    return f'<tr><th scope="row"><span class="swatch {role_of_run(place)}"></span>{button}</th>{cells}</tr>'
