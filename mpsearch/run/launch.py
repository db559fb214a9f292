"""`submitted`: workers as jobs of a cluster, by submitit."""

from __future__ import annotations

import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mpsearch.core.errors import ConfigError
from mpsearch.core.extras import needs
from mpsearch.core.progress import Progress

if TYPE_CHECKING:
    from submitit import Job

__all__ = ["CLUSTERS", "Launch", "submitted"]

CLUSTERS = ("slurm", "local")
"""Names that submitit knows; `local` are processes of this machine, to try it out."""
_MINUTES = 720
_NOTICE = 120
"""Seconds before its time is up, or before it is preempted, in which a worker hands its trial back."""
_ENDED = (0, 143)
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception|Exit): (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where workers are submitted to.

    Args:
        cluster: see `CLUSTERS`.
        options: of sbatch by submitit's names, such as `partition`, `time` (minutes), `gpus_per_node`, `mem`.
    """

    cluster: str
    options: Mapping[str, str | int]


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """A job that is `mpsearch worker`, in the process that the cluster sends its signals to."""

    arguments: tuple[str, ...]

    def __call__(self) -> int:
        signal.signal(signal.SIGUSR2, _end)  # submitit's notice that time is up would leave the trial where it stands
        sys.argv = ["mpsearch", *self.arguments]
        try:
            runpy.run_module("mpsearch", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if ended.code not in _ENDED:
                raise RuntimeError(f"the worker ended with code {ended.code}") from ended
            return int(ended.code or 0)
        return 0


def _end(number: int, frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def submitted(
    launch: Launch, commands: Sequence[Sequence[str]], environment: Mapping[str, str], folder: Path, progress: Progress, *, patience: float
) -> Iterator[list[Job[int]]]:
    """Jobs at work while the `with` is; those that wait or do not end by themselves are cancelled after it.

    Args:
        launch: where to.
        commands: arguments of `mpsearch`, one job each. They are written to the disk: a password belongs into the environment.
        environment: variables that jobs get beside those of this process, as sbatch passes them on.
        folder: for submitit's files and logs, on a disk that the cluster shares.
        progress: gets a line about each that fails.
        patience: seconds for jobs to end by themselves.

    Raises:
        ConfigError: submitit is not installed, there is no such cluster here, or it refuses a job.
    """
    needs(f"--launch {launch.cluster}", "slurm", "submitit")
    jobs: list[Job[int]] = []
    try:
        jobs += _submit(launch, commands, environment, folder)
        yield jobs
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(job.state == "RUNNING" for job in jobs):
            time.sleep(min(1.0, patience))
    finally:
        for job in jobs:
            _finish(job, progress)


def _submit(launch: Launch, commands: Sequence[Sequence[str]], environment: Mapping[str, str], folder: Path) -> list[Job[int]]:
    import submitit

    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=launch.cluster)
        asked: dict[str, Any] = {f"slurm_{name}": value for name, value in {"time": _MINUTES, **launch.options}.items()}
        executor.update_parameters(name="mpsearch", timeout_min=_MINUTES, slurm_signal_delay_s=_NOTICE, **asked)
        return [executor.submit(_Worker(arguments=tuple(command))) for command in commands]
    except (RuntimeError, TypeError, ValueError, NameError, submitit.core.utils.FailedJobError, FileNotFoundError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"--launch {launch.cluster}: no job could be submitted ({reason}); mend that, or give --workers alone") from error
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _finish(job: Job[int], progress: Progress) -> None:
    """Cancel a job that has not ended; say why one failed."""
    if not job.done():
        with suppress(OSError):
            job.cancel(check=False)
        return
    if (error := job.exception()) is not None:
        raised = _RAISED.findall(str(error))  # submitit's own text is a traceback among advice
        progress.say(f"job {job.job_id} failed: {raised[-1] if raised else type(error).__name__}; see {job.paths.stderr}")
