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
from mpsearch.run.prepare import KeptInRun
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


def test_the_parts_of_a_signal_are_kept_in_the_run_until_it_is_computed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    parts = KeptInRun(ledger, "measured", every=0)
    assert parts.held(list) is None
    parts.keep(lambda: [0.1, 0.2])
    assert KeptInRun(ledger, "measured").held(list) == [0.1, 0.2]
    assert KeptInRun(ledger, "coverage").held(list) is None
    KeptInRun(ledger, "measured", every=60).keep(lambda: [0.3])  # too soon after the last
    assert KeptInRun(ledger, "measured").held(list) == [0.1, 0.2]
    (tmp_path / "signal_measured.checkpoint").write_text("half", encoding="utf-8")
    assert parts.held(list) is None


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
