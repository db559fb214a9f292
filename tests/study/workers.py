"""One worker on the small problem, in a process of its own: `python -m tests.study.workers URL NAME LEASE SECONDS TRIALS [FOLDER]`.

With a folder for shared files, trials train at a second rung, step by step.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpsearch.core.interrupt import interruptible
from mpsearch.core.progress import Silent
from mpsearch.study.leases import Sharing
from mpsearch.study.shared_files import SharedFiles
from mpsearch.study.study import run_trials
from mpsearch.study.study_sampler import bits_sampler
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from tests.problems import small_problem, small_settings


class Slow(Evaluator):
    """Takes its time for every score, and says when it begins."""

    seconds = 0.0

    def untrained(self, *arguments: Any) -> Any:
        print("scoring", flush=True)
        time.sleep(self.seconds)
        return super().untrained(*arguments)


class Aloud(Silent):
    seconds = 0.0

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        if "short" in text:  # a step of the second rung
            print(text, flush=True)
            time.sleep(self.seconds)

    def say(self, text: str) -> None:
        print(text, flush=True)


def main(url: str, name: str, lease: str, seconds: str, trials: str, shared: str = "") -> None:
    problem, settings = small_problem(), small_settings(int(trials))
    sharing = Sharing(worker=name, seconds=float(lease))
    if shared:
        folder = Path(shared, name)
        folder.mkdir(exist_ok=True)
        sharing = replace(sharing, folder=folder, store=SharedFiles(Path(shared)))
    else:
        settings = replace(settings, rungs=settings.rungs[:1])
    sampler = bits_sampler(problem, [], (1.0, 1.0), stopping=settings.stopping, refine=0.25, rungs=settings.rungs)
    evaluator = Slow(problem, Compiler("off", problem.device))
    evaluator.seconds = 0.0 if shared else float(seconds)
    aloud = Aloud()
    aloud.seconds = float(seconds) if shared else 0.0
    with interruptible():
        run_trials(evaluator, sampler, settings, url, aloud, name="s", sharing=sharing)


if __name__ == "__main__":
    main(*sys.argv[1:])
