"""What may be removed: checkpoints of trials that have ended, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.propose.observation import Proposal
from mpsearch.study.published import Published, publish
from mpsearch.study.records import begin_trial, proposal_attributes, resuming_attributes
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.storage import open_study
from mpsearch.study.unneeded import remove_unneeded


def test_only_checkpoints_of_trials_that_have_ended_are_removed(tmp_path: Path) -> None:
    url, store = f"sqlite:///{tmp_path}/trials.db", SharedFiles(tmp_path / "store")
    study = open_study(url, "mine")

    def file(content: str) -> str:
        (tmp_path / "file").write_text(content)
        return store.put(tmp_path / "file")

    publish(study, Published(study="", identity={}, lease=1.0, artifacts=store.place, files={"prepared.json": file("signals")}))

    def begun(bits: int) -> dict[str, object]:
        return proposal_attributes(Proposal(origin="ei", allocation=Allocation({"fc": Choice(bits)})), 0)

    trials = [
        begin_trial(study, {**begun(2 + number), "checkpoint": {"rung": file(name)}}, {})
        for number, name in enumerate(["done", "running", "abandoned", "taken over"])
    ]
    trials[0].asked.set_user_attr("record", {})
    study.tell(0, [1.0, 1.0])
    for number in (2, 3):
        study.tell(number, state=TrialState.FAIL)
    heir = begin_trial(study, resuming_attributes(study.trials[3]), {})
    stranger = file("of another study")
    assert remove_unneeded(url, None) == (1, len("done"))
    kept = {file(name) for name in ("signals", "running", "abandoned", "taken over")}
    assert store.names() == kept | {stranger}
    heir.asked.set_user_attr("record", {})
    study.tell(heir.number, [1.0, 1.0])
    assert remove_unneeded(url, "mine") == (1, len("taken over"))
    assert remove_unneeded(url, "mine") == (0, 0)


def test_a_study_that_shares_nothing_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    open_study(url, "mine")
    with pytest.raises(ConfigError, match="the study 'mine' shares no files with other workers"):
        remove_unneeded(url, None)
