"""What `prepare` leaves in the run directory: allocations that signals have learned are tried as they are, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.summary import Summary
from mpsearch.run.ledger import Ledger
from mpsearch.training.recipe import Recipe

RECIPE = Recipe(batch_size=32, lr=0.01, reestimate=0, precision="float32")


def vectors() -> TensorDataset:
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x.sum(1) > 0).long())


def run(directory: Path) -> Summary:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)).eval()
    return mpsearch.search(
        model,
        vectors(),
        vectors(),
        budget="2.1KB",
        space={"name": "s", "weights": [1, 2, 4, 8]},
        signals=("fisher", "alq"),
        images=96,
        recipe=RECIPE,
        effort="quick",
        trials=3,
        epochs=0,
        run_dir=directory,
        device="cpu",
        progress=False,
    ).summary


def test_learned_bits_are_the_trial_after_the_signals(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    origins = [trial.origin for trial in first.trials]
    place = origins.index("learned:alq")  # a signal whose optimum is another's proposes nothing
    assert place > 0
    assert all(origin.startswith("milp:") for origin in origins[:place])
    assert first.trials[place].feasible
    assert set(first.tables[1].bits) == {"0", "2", "4"}
    assert not first.tables[0].bits

    other = Allocation(dict.fromkeys(("0", "2", "4"), Choice(1)))
    file = tmp_path / "run" / "prepared.json"
    held = json.loads(file.read_text())
    assert [origin for origin, _ in held["result"]["initial"]] == ["learned:alq"]
    held["result"]["initial"] = [["learned:alq", other.to_dict()]]
    Ledger(tmp_path / "run").write("prepared.json", held["result"], made_from=held["made_from"])
    for name in ("summary.json", "study.db", "winner.json", "uniform.json"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    assert run(tmp_path / "run").trials[place].allocation == other
