"""`mpsearch study`: the whole run, from data to a verified file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import (
    announcer_of,
    command_line,
    consoles,
    keep_options,
    log_option,
    read_config,
    run_options,
    study_options,
)
from mpsearch.core.errors import ConfigError

__all__ = ["study"]


@click.command(short_help="Everything: search, retrain, export, report.")
@study_options
@keep_options
@click.option("--cost", metavar="COST", help="What is to be small, for --keep and --max-drop (size); a --budget is a limit beside it.")
@run_options
@click.option(
    "--storage", metavar="URL", help="Where trials are kept: sqlite:///FILE, journal:///FILE, postgresql://…; default: study.db in DIR."
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes at work on trials here; more may join: `mpsearch worker`.")
@click.option("--lease", metavar="TIME", help="Without a sign of life for this time, a worker's trial is taken over (60s).")
@click.option("--artifacts", metavar="DIR", help="What workers share: a folder, or s3://BUCKET/PREFIX; default: in the run directory.")
@log_option
@click.option("--plan", "only_plan", is_flag=True, help="Print phases, passes and expected time; run nothing.")
def study(
    run_dir: Path | None,
    quiet: bool,
    storage: str | None,
    workers: int | None,
    lease: str | None,
    artifacts: str | None,
    loggers: tuple[str, ...],
    only_plan: bool,
    **flags: Any,
) -> None:
    """Search, retrain, export and report.

    STUDY is a name of `mpsearch list studies` or a YAML file; digits_resnet18 if left out. After an interruption, repeat the same command.

    With --storage, any number of `mpsearch worker` may join it, on this machine or on others.
    """
    config, announcer = read_config(flags), announcer_of(loggers)

    from mpsearch.core.duration import parse_duration
    from mpsearch.report.progress import RichProgress
    from mpsearch.report.terminal import plan_table, print_summary
    from mpsearch.run import LEASE, Crew, plan, run_study

    results, progress = consoles(quiet=quiet)
    if only_plan:
        results.print(plan_table(plan(config, RichProgress(progress))))
        return
    directory = run_dir or Path("runs") / config.run_name
    crew = None
    if workers is not None or storage is not None:
        seconds = LEASE if lease is None else parse_duration(lease, path="--lease")
        crew = Crew(workers=workers or 1, lease=seconds, artifacts=artifacts)
    elif lease is not None or artifacts is not None:
        raise ConfigError("--lease and --artifacts are of a study that several workers share; add --workers N or --storage URL")
    summary = run_study(config, directory, command_line(), RichProgress(progress), storage=storage, announcer=announcer, crew=crew)
    print_summary(summary, results, directory)
