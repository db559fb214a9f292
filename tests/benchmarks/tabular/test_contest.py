"""The rules: what counts as a trial, what regret and hypervolume are, and that every contestant keeps to its table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tabular.compare import compete
from benchmarks.tabular.contest import BUDGETS, REDRAWS, Contest, Entry, play
from benchmarks.tabular.ours import OURS, OURS_SWEPT
from benchmarks.tabular.report import tables
from benchmarks.tabular.rivals import FRONT_RIVALS, RIVALS
from benchmarks.tabular.rungs import Climbing, cheap_counterpart
from benchmarks.tabular.runs import drop_runs, read_runs
from benchmarks.tabular.scores import hypervolume, regret
from benchmarks.tabular.truth import ACTIVATION_DISTANCE, SQNR, Picks, Truth
from mpsearch.core.layer import Layer
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.core.table import Table

SIGNALS = ("fisher", "measured", "hessian", ACTIVATION_DISTANCE, SQNR)


def space() -> ResolvedSpace:
    layers = [
        Layer(
            name=name,
            module=name,
            parameter="weight",
            kind="Linear",
            weight_shape=(8, weights // 8),
            channels=8,
            macs=weights,
            input_elements=1,
            output_elements=8,
            act_quantizable=True,
            signed_input=True,
            bias_elements=0,
        )
        for name, weights in (("a", 800), ("b", 1600), ("c", 800), ("d", 400))
    ]
    return Space(name="test", weights=(2, 3, 4), ties=(("a", "d"),)).resolve(layers)


def truth(seed: int = 0) -> Truth:
    """27 allocations of three groups, a loss that fewer bits raise."""
    draw = np.random.default_rng(seed)
    resolved = space()
    bits = np.array([choice.weight.bits for choice in resolved.choices])

    def table(name: str, values: np.ndarray) -> Table:
        return Table(name=name, unit="", layers=resolved.names, choices=resolved.choices, values=values)

    damage = draw.uniform(0.5, 2, (4, 1)) * 4.0**-bits
    made = Truth(
        name="test",
        space=resolved,
        loss=np.zeros((3, 3, 3)),
        error=np.zeros((3, 3, 3)),
        size=table("size", np.array([[layer.weights * b / 8] for layer in resolved.layers for b in [bits]]).reshape(4, 3)),
        tables={name: table(name, damage * draw.uniform(0.7, 1.4, damage.shape)) for name in SIGNALS},
    )
    loss = 0.1 + made.totals(table("damage", damage)) * draw.uniform(0.9, 1.1, (3, 3, 3))
    return replace(made, loss=loss.astype(np.float32).astype(np.float64))


class Listed:
    """Proposes what it was given."""

    def __init__(self, answers: Iterator[Picks]) -> None:
        self.answers = answers
        self.told: list[tuple[Picks, float, float]] = []

    def ask(self) -> Picks | None:
        return next(self.answers, None)

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        self.told.append((picks, loss, violation))


def test_only_new_allocations_inside_the_budget_count() -> None:
    contest = Contest.of(truth(), "middle")
    listed = Listed(iter([(2, 2, 2), (0, 0, 0), (0, 0, 0), (1, 0, 0)]))
    assert play(contest, Entry(name="listed", start=lambda c, s: listed), 0) == [0, 9]
    assert [violation > 0 for _, _, violation in listed.told] == [True, False, False, False]
    assert listed.told[0][1] == contest.truth.loss[2, 2, 2]


def test_a_search_stuck_outside_the_budget_pays() -> None:
    contest = Contest.of(truth(), "tight")
    entry = Entry(name="stuck", start=lambda c, s: Listed(itertools.repeat((2, 2, 2))), trials=3)
    assert play(contest, entry, 0) == [-1, -1, -1]
    answers = [(2, 2, 2)] * (REDRAWS + 1) + [(0, 0, 0)]
    assert play(contest, Entry(name="slow", start=lambda c, s: Listed(iter(answers))), 0) == [-1, 0]


@pytest.mark.parametrize(
    ("entry", "budget"),
    [*((OURS, budget) for budget in BUDGETS), *((entry, "loose") for entry in RIVALS)],
    ids=lambda part: getattr(part, "name", part),
)
def test_every_contestant_keeps_inside_the_budget_and_repeats_itself(entry: Entry, budget: str) -> None:
    contest = Contest.of(truth(), budget)
    short = replace(entry, trials=4)
    trials = play(contest, short, 3)
    found = [position for position in trials if position >= 0]
    assert found
    assert len(set(found)) == len(found)
    assert contest.feasible.ravel()[found].all()
    assert play(contest, short, 3) == trials


@pytest.mark.parametrize("entry", [OURS_SWEPT, *FRONT_RIVALS], ids=lambda entry: entry.name)
def test_every_search_for_a_front_keeps_inside_the_budget_and_adds_area(entry: Entry) -> None:
    contest = Contest.of(truth(), "loose")
    trials = play(contest, replace(entry, trials=12), 0)
    found = [trial for trial in trials if trial >= 0]
    assert len(found) == len(set(found))
    assert all(contest.truth.bytes.flat[trial] <= contest.limit for trial in found)
    assert len({int(contest.truth.bytes.flat[trial]) for trial in found}) > 1
    first, last = hypervolume(contest, trials, (1, 12))
    assert 0 <= first < last <= 1


def test_who_answers_once_answers_at_the_limit_first_and_then_at_sizes_below() -> None:
    contest = Contest.of(truth(), "loose")
    for alone in (entry for entry in RIVALS if not entry.seeded):
        front = next(entry for entry in FRONT_RIVALS if entry.name == f"front: {alone.name}")
        assert play(contest, front, 0)[:1] == play(contest, alone, 0)


def test_an_early_rung_lets_only_the_best_climb() -> None:
    contest = Contest.of(truth(), "loose")
    early = truth(1)
    climbing = Climbing(contest, 0, early)
    entry = Entry(name="climbing", start=lambda c, s: climbing, trials=4, front=True)
    trials = play(contest, entry, 0)
    assert len(set(trials)) == len(trials) > 0
    assert len(climbing.seen) > len(trials)
    for observation in climbing.seen:
        picks = contest.truth.picks(observation.allocation)
        assert observation.losses["ptq"] == early.loss[picks]
        if "dear" in observation.losses:
            assert observation.losses["dear"] == contest.truth.loss[picks]
    assert sum("dear" in observation.losses for observation in climbing.seen) == len(trials)


def test_only_tables_after_training_have_a_cheap_counterpart() -> None:
    assert cheap_counterpart("net-supernet") == cheap_counterpart("net-trained") == "net"
    assert cheap_counterpart("net") is None
    assert cheap_counterpart("some-net") is None


def test_regret_is_zero_from_the_optimum_on() -> None:
    contest = Contest.of(truth(), "middle")
    inside = np.flatnonzero(contest.feasible)
    best = int(inside[np.argmin(contest.truth.loss.ravel()[inside])])
    other = int(next(position for position in inside if position != best))
    line = regret(contest, [-1, other, best, other], 6)
    assert line[0] == math.inf
    assert line[1] == pytest.approx(contest.truth.loss.flat[other] / contest.optimum - 1)
    assert (line[2:] == 0).all()


def test_hypervolume_of_everything_is_one_and_grows() -> None:
    contest = Contest.of(truth(), "loose")
    inside = np.flatnonzero(contest.feasible).tolist()
    volumes = hypervolume(contest, [-1, *inside], (1, 2, 3, len(inside) + 1))
    assert volumes[0] == 0
    assert (np.diff(volumes) >= -1e-12).all()
    assert volumes[-1] == pytest.approx(1)


def test_hypervolume_by_hand() -> None:
    contest = Contest.of(truth(), "loose")
    reference = float(np.median(np.log(contest.truth.loss[contest.feasible])))
    everything = hypervolume(contest, np.flatnonzero(contest.feasible).tolist(), (100,))[0]
    position = int(np.argmin(np.where(contest.feasible, contest.truth.loss, np.inf)))
    width = contest.limit - int(contest.truth.bytes.flat[position])
    alone = hypervolume(contest, [position], (1,))[0]
    grid = np.arange(contest.truth.bytes.min(), contest.limit)
    sizes, losses = contest.truth.bytes.ravel(), np.log(contest.truth.loss.ravel())
    whole = sum(reference - min(reference, losses[sizes <= byte].min()) for byte in grid)
    assert everything == pytest.approx(1)
    assert alone == pytest.approx(width * (reference - math.log(contest.optimum)) / whole)


def test_tables_come_back_from_the_file(tmp_path: Path) -> None:
    made = truth()
    made.save(tmp_path / "t.npz")
    read = Truth.load(tmp_path / "t.npz")
    assert (read.loss == made.loss).all()
    assert (read.bytes == made.bytes).all()
    assert read.space == made.space
    assert read.bytes[1, 0, 2] == made.size.total(made.allocation((1, 0, 2)))
    assert read.picks(read.allocation((1, 0, 2))) == (1, 0, 2)
    for name, table in made.tables.items():
        assert (read.tables[name].values == table.values).all()


def test_runs_go_on_and_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = truth()
    made.save(tmp_path / "test.npz")
    for module in ("compare", "report"):
        monkeypatch.setattr(f"benchmarks.tabular.{module}.file_of", lambda name: tmp_path / f"{name}.npz")
    file = tmp_path / "runs.jsonl"
    entries = [replace(OURS, trials=6), *(replace(e, trials=6) for e in RIVALS if e.name in ("random", "MILP by fisher"))]
    assert not compete(["test"], entries, 2, file, deadline=-math.inf)
    assert compete(["test"], entries, 2, file)
    runs = read_runs(file)
    assert len(runs) == 3 * (2 + 2 + 1)  # three budgets; the one-shot answer has no seeds
    file.write_text(file.read_text()[:-9])
    assert compete(["test"], entries, 2, file)
    assert sorted(read_runs(file), key=repr) == sorted(
        (replace(r, seconds=s.seconds) for r, s in zip(runs, read_runs(file), strict=True)), key=repr
    )
    drop_runs(file, ["MILP"])
    assert {run.entry for run in read_runs(file)} == {"mpsearch", "random"}
    text, kept = tables(runs)
    assert "| mpsearch | 2 |" in text
    assert "optimum within 30 trials over all" in text
    assert {name: len(entries["mpsearch"]["regret"]) for name, entries in kept.items()} == {f"test, {budget}": 3 for budget in BUDGETS}
