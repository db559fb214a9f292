"""What a worker leaves of a trial: its last rung, its training, and nothing that another trial would take for its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.record import Score
from mpsearch.propose.observation import Proposal
from mpsearch.study.handover import CHECKPOINT, Handover
from mpsearch.study.records import Begun, begin_trial, proposal_attributes
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.storage import open_study
from mpsearch.trials.partway import RungState

STATE = RungState(
    scores={"ptq": Score(loss=2.0, error=0.5, metric=0.5)}, curve=[{"epoch": 1, "loss": 0.5}], model={"weight": torch.arange(3.0)}
)


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    proposal = Proposal(origin="ei", allocation=Allocation({"fc": Choice(4)}))
    return begin_trial(open_study(f"sqlite:///{tmp_path}/trials.db", "s"), proposal_attributes(proposal, 0), {})


def handover(begun: Begun, tmp_path: Path, inherited: dict[str, str], said: list[str], made_from: str = "this") -> Handover:
    return Handover(begun, inherited, made_from=made_from, folder=tmp_path, store=SharedFiles(tmp_path / "store"), say=said.append)


def left(begun: Begun) -> dict[str, str]:
    found: dict[str, str] = begun.study.trials[0].user_attrs[CHECKPOINT]
    return found


def test_a_rung_is_taken_over(begun: Begun, tmp_path: Path) -> None:
    said: list[str] = []
    first = handover(begun, tmp_path, {}, said)
    assert first.held() is None
    first.keep(lambda: STATE)
    held = handover(begun, tmp_path, left(begun), said).held()
    assert held is not None
    assert (held.scores, held.curve) == (STATE.scores, STATE.curve)
    assert torch.equal(held.model["weight"], STATE.model["weight"])
    assert not said


@pytest.mark.parametrize("wrong", ["gone", "damaged", "of another trial"])
def test_what_is_not_that_rung_is_left(wrong: str, begun: Begun, tmp_path: Path) -> None:
    said: list[str] = []
    handover(begun, tmp_path, {}, said).keep(lambda: STATE)
    inherited = left(begun)
    file = tmp_path / "store" / inherited["rung"]
    if wrong == "gone":
        file.unlink()
    elif wrong == "damaged":
        file.write_bytes(file.read_bytes()[:-9])
    found = handover(begun, tmp_path, inherited, said, made_from="that" if wrong == "of another trial" else "this").held()
    assert found is None
    assert said == ["trial 0 begins at its first rung: what its worker had left is gone or damaged"]


def test_a_training_is_taken_over_where_it_stands(begun: Begun, tmp_path: Path) -> None:
    said: list[str] = []
    first = handover(begun, tmp_path, {}, said)
    training = first.training("short")
    assert training is not None
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training.save(model, optimizer, [{"epoch": 1, "loss": 0.5}], 7, 1.5)
    first.hand_over()
    other, curve = torch.nn.Linear(2, 1), list[dict[str, float]]()
    again = handover(begun, tmp_path, left(begun), said).training("short")
    assert again is not None
    assert again.restore(other, torch.optim.SGD(other.parameters(), lr=0.1), curve) == (7, 1.5)
    assert torch.equal(other.weight, model.weight)
    assert not said


def test_a_full_store_costs_the_heir_only(begun: Begun, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "store").write_text("no folder")
    handover(begun, tmp_path, {}, said).keep(lambda: STATE)
    assert len(said) == 1
    assert "trial 0 cannot be handed over" in said[0]
    assert left(begun) == {}
