"""The sampler in Optuna's hands: anybody's objective, parallel workers, an interrupted study, a space that runs out."""

from __future__ import annotations

import pickle
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler

import mpsearch.study.sampler as sampler_module
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError, ConfigError, SpaceError
from mpsearch.study.sampler import BitsSampler, bits_space, suggest_bits
from tests.propose.worlds import World, space_of, table

optuna.logging.set_verbosity(optuna.logging.ERROR)


def sampler_of(world: World, **options: Any) -> BitsSampler:
    return BitsSampler(world.space, world.signals, {"size": world.size}, world.budgets, **options)


def allocations(sampler: BitsSampler, study: optuna.Study) -> list[Allocation]:
    return [sampler.allocation(trial.params) for trial in study.trials]


def test_five_lines_with_an_objective_of_ones_own() -> None:
    world = World(0)
    space, tables, costs, budgets, loss_of = world.space, world.signals, {"size": world.size}, world.budgets, world.loss

    sampler = BitsSampler(space, tables, costs, budgets)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: loss_of(sampler.suggest(trial)), n_trials=12)
    best = sampler.allocation(study.best_trial.params)

    assert loss_of(best) < 1.02 * world.best
    assert len(set(allocations(sampler, study))) == 12
    assert all(world.size.total(a) <= world.limit for a in allocations(sampler, study))
    assert [trial.user_attrs["origin"] for trial in study.trials[:3]] == ["milp:fisher", "milp:bits", "ei"]  # both signals have one optimum


def test_the_example_of_the_page_runs_as_written() -> None:
    """Only shorter; and the module's own example is the same."""
    page = (Path(__file__).parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "BitsSampler(" in block]
    said = [line.partition("  #")[0] for line in example.splitlines() if line and "import " not in line]
    assert len(said) == 4
    assert "\n".join(said) in sampler_module.__doc__.replace("\n\n", "\n")
    world = World(0)
    names = {"space": world.space, "tables": world.signals, "costs": {"size": world.size}, "budgets": world.budgets, "loss_of": world.loss}
    lines: dict[str, Any] = dict(names)
    exec(example.replace("n_trials=50", "n_trials=4"), lines)
    assert lines["best"] in allocations(lines["sampler"], lines["study"])


def test_everything_else_is_drawn_in_the_same_trial() -> None:
    world = World(1)
    sampler = sampler_of(world)

    def objective(trial: optuna.Trial) -> float:
        method = trial.suggest_categorical("method", ["lsq", "bsq"])
        rate = trial.suggest_float(f"{method}.lr", 1e-3, 1e-1, log=True)
        return world.loss(sampler.suggest(trial)) * (1 + abs(np.log(rate / 0.02)))

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=8)
    assert {trial.params["method"] for trial in study.trials} == {"lsq", "bsq"}
    assert all(trial.params.keys() >= bits_space(world.space).keys() for trial in study.trials)


def test_a_study_that_goes_on_proposes_what_it_would_have_proposed(tmp_path: Path) -> None:
    world = World(2)

    def run(name: str, parts: tuple[int, ...]) -> list[dict[str, Any]]:
        for part in parts:
            sampler = sampler_of(world, seed=5)

            def objective(trial: optuna.Trial, sampler: BitsSampler = sampler) -> float:
                return world.loss(sampler.suggest(trial)) * trial.suggest_float("lr", 0.9, 1.1)

            study = optuna.create_study(storage=f"sqlite:///{tmp_path}/{name}.db", study_name="s", load_if_exists=True, sampler=sampler)
            study.optimize(objective, n_trials=part)
        return [trial.params for trial in study.trials]

    assert run("whole", (5,)) == run("parts", (2, 2, 1))


def test_workers_do_not_propose_the_same() -> None:
    world = World(3)
    sampler = sampler_of(world)
    study = optuna.create_study(sampler=sampler)
    barrier = threading.Barrier(4, timeout=60)

    def objective(trial: optuna.Trial) -> float:
        if trial.number < 4:
            barrier.wait()  # all four ask at once, before any has bits
        allocation = sampler.suggest(trial)
        time.sleep(0.01)
        return world.loss(allocation)

    study.optimize(objective, n_trials=12, n_jobs=4)
    assert len(set(allocations(sampler, study))) == 12


def test_bits_that_another_process_takes_while_a_proposal_is_made_are_left_to_it(tmp_path: Path) -> None:
    world, storage = World(3), f"sqlite:///{tmp_path}/s.db"
    first = world.searcher().propose([]).allocation
    taken = {name: str(choice) for name, choice in zip(bits_space(world.space), first.values(), strict=True)}
    calls = []

    def meanwhile(number: int) -> bool:
        """Asked in the middle of every proposal."""
        calls.append(number)
        if len(calls) == 1:
            other = optuna.load_study(storage=storage, study_name="s", sampler=RandomSampler(seed=0))
            other.enqueue_trial(taken)
            suggest_bits(other.ask(), world.space)
        return False

    sampler = sampler_of(world, refine=meanwhile)
    study = optuna.create_study(storage=storage, study_name="s", sampler=sampler)
    mine = sampler.suggest(study.ask())
    assert len(calls) == 2
    assert sampler.allocation(study.trials[1].params) == first != mine


def test_claims_of_processes_count_as_under_way(tmp_path: Path) -> None:
    """Before any of their parameters is stored."""
    world, storage = World(3), f"sqlite:///{tmp_path}/s.db"
    found = []
    for _ in range(4):
        sampler = sampler_of(world)  # as another process has it: nothing is shared but the storage
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True, sampler=sampler)
        found.append(sampler.allocation(study.ask().relative_params))
    assert not any(trial.params for trial in study.trials)
    assert len(set(found)) == 4


def test_a_small_space_ends_the_study() -> None:
    space = space_of([10, 20])
    size = table(space, np.array([10, 20])[:, None] * np.array([1.0, 2.0, 4.0, 8.0]), "size", "B")
    sampler = BitsSampler(space, [], {"size": size}, [Budget("size", 70.0, "70B")])
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: sum(1 / c.weight.bits for c in sampler.suggest(trial).values()), n_trials=50)
    assert len(study.trials) == 5
    with pytest.raises(BudgetError, match="every allocation within the budget has been tried"):
        sampler.suggest(study.ask())


def test_failed_trials_are_not_tried_again() -> None:
    world = World(4)
    sampler = sampler_of(world)

    def objective(trial: optuna.Trial) -> float:
        sampler.suggest(trial)
        raise ArithmeticError("diverged")

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=6, catch=ArithmeticError)
    assert len(set(allocations(sampler, study))) == 6


def test_the_sampler_of_everything_else_may_be_given() -> None:
    world, made = World(5), []

    def others(seed: int) -> BaseSampler:
        made.append(seed)
        return RandomSampler(seed=seed)

    sampler = sampler_of(world, others=others)
    study = optuna.create_study(sampler=sampler)
    study.optimize(
        lambda trial: world.loss(sampler.suggest(trial)) + trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=3
    )
    assert made == [0, 1, 2]


def test_two_objectives_are_no_obstacle() -> None:
    world = World(6)
    sampler = sampler_of(world, sweep=(0.8, 1.0))
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        allocation = sampler.suggest(trial)
        return world.loss(allocation), world.size.total(allocation)

    study.optimize(objective, n_trials=6)
    assert len(study.best_trials) >= 2


def test_one_sampler_keeps_two_studies_apart() -> None:
    world, other = World(1), World(5)
    shared, alone = sampler_of(world), sampler_of(world)
    first, second, lonely = (optuna.create_study(sampler=sampler) for sampler in (shared, shared, alone))
    first.optimize(lambda trial: other.loss(shared.suggest(trial)), n_trials=8)  # another truth
    second.optimize(lambda trial: world.loss(shared.suggest(trial)), n_trials=8)
    lonely.optimize(lambda trial: world.loss(alone.suggest(trial)), n_trials=8)
    assert allocations(shared, second) == allocations(alone, lonely)
    assert [trial.user_attrs["origin"] for trial in second.trials] == [trial.user_attrs["origin"] for trial in lonely.trials]


def test_a_study_that_maximises_is_refused() -> None:
    sampler = sampler_of(World(1))
    with pytest.raises(ConfigError, match="direction='minimize'"):
        sampler.suggest(optuna.create_study(sampler=sampler, direction="maximize").ask())


def test_initial_allocations_are_of_the_space_and_within_the_budget() -> None:
    world = World(1)
    names = world.space.names
    most = Allocation(dict.fromkeys(names, world.space.choices[-1]))
    with pytest.raises(BudgetError, match="initial allocation 'mine' is above the budget"):
        sampler_of(world, initial=[("mine", most)])
    with pytest.raises(SpaceError, match="not on its menu"):
        sampler_of(world, initial=[("mine", Allocation({name: Choice(7) for name in names}))])
    with pytest.raises(SpaceError, match="unknown layer 'x'"):
        sampler_of(world, initial=[("mine", Allocation({"x": Choice(2)}))])


def test_workers_of_a_space_that_runs_out_end_quietly() -> None:
    """The second trial takes its time before it asks, and all there is has been tried by then."""
    space = space_of([40, 90])
    size = table(space, np.array([[40], [90]]) * np.array([c.weight.bits for c in space.choices]), "size", "B")
    few = BitsSampler(space, (), {"size": size}, [Budget("size", 220.0, "b")])
    study = optuna.create_study(sampler=few)

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            time.sleep(1.0)
        return size.total(few.suggest(trial))

    study.optimize(objective, n_trials=30, n_jobs=2)
    done = [few.allocation(trial.params) for trial in study.trials if trial.state.name == "COMPLETE"]
    assert len(done) == len(set(done))
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED"}
    assert not few.searcher.left(done)


def test_a_sampler_travels_to_other_processes() -> None:
    world = World(1)
    sampler = sampler_of(world)
    copy = pickle.loads(pickle.dumps(sampler))
    found = []
    for each in (sampler, copy):
        study = optuna.create_study(sampler=each)
        study.optimize(lambda trial, each=each: world.loss(each.suggest(trial)), n_trials=4)  # type: ignore[misc]
        found.append(allocations(each, study))
    assert found[0] == found[1]
