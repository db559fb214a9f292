"""What a study is at, from its storage alone."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.propose.observation import Proposal
from mpsearch.study.published import Published, publish
from mpsearch.study.records import begin_trial, proposal_attributes
from mpsearch.study.status import status_of
from mpsearch.study.storage import end_study, open_study


def test_workers_trials_and_the_best(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    study = open_study(url, "mine")
    publish(study, Published(study="search: {trials: 9}\n", identity={}, lease=60.0, artifacts="", files={}))
    trials = [
        begin_trial(
            study,
            {
                **proposal_attributes(Proposal(origin="ei", allocation=Allocation({"fc": Choice(2 + number)})), number),
                "lease": {"worker": "ab"[number % 2], "count": number},
            },
            {},
        )
        for number in range(4)
    ]
    for trial, error in zip(trials[:2], (0.5, 0.25), strict=True):
        trial.asked.set_user_attr("record", {})
        study.tell(trial.number, [error, 1.0])
    study.tell(trials[2].number, state=TrialState.FAIL)
    status = status_of(url, None)
    assert (status.name, status.trials, status.done, status.failed, status.waiting, status.taken_over) == ("mine", 9, 2, 0, 1, 0)
    assert status.by_worker == {"a": 1, "b": 1}
    assert status.best == (1, 0.25)
    assert [(trial.number, trial.worker, trial.origin, trial.renewals) for trial in status.running] == [(3, "b", "ei", 3)]
    assert status.minutes_left is not None
    assert status.minutes_left > 0
    end_study(study, "9 trials are done")
    ended = status_of(url, "mine")
    assert (ended.ended, ended.minutes_left) == ("9 trials are done", None)


def test_a_study_without_workers_has_a_status_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    open_study(url, "mine")
    status = status_of(url, None)
    assert (status.trials, status.done, status.best, status.pace, status.running) == (None, 0, None, None, ())
