"""Who proposes and when a search ends, through the front door."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import optuna
import pytest
from torch.utils.data import TensorDataset

from mpsearch.core.errors import BudgetError, ConfigError, MpsearchError, RunDirectoryError, UnknownNameError, UsageError
from mpsearch.study.storage import open_storage
from mpsearch.tasks.task import Task
from mpsearch.trials.evaluator import Evaluator
from tests.run.searches import small, vectors


def test_anybodys_sampler_proposes_instead(tmp_path: Path) -> None:
    result = small(tmp_path, sampler=optuna.samplers.RandomSampler(seed=1), trials=8, epochs=0)
    assert {trial.origin for trial in result.summary.trials} == {"RandomSampler"}
    assert len(result.summary.trials) == 8
    assert not all(trial.feasible for trial in result.summary.trials), "it knows nothing of budgets"
    winner = result.summary.searched or result.summary.winner  # a smaller trial may be delivered in its place
    assert winner.feasible
    space = {layer.name: layer for layer in result.summary.layers}
    for name, choice in winner.allocation.items():  # and nothing is left that a layer could go up by
        if choice.weight.bits < 8:
            added = sum(layer.weights for layer in space.values() if layer.name == name)
            mean = winner.costs["bits"] + added / sum(layer.weights for layer in space.values())
            assert mean > 3


def test_tpe_sees_the_budget_as_a_constraint(tmp_path: Path) -> None:
    result = small(tmp_path, sampler=optuna.samplers.TPESampler(seed=1), trials=4, epochs=0)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/run/study.db")
    assert len(study.trials) == len(result.summary.trials) == 4
    assert all(trial.params.keys() >= {"bits/0", "bits/2", "bits/5"} for trial in study.trials)


@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_trials_are_kept_where_one_says(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    storage = str(request.getfixturevalue("postgresql")) if kind == "postgresql" else f"{kind}:///{tmp_path}/trials"
    elsewhere = small(tmp_path / "a", trials=3, epochs=0, storage=storage)
    own = small(tmp_path / "b", trials=3, epochs=0)
    assert elsewhere.path.read_bytes() == own.path.read_bytes()
    assert [trial.scores for trial in elsewhere.summary.trials] == [trial.scores for trial in own.summary.trials]
    assert len(optuna.load_study(study_name=None, storage=open_storage(storage)).trials) == 3
    assert not (tmp_path / "a" / "run" / "study.db").exists()
    with pytest.raises(RunDirectoryError, match="holds another study"):
        small(tmp_path / "a", trials=3, epochs=0)


def test_a_storage_that_cannot_be_opened_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="storage: 'nonsense' cannot be opened"):
        small(tmp_path, trials=1, epochs=0, storage="nonsense")
    assert not any(tmp_path.iterdir())


def test_a_sampler_of_populations_searches_as_well(tmp_path: Path) -> None:
    sampler = optuna.samplers.NSGAIISampler(population_size=4, seed=1)
    result = small(tmp_path, sampler=sampler, trials=8, epochs=0)
    assert {trial.origin for trial in result.summary.trials} == {"NSGAIISampler"}
    assert result.summary.winner.feasible


def test_a_budget_that_one_allocation_meets_is_searched_by_one_trial(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="below the smallest") as caught:
        small(tmp_path, budget="100B")
    result = small(tmp_path, budget=f"{caught.value.smallest:.0f}B", trials=5, epochs=0)
    assert len(result.summary.trials) == 1
    assert result.path.stat().st_size == caught.value.smallest


def test_a_sampler_of_one_objective_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes one objective, a study has two"):
        small(tmp_path, sampler=Single(), trials=2, epochs=0)


@pytest.mark.parametrize(("given", "said"), [("tpe", "not 'tpe'"), (optuna.samplers.TPESampler, "not TPESampler")])
def test_what_is_no_sampler_is_refused(tmp_path: Path, given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=f"sampler: one of Optuna's is needed, such as .*{said}"):
        small(tmp_path, sampler=given, trials=2, epochs=0)


def test_a_sampler_that_is_through_ends_the_search(tmp_path: Path) -> None:
    grid = optuna.samplers.GridSampler({"bits/0": ["w2af", "w4af"], "bits/2": ["w2af", "w4af"], "bits/5": ["w4af"]}, seed=0)
    assert len(small(tmp_path, sampler=grid, trials=9, epochs=0).summary.trials) == 4


def test_a_sampler_of_other_bits_is_refused(tmp_path: Path) -> None:
    for grid in ({"bits/0": ["w2af"]}, {"bits/0": ["w2"], "bits/2": ["w2af"], "bits/5": ["w2af"]}):
        with pytest.raises(ConfigError, match="sampler: GridSampler cannot draw the bits: "):
            small(tmp_path, sampler=optuna.samplers.GridSampler(grid, seed=0), trials=2, epochs=0)
        assert not any(tmp_path.iterdir())


def test_no_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.trials"):
        small(tmp_path, trials=0, epochs=0)


class Single(optuna.samplers.RandomSampler):
    def sample_independent(self, study, trial, param_name, param_distribution):  # type: ignore[no-untyped-def]
        self._raise_error_if_multi_objective(study)


def test_search_ends_when_nothing_is_to_be_gained(tmp_path: Path) -> None:
    result = small(tmp_path, until_flat=True, trials=60, epochs=0, effort="quick")
    assert 4 < len(result.summary.trials) < 60


def test_search_ends_when_time_is_spent(tmp_path: Path) -> None:
    assert len(small(tmp_path, timeout=1e-9, trials=None, epochs=0).summary.trials) == 1


def test_all_trials_failing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    genuine = Evaluator.ptq

    def broken(self: Evaluator, network, method, recipe):  # type: ignore[no-untyped-def]
        return replace(genuine(self, network, method, recipe), loss=float("nan"))

    monkeypatch.setattr(Evaluator, "ptq", broken)
    with pytest.raises(MpsearchError, match=r"every trial failed .the validation loss is nan.*lower the learning rate"):
        small(tmp_path, trials=5, epochs=0)


def test_the_surrogate_says_what_it_is_worth(tmp_path: Path) -> None:
    result = small(tmp_path, trials=8, epochs=0, effort="quick")
    assert result.summary.surrogate["count"] == 8
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["surrogate"]["covered90"] <= 1
    assert "predicts each of 8 scores from the others" in (tmp_path / "run" / "front.html").read_text()


def test_a_run_of_other_data_task_or_sampler_is_another_run(tmp_path: Path) -> None:
    first = small(tmp_path, epochs=0, sampler=optuna.samplers.RandomSampler(seed=1))
    same = small(tmp_path, epochs=0, sampler=optuna.samplers.RandomSampler(seed=1))
    assert same.summary.to_dict() == first.summary.to_dict()
    x, y = vectors()
    others = (
        {"sampler": None},
        {"task": Task.custom(loss=Task.classification().loss)},
        {"test": TensorDataset(x[:20], y[:20])},
        {"train": TensorDataset(x[:160] + 1, y[:160])},
        {"validation": TensorDataset(x[100:], y[100:])},
    )
    for change in others:
        with pytest.raises(RunDirectoryError, match="holds another study"):
            small(tmp_path, **{"epochs": 0, "sampler": optuna.samplers.RandomSampler(seed=1), **change})


def test_a_directory_in_which_another_process_works_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    other = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    (tmp_path / "run" / ".lock").unlink(missing_ok=True)  # there is no file by whose removal somebody gets in
    with pytest.raises(RunDirectoryError, match="another process is at work"):
        small(tmp_path, epochs=0)
    os.close(other)
    assert small(tmp_path, epochs=0).path.is_file()


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"signals": ["fisher", "foo"]}, UnknownNameError, "unknown signal 'foo'"),
        ({"methods": "foo"}, UnknownNameError, "unknown method 'foo'"),
        ({"methods": None}, ConfigError, "methods: names"),
        ({"budget": 3}, ConfigError, "budget: '2MB'"),
        ({"task": "classification"}, ConfigError, "task: a Task"),
        ({"recipe": {"lr": 0.1}}, ConfigError, "recipe: a Recipe"),
        ({"run_dir": 3}, ConfigError, "run_dir: a folder"),
        ({"model": "x"}, ConfigError, "model: a torch.nn.Module"),
    ],
    ids=str,
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(
    tmp_path: Path, wrong: dict[str, object], kind: type[UsageError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        small(tmp_path, **wrong)
    assert said in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_refused_sampler_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes one objective"):
        small(tmp_path, sampler=Single(), trials=2, epochs=0)
    assert not any(tmp_path.iterdir())


def test_a_name_may_stand_alone_and_signals_may_be_said_in_full(tmp_path: Path) -> None:
    alone = small(tmp_path / "alone", methods="lsq", signals="fisher", epochs=0)
    assert [table.name for table in alone.summary.tables] == ["fisher"]
    signals = {"names": ["fisher", "measured", "mix"], "mixed_on": 8, "mixed_epochs": 1}
    mixed = small(tmp_path / "mixed", signals=signals, epochs=0, trials=1)
    assert mixed.summary.tables[0].name == "mix"
    assert mixed.summary.tables[0].cost["backwards"] > 8


def test_what_a_kill_left_behind_is_tidied_by_the_next_look(tmp_path: Path) -> None:
    small(tmp_path, epochs=0)
    for name in ("winner.checkpoint", ".uniform.checkpoint.12ab34cd.part"):
        (tmp_path / "run" / name).write_bytes(b"x")
    small(tmp_path, epochs=0)
    assert not [entry for entry in (tmp_path / "run").iterdir() if "checkpoint" in entry.name]
