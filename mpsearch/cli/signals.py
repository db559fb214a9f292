"""`mpsearch signals`: how sensitive each layer is to its number of bits."""

from __future__ import annotations

from typing import Any

import click

from mpsearch.cli.options import consoles, read_config, study_options

__all__ = ["signals"]


@click.command(short_help="Sensitivity of every layer to its bits.")
@study_options
def signals(**flags: Any) -> None:
    """Print the sensitivity of every layer; no search, no training."""
    config = read_config(flags)

    from mpsearch.core.printable import printable
    from mpsearch.report.info import mixture_infos
    from mpsearch.report.progress import RichProgress
    from mpsearch.report.terminal import sensitivity_table
    from mpsearch.run import sensitivities

    results, progress = consoles()
    space, tables = sensitivities(config, RichProgress(progress))
    for table in tables:
        results.print(sensitivity_table(table, space.layers))
    for mixture in mixture_infos(tables):
        results.print(printable(mixture.finding), markup=False)
