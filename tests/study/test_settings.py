"""Settings of a method are drawn in the trials that drew the method, and in no others."""

from __future__ import annotations

from dataclasses import fields

import optuna

from mpsearch.config.study import validate_study
from mpsearch.methods.bsq import Bsq
from mpsearch.methods.learned_range import LearnedRange
from mpsearch.study.settings import search_settings

STUDY = {
    "name": "s",
    "data": {"source": "memory"},
    "model": {"factory": "m:f"},
    "space": {"name": "s", "weights": [2, 4]},
    "budgets": ["2KB"],
    "methods": {
        "bsq": {"alpha": {"low": 1e-4, "high": 1e-1, "log": True}},
        "learned_range": {"levels": ["uniform", "power_of_two"]},
    },
    "recipe": {},
}


def test_only_what_the_drawn_method_has_is_drawn() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    suggest = search_settings(validate_study(STUDY, label="")).suggest
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: dict[str, set[object]] = {"bsq": set(), "learned_range": set()}
    for _ in range(30):
        trial = study.ask()
        chosen = suggest(trial)
        assert chosen.params == trial.params
        match chosen.method:
            case Bsq(alpha=alpha):
                assert set(trial.params) == {"method", "bsq.alpha"}
                assert 1e-4 <= alpha <= 1e-1
                seen["bsq"].add(alpha)
            case LearnedRange(levels=levels):
                assert set(trial.params) == {"method", "learned_range.levels"}
                seen["learned_range"].add(levels)
        assert {field.name for field in fields(chosen.method)} >= {key.split(".")[1] for key in trial.params if "." in key}
    assert len(seen["bsq"]) > 5
    assert seen["learned_range"] == {"uniform", "power_of_two"}
