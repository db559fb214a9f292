"""What a smaller run left out, and what no bits reach, is said in its summary."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.config.study import validate_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.record import Record
from mpsearch.run.summary import skipped

STUDY = {
    "name": "s",
    "data": {"source": "memory"},
    "model": {"factory": "m:f"},
    "space": {"name": "s", "weights": [2, 4]},
    "budgets": ["2KB"],
    "methods": {"bsq": {}, "lsq": {}},
    "recipe": {},
}
WINNER = Record(number=0, origin="", allocation=Allocation({}), rung="", scores={}, costs={})


def test_where_no_trial_trains_no_method_is_drawn_and_that_is_said() -> None:
    untrained = {**STUDY, "search": {"rungs": [{"name": "ptq", "epochs": 0}]}}
    sentence = "Methods were not compared, which needs rungs with training: all trials use bsq, the first."
    assert sentence in skipped(validate_study(untrained, label=""), WINNER, None)
    assert sentence not in skipped(validate_study(STUDY, label=""), WINNER, None)
    assert sentence not in skipped(validate_study({**untrained, "methods": {"bsq": {}}}, label=""), WINNER, None)


class Positions(nn.Module):
    """A table that no product reads, larger than all weights, a recurrent layer, and a tensor that nothing registers."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(9, 40, 8) * 0.1)
        self.lstm, self.head, self.scales = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3), [torch.full((6,), 2.0)]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.lstm(x + self.positions[0, : x.shape[1]])[0].mean(1) * self.scales[0])
        return logits


def test_what_no_bits_reach_stands_everywhere(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(48, 5, 8), torch.arange(48) % 3
    result = mpsearch.search(
        Positions(),
        TensorDataset(x[:32], y[:32]),
        TensorDataset(x[32:], y[32:]),
        budget="4bit",
        methods=["gptq"],
        signals=["fisher"],
        images=16,
        effort="quick",
        evaluate="ptq",
        trials=1,
        epochs=0,
        run_dir=tmp_path / "run",
        progress=False,
    )
    floats, constant, compensated = (s for s in result.summary.skipped if "stay float" in s or "does not hold" in s or "gptq" in s)
    assert floats.startswith("11,724 B, ")
    assert floats.endswith(
        "of the file, stay float whatever the bits; the largest: positions 11,520 B, lstm.bias_ih_l0 96 B, lstm.bias_hh_l0 96 B."
    )
    assert "The file does not hold scales[0]," in constant
    assert compensated.endswith("rounded to the nearest: lstm.weight_ih_l0, lstm.weight_hh_l0.")
    reason = "parameter that enters no matrix product by itself"
    assert [(group.reason, group.bytes) for group in result.summary.unquantized] == [(reason, 11_520), ("bias", 204)]
    for page in ("card.md", "front.html"):
        assert reason in (tmp_path / "run" / page).read_text()
