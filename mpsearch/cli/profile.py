"""`mpsearch profile`: the latency of every layer in every choice, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import consoles, read_config, study_options

__all__ = ["profile"]


@click.command(short_help="Measure latencies on this machine, for latency budgets.")
@study_options
@click.option("--runtime-threads", "threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of the runtime.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Samples of a call; times are of one sample.")
@click.option("--repeats", type=click.IntRange(min=3), default=101, show_default=True, help="Of each measurement; median and quartiles.")
@click.option("--networks", type=click.IntRange(min=20), default=24, show_default=True, help="Whole networks to check the sum over layers.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.yaml", help="The profile.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
def profile(threads: int, batch: int, repeats: int, networks: int, out: Path, quiet: bool, **flags: Any) -> None:
    """Measure each layer of STUDY's network (or --model's) in each choice of its space that --target can hold, and write a latency profile.

    Then: mpsearch study --hardware FILE.yaml --budget 5ms. After an interruption, repeat the same command.
    """
    config = read_config(flags)

    from mpsearch.core.printable import printable
    from mpsearch.report.progress import RichProgress
    from mpsearch.report.terminal import latency_table, sum_sentences
    from mpsearch.run import profile as measure

    results, progress = consoles(quiet=quiet)
    found = measure(config, out, RichProgress(progress), threads=threads, batch=batch, repeats=repeats, networks=networks)
    results.print(latency_table(found))
    for sentence in sum_sentences(found):
        results.print(sentence, markup=False)
    results.print(f"profile: {printable(str(out))}", markup=False)
