"""How soon the smallest file that keeps enough of the metric is found: `python -m benchmarks.tabular.threshold`.

Every table is asked for the smallest file whose validation error lies within a share of the accuracy of its most bits, which stand for the
float network here, and for the smallest whose loss lies within a factor of theirs. The second question is that of a metric without grain:
an error counted on 270 images has 20 values, and which of thousands of allocations is the smallest by it is largely a matter of luck.

Constants of the search were chosen on `TUNED`; the others were played once, afterwards.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.truth import Truth, file_of, names
from mpsearch.core.errors import BudgetError
from mpsearch.propose.observation import Observation
from mpsearch.propose.threshold import Bound, ThresholdSearcher

__all__ = ["Question", "play", "questions"]

TUNED = ("cifar10_resnet20", "digits_resnet14")
SHARES = (1.0, 0.995, 0.99, 0.98)
FACTORS = (1.05, 1.2, 1.5, 2.0)
TRIALS = 15
SEEDS = 5
NEAR = 1.01
"""How near to the smallest file counts as found."""
SIGNALS = ("fisher", "measured")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One table and one bound.

    Args:
        truth: the table.
        name: of the bound.
        errors: what is bounded, the shape of the table.
        bound: the largest that is good enough.
        reference: of the most bits.
        resolution: step of the errors.
    """

    truth: Truth
    name: str
    errors: NDArray[np.float64]
    bound: float
    reference: float
    resolution: float

    @property
    def smallest(self) -> int:
        """Bytes of the smallest file within the bound."""
        return int(self.truth.bytes[self.errors <= self.bound].min())


def questions(truth: Truth) -> Iterator[Question]:
    """What is asked of a table; nothing that its smallest file already holds."""
    top = (-1,) * truth.loss.ndim
    step = 1.0 / float(truth.notes["validation images"])
    for share in SHARES:
        # float32 of the table: half a step keeps counts apart
        bound = 1 - share * (1 - float(truth.error[top])) + 1e-3 * step
        yield Question(
            truth=truth, name=f"accuracy, {share:.1%}", errors=truth.error, bound=bound, reference=float(truth.error[top]), resolution=step
        )
    for factor in FACTORS:
        loss = float(truth.loss[top])
        yield Question(truth=truth, name=f"loss, x{factor:g}", errors=truth.loss, bound=factor * loss, reference=loss, resolution=1e-6)


def play(question: Question, seed: int, trials: int = TRIALS) -> list[float]:
    """Smallest verified file over the true smallest after 1 … `trials` trials; infinite before the first."""
    truth = question.truth
    bound = Bound(
        cost="size",
        error=question.bound,
        reference=(float(truth.loss[(-1,) * truth.loss.ndim]), question.reference),
        resolution=question.resolution,
    )
    searcher = ThresholdSearcher(truth.space, [truth.tables[name] for name in SIGNALS], {"size": truth.size}, (), bound=bound, seed=seed)
    seen: list[Observation] = []
    best = math.inf
    curve: list[float] = []
    while len(curve) < trials and best > question.smallest:
        try:
            allocation = searcher.propose(seen).allocation
        except BudgetError:  # nothing smaller is left
            break
        picks = truth.picks(allocation)
        error = float(question.errors[picks])
        seen.append(Observation(allocation=allocation, losses={"ptq": float(truth.loss[picks])}, errors={"ptq": error}))
        if error <= question.bound:
            best = min(best, float(truth.bytes[picks]))
        curve.append(best / question.smallest)
    return curve + [curve[-1]] * (trials - len(curve))


def report(rows: Sequence[dict[str, object]]) -> str:
    """Markdown: a line for each question, and the shares over all."""
    lines = ["| table | bound | smallest, B | over it after 5, 10, 15 trials | within 1 % at trial |", "|---|---|---|---|---|"]
    shares: dict[tuple[str, str], list[bool]] = {}
    for row in rows:
        curves = np.array(row["curves"], dtype=np.float64)
        middle = [float(np.median(curves[:, count - 1])) for count in (5, 10, 15)]
        first = sorted(int((curve <= NEAR).argmax()) + 1 if (curve <= NEAR).any() else TRIALS + 1 for curve in curves)
        told = " ".join(f"{each}" if each <= TRIALS else "-" for each in first)
        cells = " ".join(f"{value:.3f}" for value in middle)
        lines.append(f"| {row['table']} | {row['bound']} | {row['smallest']:,} | {cells} | {told} |")
        kind = "accuracy" if str(row["bound"]).startswith("accuracy") else "loss"
        shares.setdefault((kind, "tuned on" if row["table"] in TUNED else "judged on"), []).extend((curves[:, TRIALS - 1] <= NEAR).tolist())
    lines.append("")
    for (kind, role), found in sorted(shares.items()):
        lines.append(f"- {kind}, tables {role}: within 1 % of the smallest by trial {TRIALS} in {np.mean(found):.0%} of {len(found)} runs")
    return "\n".join(lines)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=names(), help="tables beside this file")
    parser.add_argument("--bounds", default="", help="only those whose names begin so: accuracy or loss")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--keep", type=Path, help="write all curves to this JSON file")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    began = time.process_time()
    for network in arguments.networks:
        for question in questions(Truth.load(file_of(network))):
            if question.name.startswith(arguments.bounds):
                curves = [play(question, seed) for seed in range(arguments.seeds)]
                rows.append({"table": network, "bound": question.name, "smallest": question.smallest, "curves": curves})
                print(report(rows[-1:]).splitlines()[2], flush=True)
    print()
    print(report(rows))
    print(f"\n{time.process_time() - began:.0f} s of one processor")
    if arguments.keep:
        kept = [{**row, "curves": [[round(v, 4) if math.isfinite(v) else None for v in c] for c in row["curves"]]} for row in rows]  # type: ignore[attr-defined]
        arguments.keep.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
