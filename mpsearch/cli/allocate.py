"""`mpsearch allocate`: the optimal bits under a budget, by the solver alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import consoles, read_config, study_options

__all__ = ["allocate"]


@click.command(short_help="Budget → bits by the solver alone.")
@study_options
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write the bits, for `mpsearch retrain --bits`."
)
def allocate(out: Path | None, **flags: Any) -> None:
    """Print the best bits under the budget by the signals; no trials, no training."""
    config = read_config(flags)

    from mpsearch.allocate.reach import reachable
    from mpsearch.config import dump_bits
    from mpsearch.core.files import write_text
    from mpsearch.core.printable import printable
    from mpsearch.costs.budgets import format_amount
    from mpsearch.report.progress import RichProgress
    from mpsearch.report.terminal import allocation_table
    from mpsearch.run import allocate as solve

    results, progress = consoles()
    space, costs, solution = solve(config, RichProgress(progress))
    results.print(allocation_table(solution.allocation, space.layers, costs, config.limits))
    for budget in config.limits:
        low, high = (format_amount(budget.cost, amount) for amount in reachable(space, costs[budget.cost]))
        results.print(f"{budget.cost}: this space reaches {low} to {high}")
    if out is not None:
        write_text(out, dump_bits(solution.allocation))
        results.print(f"bits: {printable(str(out))}", markup=False)
