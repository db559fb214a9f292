"""`mpsearch study`: the whole run, from data to a verified file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from mpsearch.run import Launch

__all__ = ["study"]


@click.command(short_help="Everything: search, retrain, export, report.")
@study_options
@keep_options
@click.option("--cost", metavar="COST", help="What is to be small, for --keep and --max-drop (size); a --budget is a limit beside it.")
@run_options
@click.option(
    "--storage",
    metavar="URL",
    help="Where trials are kept: sqlite:///FILE, postgresql://…, mysql://…, journal:///FILE, grpc://HOST:PORT; default: study.db in DIR.",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes at work on trials here; more may join: `mpsearch worker`.")
@click.option("--lease", metavar="TIME", help="Without a sign of life for this time, a worker's trial is taken over (60s).")
@click.option("--artifacts", metavar="DIR", help="What workers share: a folder, or s3://BUCKET/PREFIX; default: in the run directory.")
@click.option("--launch", type=click.Choice(["slurm", "local"]), help="Submit the other workers as jobs, by submitit; local tries it here.")
@click.option(
    "--slurm", "slurm", multiple=True, metavar="KEY=VALUE", help="Of each job, such as partition=gpu, gpus_per_node=1 or time=240."
)
@log_option
@click.option("--plan", "only_plan", is_flag=True, help="Print phases, passes and expected time; run nothing.")
def study(
    run_dir: Path | None,
    quiet: bool,
    storage: str | None,
    workers: int | None,
    lease: str | None,
    artifacts: str | None,
    launch: str | None,
    slurm: tuple[str, ...],
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
        crew = Crew(workers=workers or 1, lease=seconds, artifacts=artifacts, launch=_launch(launch, slurm, storage, workers))
    elif lease is not None or artifacts is not None or launch is not None:
        raise ConfigError("--lease, --artifacts and --launch are of a study that workers share; add --workers N or --storage URL")
    summary = run_study(config, directory, command_line(), RichProgress(progress), storage=storage, announcer=announcer, crew=crew)
    print_summary(summary, results, directory)


def _launch(cluster: str | None, options: tuple[str, ...], storage: str | None, workers: int | None) -> Launch | None:
    from mpsearch.run import Launch

    pairs = [text.partition("=") for text in options]
    if wrong := [text for text, (key, _, value) in zip(options, pairs, strict=True) if not (key.isidentifier() and value)]:
        raise ConfigError(f"--slurm {wrong[0]}: write it as KEY=VALUE, such as partition=gpu")
    if cluster is None and options:
        raise ConfigError("--slurm is of the jobs of --launch slurm; add that")
    if cluster is None:
        return None
    if workers is None or workers < 2:
        raise ConfigError(f"--launch {cluster} submits all workers but this one; add --workers N, at least 2")
    if cluster == "slurm" and (storage is None or storage.startswith("sqlite")):
        raise ConfigError("--launch slurm: SQLite is for processes of one machine; give a --storage that the jobs reach, see docs/scale.md")
    return Launch(cluster=cluster, options={key: int(value) if value.isdecimal() else value for key, _, value in pairs})
