"""Memory and time of the stages of a search, in multiples of the float network's own, each in a fresh process.

    python -m benchmarks.large                                       # all; an hour on one thread
    python -m benchmarks.large --rows trial,load --networks resnet50

W is the size of the float network; F+B is one forward and backward pass over the same samples. Weights and samples are random.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
from rich.console import Console
from rich.table import Table

from benchmarks.large.memory import ENVIRONMENT
from benchmarks.large.networks import NETWORKS
from benchmarks.large.rows import ROWS, Figures

__all__ = ["main", "measured_apart"]

_CONSOLE = Console(width=140)


def measured_apart(row: str, network: str) -> Figures:
    """The figures of a row, by a process of its own with one thread."""
    environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.large", "--measure", "--rows", row, "--networks", network]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", default=",".join(ROWS), show_default=True, help="What to measure.")
@click.option("--networks", default=",".join(NETWORKS), show_default=True, help="Of which networks.")
@click.option("--measure", is_flag=True, hidden=True)
def main(rows: str, networks: str, measure: bool) -> None:
    """Print the table."""
    chosen, names = rows.split(","), networks.split(",")
    for given, known in ((chosen, ROWS), (names, NETWORKS)):
        if unknown := [each for each in given if each not in known]:
            raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}")
    if measure:
        print(json.dumps(ROWS[chosen[0]](NETWORKS[names[0]])))
        return
    table = Table("row", "unit", *names)
    for row in chosen:
        found = [measured_apart(row, name) for name in names]
        for unit in found[0]:
            table.add_row(row, unit, *(f"{each[unit]:.3g}" for each in found))
    _CONSOLE.print(table)


if __name__ == "__main__":
    main()
