"""Several workers on one study: what the first publishes for the others, and those it starts on its own machine."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mpsearch.core.errors import ConfigError
from mpsearch.core.files import is_file, write_text
from mpsearch.core.progress import Progress
from mpsearch.run.float_network import float_file
from mpsearch.run.launch import Launch, submitted
from mpsearch.run.ledger import Ledger
from mpsearch.run.prepare import PREPARED
from mpsearch.run.read_back import read_back
from mpsearch.run.setup import Setup
from mpsearch.run.statistics import CHOICE
from mpsearch.study.leases import Sharing
from mpsearch.study.published import Published, publish
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.storage import open_study, storage_errors

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = [
    "FLOAT",
    "LEASE",
    "RUN_FILES",
    "STORAGE_VARIABLE",
    "WEIGHTS",
    "Crew",
    "check_shareable",
    "identity_of",
    "local_workers",
    "share",
    "shared_files",
    "sharing_of",
]

LEASE = 60.0
"""Seconds of a lease, unless told."""
STORAGE_VARIABLE = "MPSEARCH_STORAGE"
"""Environment variable with the URL, which may hold a password: command lines are seen by every user of a machine."""
RUN_FILES = (PREPARED, CHOICE)
FLOAT = "float:"
"""Begins the name of the float network's file among the published."""
WEIGHTS = "weights"
_WORKERS = "workers"
_NAME = "worker.json"
_PATIENCE = 60.0
"""Seconds for local workers to end by themselves."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """How a run shares its study.

    Args:
        workers: processes, this one included; the others on this machine, or jobs of a cluster.
        lease: seconds without a sign of life after which a trial is taken over.
        artifacts: folder of shared files, or `s3://BUCKET/PREFIX`; in the run directory unless told.
        launch: cluster that the other workers are submitted to; None: they are processes of this machine.
    """

    workers: int = 1
    lease: float = LEASE
    artifacts: str | Path | None = None
    launch: Launch | None = None


def check_shareable(config: StudyConfig) -> None:
    """Check that several workers can be at work on a study.

    Raises:
        ConfigError: they cannot.
    """
    if config.search.evaluate == "supernet":
        raise ConfigError(
            "workers: shared weights (search.evaluate: supernet) do not travel between workers; say --evaluate qat, or use one worker"
        )


def sharing_of(directory: Path, lease: float, store: SharedFiles | None = None) -> Sharing:
    """The name of the worker of a run directory, which its lock makes the only one of that name."""
    file = directory / _NAME
    name = read_back(file, lambda document: str(document["worker"]))
    if name is None:
        name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        write_text(file, json.dumps({"worker": name}))
    return Sharing(worker=name, seconds=lease, folder=directory, store=store)


def shared_files(ledger: Ledger, crew: Crew) -> SharedFiles:
    """The files that the workers of a run share."""
    return SharedFiles(crew.artifacts or ledger.path("artifacts"))


def identity_of(setup: Setup) -> dict[str, str]:
    """What the results of a worker depend on."""
    return {**setup.identity, "version of torch": torch.__version__.partition("+")[0]}


def share(config: StudyConfig, setup: Setup, ledger: Ledger, crew: Crew, url: str, name: str) -> None:
    """Publish a study whose signals are computed, so that workers can join it.

    Raises:
        ConfigError: the folder of shared files cannot be written.
    """
    store = shared_files(ledger, crew)
    files = {file: ledger.path(file) for file in RUN_FILES}
    weights = config.model.weights_path
    if weights is not None:
        files[f"{WEIGHTS}{weights.suffix}"] = weights
    elif config.float_recipe is not None:
        recipe = config.float_recipe.build()
        file = float_file(config.model.factory, setup.splits, recipe, structure=setup.identity["network"], seed=config.seed)
        files[f"{FLOAT}{file.name}"] = file
    names = {name: store.put(file) for name, file in files.items() if is_file(file)}
    with storage_errors(url):
        shared = Published(study=config.to_yaml(), identity=identity_of(setup), lease=crew.lease, artifacts=store.place, files=names)
        publish(open_study(url, name), shared)


@contextmanager
def local_workers(config: StudyConfig, ledger: Ledger, crew: Crew, url: str, name: str, progress: Progress) -> Iterator[None]:
    """Workers in processes of their own while the `with` is at work; they end when the study does.

    Args:
        config: the study.
        ledger: of the run, in whose folder each has a run directory and a log.
        crew: how many.
        url: storage.
        name: of the study.
        progress: gets a line about each that fails.
    """
    folder = ledger.path(_WORKERS)
    started: list[tuple[Path, subprocess.Popen[bytes]]] = []
    ours = {STORAGE_VARIABLE: url, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = ["worker", "--study", name, "--quiet", "--device", config.device, "--compile", config.compile]
    if ":" in config.model.factory:  # the command line that began the run has said that this code may run
        arguments += ["--model", config.model.factory]
    if crew.launch is not None:
        commands = [[*arguments, "--run-dir", str((folder / str(number)).absolute())] for number in range(1, crew.workers)]
        with submitted(crew.launch, commands, ours, folder / "jobs", progress, patience=_PATIENCE):
            yield
        return
    environment = {**os.environ, **ours}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // crew.workers)))
    command = [sys.executable, "-m", "mpsearch", *arguments]
    try:
        for number in range(1, crew.workers):
            folder.mkdir(exist_ok=True)
            log = folder / f"{number}.log"
            with log.open("wb") as output:
                run_dir = ["--run-dir", str(folder / str(number))]
                process = subprocess.Popen([*command, *run_dir], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            started.append((log, process))
        yield
        for _, process in started:
            process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        progress.say(f"a worker did not end within {_PATIENCE:.0f} s after the study, and is told to")
    finally:
        for _, process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for log, process in started:
            _ended(log, process, progress)


def _ended(log: Path, process: subprocess.Popen[bytes], progress: Progress) -> None:
    try:
        code = process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        progress.say(f"worker {log.stem} ended with code {code}: {lines[-1] if lines else 'it said nothing'}")
