"""Workers on one study, killed, stopped for longer than a lease, told to end: `python -m benchmarks.reliability.workers --rounds 100`.

A round is a new study of which several forked processes evaluate the trials, by losses that need no network. While they do, faults hit
random ones of them; who has died is replaced. Right is a round after which every trial has ended, is recorded once, and no bits were
measured twice. The database of `--storage` gets a study a round; a new SQLite file a round without.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from benchmarks.reliability.verdict import write_results
from mpsearch.core.allocation import Allocation
from mpsearch.core.interrupt import Terminated, interruptible
from mpsearch.core.record import Score
from mpsearch.core.space import Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.budgets import parse_budget
from mpsearch.costs.size import size
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.lsq import Lsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.study.leases import Sharing, first_successors
from mpsearch.study.records import StoredRecords
from mpsearch.study.settings import SearchSettings
from mpsearch.study.stopping import Stopping
from mpsearch.study.storage import end_of, open_study
from mpsearch.study.study import run_trials
from mpsearch.study.study_sampler import bits_sampler
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.trials.climb import Hyperparameters, Rung
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

LEASE = 1.0
FAULTS = ("kill", "stop", "end")


class Imagined(Evaluator):
    """Losses from the bits alone, after a while."""

    seconds = 0.05

    def untrained(self, allocation: Allocation, *_: Any) -> Score:
        """See `Evaluator`."""
        time.sleep(self.seconds)
        digest = int.from_bytes(hashlib.sha256(allocation.spelled().encode()).digest()[:4], "big")
        return Score(loss=1 + digest / 2**32, error=digest / 2**32, metric=1 - digest / 2**32)


def problem() -> Problem:
    """Four linear layers."""
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    data = TensorSplit(x, (x[:, 0] > 0).long())
    model = nn.Sequential(*[module for _ in range(3) for module in (nn.Linear(8, 8), nn.ReLU())], nn.Linear(8, 2)).eval()
    space = Space(name="s", weights=(1, 2, 3, 4, 6, 8)).resolve(trace(model, x))
    return Problem(
        model=model,
        train=data,
        validation=data,
        task=Task.classification(),
        space=space,
        costs={"size": size(CostInputs(space=space))},
        budgets=(parse_budget("1kB"),),
        calibration=Calibration.fit(model, space, [x]),
        device=torch.device("cpu"),
        seed=0,
    )


def worker(url: str, study: str, name: str, trials: int) -> int:
    """Fork a worker; returns its process."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        torch.set_num_threads(1)
        hyper = Hyperparameters(method=Lsq(), recipe=Recipe())
        rungs = (Rung(name="ptq", epochs=0),)
        settings = SearchSettings(stopping=Stopping(trials=trials), rungs=rungs, default=hyper, suggest=lambda trial: hyper)
        task = problem()
        sampler = bits_sampler(task, [], (1.0, 1.0), stopping=settings.stopping, refine=0.25, rungs=rungs)
        with interruptible():
            sharing = Sharing(worker=name, seconds=LEASE)
            run_trials(Imagined(task, Compiler("off", task.device)), sampler, settings, url, name=study, sharing=sharing)
        code = 0
    except Terminated:
        code = 143
    finally:
        os._exit(code)


def round_of(url: str, study: str, workers: int, trials: int, faults: int, random: Random) -> tuple[Counter[str], str]:
    """(Faults by kind, what is wrong or "") of one study."""
    open_study(url, study)
    names = (f"worker{number}" for number in range(10**6))
    alive = [worker(url, study, next(names), trials) for _ in range(workers)]
    done: Counter[str] = Counter()
    stopped: dict[int, float] = {}
    failed: list[int] = []
    deadline, due = time.monotonic() + 300 + trials, time.monotonic() + random.uniform(0.5, 2.0)
    while alive and time.monotonic() < deadline:
        now = time.monotonic()
        for process in [process for process, until in stopped.items() if now > until]:
            del stopped[process]
            os.kill(process, signal.SIGCONT)
        for process in list(alive):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                alive.remove(process)
                stopped.pop(process, None)
                code = os.waitstatus_to_exitcode(status)
                if code not in (0, 143, -signal.SIGKILL, -signal.SIGTERM):  # the last before it listens
                    failed.append(code)
                if code:
                    alive.append(worker(url, study, next(names), trials))
        if sum(done.values()) < faults and now > due and (hit := [process for process in alive if process not in stopped]):
            process, kind = random.choice(hit), random.choice(FAULTS)
            os.kill(process, {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "end": signal.SIGTERM}[kind])
            if kind == "stop":
                stopped[process] = now + random.uniform(0.5, 2.5) * LEASE
            done[kind] += 1
            due = now + random.uniform(0.05, 0.6)
        time.sleep(0.02)
    for process in alive:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return done, "still at work" if alive else wrong(url, study, trials) or (f"exit codes {failed}" if failed else "")


def wrong(url: str, name: str, trials: int) -> str:
    """What is wrong with a study that has ended, or ""."""
    study = open_study(url, name)
    successors = first_successors(study.trials)
    records = StoredRecords(study.user_attrs["layers"]).of([trial for trial in study.trials if trial.number not in successors])
    twice = len(records) - len({record.allocation for record in records})
    running = sum(not trial.state.is_finished() for trial in study.trials)
    lost = sum(record.status != "complete" or not math.isfinite(record.score.loss) for record in records)
    if (len(records), twice, running, lost) == (trials, 0, 0, 0) and end_of(study) is not None:
        return ""
    return f"{len(records)} records of {trials} trials, {twice} twice, {running} running, {lost} without a score, end: {end_of(study)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--faults", type=int, default=10, help="at most, a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", help="URL; a new SQLite file a round if left out")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    random, faults, differ = Random(asked.seed), Counter[str](), []
    for number in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            url = asked.storage or f"sqlite:///{folder}/trials.db"
            done, said = round_of(url, f"round{asked.seed}-{number}", asked.workers, asked.trials, asked.faults, random)
        faults += done
        if said:
            differ.append({"round": number, "wrong": said})
        print(f"{number + 1} of {asked.rounds}: {dict(done)}; {len(differ)} wrong {said}", file=sys.stderr)
    found = {"rounds": asked.rounds, "workers": asked.workers, "trials": asked.trials, "seed": asked.seed, "faults": dict(faults)}
    kind = "sqlite" if asked.storage is None else asked.storage.partition(":")[0]
    return write_results({"what": "workers", "storage": kind, **found, "same": asked.rounds - len(differ), "differ": differ}, asked.out)


if __name__ == "__main__":
    sys.exit(main())
