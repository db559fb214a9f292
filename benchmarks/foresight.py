"""How often the 90 % interval that a study foresees for its retrained network holds what comes out.

    python benchmarks/foresight.py docs/results/never_worse.jsonl            # fit on some networks, judged on the others

The rows are those of `never_worse.py`: studies of five small networks on the digits at four budgets and several seeds, each with the
validation errors of its winner before and after retraining. Shares and quantiles are fitted to the networks of `FITTED` and judged on
the others; then the interval that a machine learns from its own earlier studies is played through in the order of the rows.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results_file import read

from mpsearch.core.record import Score
from mpsearch.run.foresight import ENOUGH, SHIPPED, foresee, recovery
from mpsearch.run.trainings import Training

FITTED = ("mlp", "convolutions", "residual")
EPOCHS = 2


def training(row: dict[str, Any]) -> Training:
    """The winner's training of a study."""
    known = row["validation"]
    *before, after = (error for error, _ in known["networks"][0].values())
    samples = known["samples"]
    share = (before[-1] * samples + 1) / (samples + 2)
    return Training(
        task="classification",
        metric="accuracy",
        trained=len(before) > 1,
        epochs=EPOCHS,
        float_error=known["float"],
        before=before[-1],
        after=after,
        noise=math.sqrt(share * (1 - share) / samples),
    )


def held(now: Training, earlier: Sequence[Training]) -> tuple[bool, float]:
    """(Whether the interval holds what came out, its width in points)."""
    reference = Score(loss=0.0, error=now.float_error, metric=1 - now.float_error)
    found = foresee(now, reference, earlier, 0.0)
    return found.low - 1e-9 <= 1 - now.after <= found.high + 1e-9, 100 * (found.high - found.low)


def line(name: str, results: Sequence[tuple[bool, float]]) -> str:
    """A row of the table."""
    share = sum(hit for hit, _ in results) / len(results)
    error = math.sqrt(share * (1 - share) / len(results))
    return f"| {name} | {len(results)} | {share:.1%} ± {error:.1%} | {sum(width for _, width in results) / len(results):.1f} |"


def main() -> None:
    """Print what is fitted, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", metavar="FILE", help="results of never_worse.py")
    rows = [row for file in parser.parse_args().rows for row in read(file)]
    # A network that calibration left with a trial: uniform ones have no score before.
    rows = [row for row in rows if "validation" in row and len(row["validation"]["networks"][0]) > 1]
    fitted = [training(row) for row in rows if row["network"] in FITTED]
    others = [training(row) for row in rows if row["network"] not in FITTED]
    print(f"fitted to {len(fitted)} studies of {', '.join(FITTED)}: {recovery(fitted)}; shipped: {SHIPPED[False]}\n")
    print("| interval by | studies | holds what came out | width, points |\n|---|---|---|---|")
    print(line("shipped figures, networks they were fitted to", [held(each, ()) for each in fitted]))
    print(line("shipped figures, other networks", [held(each, ()) for each in others]))
    every = [training(row) for row in rows]
    own = [held(each, every[:index]) for index, each in enumerate(every) if index >= ENOUGH]
    if own:
        print(line(f"this machine's earlier studies, from {ENOUGH} on", own))


if __name__ == "__main__":
    main()
