"""`remove_unneeded`: checkpoints of trials that have ended, or that others have taken over and ended."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from mpsearch.core.errors import ConfigError
from mpsearch.study.handover import CHECKPOINT
from mpsearch.study.leases import abandoned
from mpsearch.study.published import find_study, published
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.storage import reading_study, storage_errors

__all__ = ["remove_unneeded"]


def remove_unneeded(url: str, name: str | None, artifacts: str | Path | None = None) -> tuple[int, int]:
    """Remove from a study's shared files the checkpoints that no trial will go on from; returns (files, bytes).

    A file that the study does not name is left alone: it may be of another study in the same folder. So is one that another study of this
    storage needs.

    Args:
        url: storage.
        name: of the study; None: the only one there.
        artifacts: the place of the files as this machine sees it; as published, unless given.

    Raises:
        ConfigError: there is no such study, or it shares no files.
    """
    study = find_study(url, name)
    with storage_errors(url), reading_study(study.study_name):
        shared = published(study)
        if shared is None:
            raise ConfigError(f"the study '{study.study_name}' shares no files with other workers; there is nothing to remove")
        trials = study.get_trials(deepcopy=False)
        storage = study._storage
        needed: set[str] = set()
        for each in storage.get_all_studies():
            needed |= _needed(optuna.load_study(study_name=each.study_name, storage=storage))
    store = SharedFiles(artifacts or shared.artifacts)
    named = {digest for trial in trials for digest in _checkpoints(trial)}
    removed = [store.remove(digest) for digest in sorted((named - needed) & store.names())]
    return len(removed), sum(removed)


def _needed(study: optuna.Study) -> set[str]:
    """What trials under way or to be taken over go on from, those that they resume included, and what workers who join need."""
    trials, shared = study.get_trials(deepcopy=False), published(study)
    kept = {trial.number for trial in [*abandoned(trials), *(trial for trial in trials if trial.state == TrialState.RUNNING)]}
    by_number = {trial.number: trial for trial in trials}
    for number in sorted(kept, reverse=True):
        resumes = by_number[number].user_attrs.get("proposal", {}).get("resumes")
        while resumes in by_number and resumes not in kept:
            kept.add(resumes)
            resumes = by_number[resumes].user_attrs.get("proposal", {}).get("resumes")
    return {digest for number in kept for digest in _checkpoints(by_number[number])} | set(shared.files.values() if shared else ())


def _checkpoints(trial: FrozenTrial) -> list[str]:
    files = trial.user_attrs.get(CHECKPOINT)
    return [str(digest) for digest in files.values()] if isinstance(files, dict) else []
