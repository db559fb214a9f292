"""Whose trial it is: expiry by what one has seen oneself, one successor for an abandoned trial, one owner for an allocation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.propose.observation import Proposal
from mpsearch.study.leases import LEASE, Lease, LeaseLost, Sharing, Watch, abandoned, first_successors, is_void, lease_of
from mpsearch.study.records import Begun, StoredRecords, begin_trial, close_abandoned, proposal_attributes, resuming_attributes
from mpsearch.study.storage import open_study
from tests.storages import EVERY, url_of

ME, OTHER = Sharing(worker="me", seconds=1.0), Sharing(worker="other", seconds=1.0)


@pytest.fixture(params=EVERY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return open_study(f"sqlite:///{tmp_path}/trials.db", "mine")


def proposed(bits: int = 4, **named: Any) -> dict[str, Any]:
    return proposal_attributes(Proposal(origin="ei", allocation=Allocation({"fc": Choice(bits)})), 3, **named)


def begun(study: optuna.Study, attributes: Mapping[str, Any], sharing: Sharing = OTHER) -> Begun:
    return begin_trial(study, {**attributes, LEASE: {"worker": sharing.worker, "count": 0}}, {"size": -0.5})


def failed(study: optuna.Study, begun: Begun) -> FrozenTrial:
    study.tell(begun.number, state=TrialState.FAIL)
    return study.trials[begun.number]


def recorded(study: optuna.Study, begun: Begun) -> None:
    begun.asked.set_user_attr("record", {})
    study.tell(begun.number, [1.0, 1.0])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def running(count: int, worker: str = "other") -> list[FrozenTrial]:
    trial = create_trial(state=TrialState.RUNNING, user_attrs={LEASE: {"worker": worker, "count": count}})
    trial.number = 0
    return [trial]


def test_a_lease_expires_when_its_count_was_the_same_for_its_time() -> None:
    clock = Clock()
    watch = Watch(ME, clock)
    assert not watch.expired(running(0)), "seen for the first time, however old it is"
    clock.now = 0.9
    assert not watch.expired(running(0))
    clock.now = 1.0
    assert watch.expired(running(0))
    assert not watch.expired(running(1)), "renewed after all"
    clock.now = 50.0
    assert not watch.expired(running(2)), "renewed while this process was stopped"
    clock.now = 51.0
    assert watch.expired(running(2))


def test_what_runs_under_ones_own_name_is_of_a_process_that_died() -> None:
    assert Watch(ME).expired(running(7, worker="me"))
    assert Watch(None).expired(running(7)), "nobody else is at work on a study of one's own"


def test_a_lease_is_renewed_until_another_worker_ends_the_trial(url: str) -> None:
    study = open_study(url, "mine")
    trial, brief = begun(study, proposed()), Sharing(worker="other", seconds=0.2)
    with Lease(trial, brief) as lease:
        waited(lambda: lease_of(open_study(url, "mine").trials[0]).get("count", 0) >= 2)
        lease.check()
        other = open_study(url, "mine")
        close_abandoned(other, other.trials, StoredRecords(["fc"]), ())
        with pytest.raises(LeaseLost, match="trial 0 was taken over by another worker"):
            checked_until(lease)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease")]
    assert study.trials[0].state == TrialState.FAIL


def checked_until(lease: Lease) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lease.check()
        time.sleep(0.05)


def waited(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_abandoned_trial_has_one_successor_with_the_same_bits_seed_and_parameters(url: str) -> None:
    study = open_study(url, "mine")
    first = begun(study, proposed())
    rate = first.asked.suggest_float("lr", 0.1, 1.0)
    lost = failed(study, first)
    assert [trial.number for trial in abandoned(study.trials)] == [0]
    ours, theirs = (begin_trial(open_study(url, "mine"), resuming_attributes(lost), {}, lost) for _ in range(2))
    trials = study.trials
    assert not abandoned(trials)
    assert first_successors(trials) == {0: 1}
    assert [is_void(each, trials, set(), 9) for each in (ours, theirs)] == [False, True]
    assert trials[1].params == {"lr": rate}
    assert trials[1].user_attrs == {"bits": "w4af", "proposal": {"origin": "ei", "ordinal": 3, "resumes": 0}}
    assert ours.asked.suggest_float("lr", 0.1, 1.0) == rate


def test_a_successor_that_is_abandoned_has_a_successor(study: optuna.Study) -> None:
    lost = failed(study, begun(study, proposed()))
    lost = failed(study, begun(study, resuming_attributes(lost)))
    assert [trial.number for trial in abandoned(study.trials)] == [1]
    recorded(study, begun(study, resuming_attributes(lost)))
    assert not abandoned(study.trials)
    assert first_successors(study.trials) == {0: 1, 1: 2}


def test_of_two_trials_with_the_same_bits_the_earlier_goes_on(study: optuna.Study) -> None:
    first, second, other = begun(study, proposed()), begun(study, proposed()), begun(study, proposed(bits=2))
    assert [is_void(each, study.trials, set(), 9) for each in (first, second, other)] == [False, True, False]
    failed(study, second)
    assert not abandoned(study.trials), "its bits are being measured"
    recorded(study, first)
    assert not abandoned(study.trials), "and have been"
    third = begun(study, proposed())
    assert is_void(third, study.trials, set(), 9)
    assert not is_void(third, study.trials, {"w4af"}, 9), "they were known when it was proposed, to climb further"


def test_bits_that_are_measured_again_can_be_abandoned_again(study: optuna.Study) -> None:
    recorded(study, begun(study, proposed()))
    failed(study, begun(study, proposed(again=True)))
    assert [trial.number for trial in abandoned(study.trials)] == [1]
    recorded(study, begun(study, resuming_attributes(study.trials[1])))
    assert not abandoned(study.trials)


def test_more_than_the_study_has_are_void(study: optuna.Study) -> None:
    """Two workers may begin the last one at the same moment."""
    recorded(study, begun(study, proposed()))
    trials = [begun(study, proposed(bits)) for bits in (2, 3, 5)]
    assert [is_void(each, study.trials, set(), 3) for each in trials] == [False, False, True]
