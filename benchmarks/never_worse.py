"""How often what a study delivers is at least as good as the best uniform bits: five networks, four budgets, five seeds.

    python benchmarks/never_worse.py --out runs/never_worse.jsonl                            # all; killed, the same goes on
    python benchmarks/never_worse.py --out runs/never_worse.jsonl --networks mlp --seeds 0   # a part
    python benchmarks/never_worse.py --out runs/never_worse.jsonl --report                   # the table alone

Each network is trained in seconds on the embedded digits, with a split cut by the seed. A study of `--effort quick` searches its bits and
retrains them and the best uniform allocation inside the budget for two epochs. On the test split, which no choice has read, the delivered
network is compared with the uniform one sample by sample: a case is fine if it is no worse by more than two standard errors of the paired
difference. A row is a case.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from results_file import append, known, latest, read
from torch import Tensor, nn

import mpsearch
from mpsearch.core.progress import Silent
from mpsearch.data import load_data
from mpsearch.data.base import Splits
from mpsearch.trials.noise import group_errors, standard_error

BUDGETS = ("1.5bit", "2.2bit", "2.8bit", "3.6bit")
SEEDS = (0, 1, 2, 3, 4)
KEY = ("network", "budget", "seed")
TARGET = 0.99
_STEPS = 300
_CLEAR = 2.0
"""Standard errors."""


class Residual(nn.Module):
    """Two convolutions with BatchNorm, and a path around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, width, H, W]` → alike."""
        return torch.relu(x + self.body(x))


def _convolution(inputs: int, outputs: int, groups: int = 1, size: int = 3) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _classifier(width: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10)),
    "deep": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), *(m for _ in range(4) for m in (nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 32))), nn.Linear(32, 10)
    ),
    "convolutions": lambda: nn.Sequential(*_convolution(1, 12), *_convolution(12, 16), nn.MaxPool2d(2), *_convolution(16, 16),
                                          *_classifier(16)),
    "separable": lambda: nn.Sequential(
        *_convolution(1, 16), *_convolution(16, 16, groups=16), *_convolution(16, 24, size=1), nn.MaxPool2d(2),
        *_convolution(24, 24, groups=24), *_convolution(24, 24, size=1), *_classifier(24),
    ),
    "residual": lambda: nn.Sequential(*_convolution(1, 12), Residual(12), nn.MaxPool2d(2), Residual(12), *_classifier(12)),
}  # fmt: skip
"""Networks of some thousand weights."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One study."""

    network: str
    budget: str
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """As the rows have it."""
        return self.network, self.budget, self.seed


def cases(networks: Sequence[str], budgets: Sequence[str], seeds: Sequence[int]) -> Iterator[Case]:
    """All, the seeds outermost, so that a part of the table is a fair sample of it."""
    for seed in seeds:
        for network in networks:
            for budget in budgets:
                yield Case(network=network, budget=budget, seed=seed)


def trained(network: str, splits: Splits, seed: int) -> nn.Module:
    """The float network, after some hundred steps of Adam."""
    torch.manual_seed(seed)
    model = NETWORKS[network]().train()
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    step = 0
    while step < _STEPS:
        for x, y in splits.train.batches(128, shuffle=True, seed=seed * 1000 + step):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
    return model.eval()


def measured(case: Case) -> dict[str, Any]:
    """A row: what was delivered, and how far it is ahead of the best uniform bits on the test split."""
    started = time.monotonic()
    splits = load_data("digits", seed=case.seed, progress=Silent())
    model, device = trained(case.network, splits, case.seed), torch.device("cpu")
    if splits.test is None:
        raise ValueError("the digits have a test split")
    with tempfile.TemporaryDirectory() as folder:
        result = mpsearch.search(
            model, splits.train, splits.validation, test=splits.test, budget=case.budget, effort="quick", epochs=2,
            signals=["fisher"], run_dir=folder, seed=case.seed, device="cpu", progress=False,
        )  # fmt: skip
        summary, path = result.summary, Path(folder) / "uniform.safetensors"
        other = mpsearch.load(path, model=model) if path.exists() else result.model
    errors = [group_errors(each, splits.test, splits.task, device=device) for each in (other, result.model)]
    gain = errors[0] - errors[1]
    return {
        **dict(zip(KEY, case.key, strict=True)),
        "delivered": summary.winner.origin,
        "mixed": summary.mixed is summary.winner,
        "float": summary.test["float"].metric,
        "winner": summary.test["winner"].metric,
        "uniform": summary.test["uniform"].metric if summary.uniform is not None else None,
        "gain": float(gain.mean()),
        "error": standard_error(gain),
        "validation": {
            "float": summary.reference.scores["validation"].error,
            "samples": len(splits.validation),
            "networks": [
                {rung: [score.error, score.loss] for rung, score in record.scores.items()}
                for record in (summary.mixed, summary.uniform)
                if record is not None
            ],
        },
        "seconds": round(time.monotonic() - started, 1),
    }


def fine(row: dict[str, Any]) -> bool:
    """Whether what was delivered is at least the uniform network, within two standard errors; so it is if no uniform one fits."""
    return row["uniform"] is None or row["gain"] >= -_CLEAR * row["error"]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a network and budget, and the share of all cases that are fine."""
    lines = ["| network | budget | cases | at least uniform | mean gain | uniform delivered |", "|---|---|---|---|---|---|"]
    for network in NETWORKS:
        for budget in BUDGETS:
            held = [row for row in rows if (row["network"], row["budget"]) == (network, budget)]
            if held:
                gain = 100 * sum(row["gain"] for row in held) / len(held)
                good, uniform = sum(map(fine, held)), sum(not row["mixed"] for row in held)
                lines.append(f"| {network} | {budget} | {len(held)} | {good} | {gain:+.2f} | {uniform} |")
    good = sum(map(fine, rows))
    share = f"{good} of {len(rows)} cases ({100 * good / len(rows):.1f} %; aim {100 * TARGET:.0f} %)" if rows else "no case was run"
    return "\n".join([*lines, "", f"What was delivered is at least the best uniform bits, within two standard errors, in {share}."])


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="rows, one JSON object a line")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--report", action="store_true", help="print the table of what is there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for case in () if asked.report else cases(asked.networks, asked.budgets, asked.seeds):
        if case.key not in known(read(asked.out), KEY):
            row = measured(case)
            append(asked.out, row)
            print(row, flush=True)
    print(table(latest(read(asked.out), KEY)))


if __name__ == "__main__":
    main()
