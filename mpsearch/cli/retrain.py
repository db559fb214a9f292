"""`mpsearch retrain`: full quantization-aware training of a given allocation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import announcer_of, command_line, consoles, log_option, read_config, run_options, study_options

__all__ = ["retrain"]


@click.command(short_help="Train the bits of a file.")
@study_options
@click.option("--bits", required=True, type=click.Path(path_type=Path), metavar="FILE", help="bits.yaml of a run, or one edited by hand.")
@run_options
@log_option
def retrain(bits: Path, run_dir: Path | None, quiet: bool, loggers: tuple[str, ...], **flags: Any) -> None:
    """Train the network at the bits of a file, export and report; no search."""
    config, announcer = read_config(flags), announcer_of(loggers)

    from mpsearch.config import load_bits

    allocation = load_bits(bits)

    from mpsearch.report.progress import RichProgress
    from mpsearch.report.terminal import print_summary
    from mpsearch.run import retrain as train

    results, progress = consoles(quiet=quiet)
    directory = run_dir or Path("runs") / f"{config.run_name}-retrain-{allocation.key()}"
    summary = train(config, allocation, directory, command_line(), RichProgress(progress), announcer=announcer)
    print_summary(summary, results, directory)
