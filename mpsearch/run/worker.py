"""`join`: work on a study that another process has begun and published, from a run directory of one's own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from mpsearch.core.errors import ConfigError
from mpsearch.core.files import is_file
from mpsearch.core.interrupt import check_interrupt
from mpsearch.core.progress import Progress
from mpsearch.core.url import without_password
from mpsearch.data import cache_directory
from mpsearch.run.crew import FLOAT, RUN_FILES, WEIGHTS, check_shareable, identity_of, sharing_of
from mpsearch.run.directory import claimed
from mpsearch.run.ledger import Ledger
from mpsearch.run.pipeline import build_evaluator, compiler_of
from mpsearch.run.prepare import prepare
from mpsearch.run.setup import build_setup
from mpsearch.run.statistics import with_statistics
from mpsearch.run.work import work
from mpsearch.study.published import Published, find_study, published
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.storage import end_of, storage_errors

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["join"]

_POLL = 1.0
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(safetensors|pt|pth|bin)")
"""Names that a file from elsewhere may get here."""


def join(
    url: str,
    name: str | None,
    read: Callable[[str], StudyConfig],
    directory: Callable[[str], Path],
    command: str,
    progress: Progress,
    *,
    artifacts: str | Path | None = None,
) -> int:
    """Evaluate trials of a study until it has ended; returns how many trials it has.

    Args:
        url: storage.
        name: of the study; None: the only one there.
        read: text of the published study → the study as this machine has it, such as with another data folder.
        directory: name of the study → run directory.
        command: the command line, for messages.
        progress: gets bars and lines.
        artifacts: the folder of shared files as this machine sees it, or `s3://BUCKET/PREFIX`; as published, unless given.

    Raises:
        ConfigError: there is no such study, or this worker's network, weights, data or versions are not the study's.
    """
    study = find_study(url, name)
    with storage_errors(url):
        shared = _awaited(study, url, progress)
    config = read(shared.study)
    check_shareable(config)
    run_dir = directory(study.study_name)
    with claimed(run_dir, config, command, extra="worker", storage=url):
        ledger = Ledger(run_dir, progress)
        store = SharedFiles(artifacts or shared.artifacts)
        config = _fetched(config, shared, ledger, store)
        setup = build_setup(config, progress)
        _check_same(identity_of(setup), shared.identity, study.study_name)
        ledger.identify(setup.identity)
        setup = with_statistics(config, setup, progress, ledger)
        evaluator = build_evaluator(config, setup.problem, compiler_of(config, setup.problem), ledger, progress)
        prepared = prepare(config, setup, ledger, progress)
        sharing = sharing_of(run_dir, shared.lease, store)
        worked = work(config, prepared, evaluator, ledger, progress, storage=url, name=study.study_name, sharing=sharing)
    return len(worked.records)


def _awaited(study: optuna.Study, url: str, progress: Progress) -> Published:
    """What the study tells, once it does.

    Raises:
        ConfigError: it has ended without.
    """
    said = False
    while (shared := published(study)) is None:
        if end_of(study) is not None:
            raise ConfigError(f"the study '{study.study_name}' in {without_password(url)} has ended, and was never shared")
        if not said:
            progress.say(f"the study '{study.study_name}' is being prepared; waiting until its signals are there")
            said = True
        check_interrupt()
        time.sleep(_POLL)
    return shared


def _fetched(config: StudyConfig, shared: Published, ledger: Ledger, store: SharedFiles) -> StudyConfig:
    """Put the shared files where a run of this machine looks for them; returns the study, with the weights that it has got.

    Raises:
        ConfigError: the folder of shared files is not what the study says.
    """
    for file, digest in shared.files.items():
        place = _place(file, config, ledger)
        if place is None or is_file(place) or store.fetch(digest, place):
            continue
        raise ConfigError(
            f"artifacts: {store.place} has no whole copy of {file}; pass the folder of the study's shared files, as this machine sees it, "
            "as --artifacts"
        )
    weights = next((file for file in shared.files if file.startswith(WEIGHTS)), None)
    if weights is None or config.model.weights_path is None or is_file(config.model.weights_path):
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"weights": str(ledger.path(weights))})})


def _place(file: str, config: StudyConfig, ledger: Ledger) -> Path | None:
    """Where a shared file belongs; None if it is not needed here."""
    if file in RUN_FILES:
        return ledger.path(file)
    name = file.removeprefix(FLOAT)
    if not _FILE_NAME.fullmatch(name):
        raise ConfigError(f"artifacts: the study names a file '{file[:80]}', which no worker needs; it was not begun by mpsearch")
    if file.startswith(FLOAT):
        return cache_directory() / "float" / name
    return None if config.model.weights_path is not None and is_file(config.model.weights_path) else ledger.path(name)


def _check_same(here: Mapping[str, str], there: Mapping[str, str], name: str) -> None:
    """Check that a worker's results are those that the study's other workers would get.

    Raises:
        ConfigError: they are not; the message names what differs.
    """
    versions = [
        f"another {part} ({here.get(part, 'none')}, not {there.get(part, 'none')})"
        for part in sorted({*here, *there})
        if part.startswith("version") and here.get(part) != there.get(part)
    ]
    parts = [f"another {part}" for part in ("network", "data", "weights") if here.get(part) != there.get(part)]
    if different := [*versions, *parts]:
        raise ConfigError(
            f"worker: this machine has {' and '.join(different)} than the study '{name}'; give it the same (--data, --weights, --model, "
            "the same packages), or begin a study of its own"
        )
