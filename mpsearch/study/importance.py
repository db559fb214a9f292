"""`bits_importance`: how much each layer's choice says about the validation error of the trials, by Optuna's fANOVA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from mpsearch.core.record import Record

__all__ = ["bits_importance"]

_FEWEST = 8
"""Trials below which the forest of fANOVA has nothing to learn from."""
_MOST = 64
"""Layers above which trials are too few for any of them."""


def bits_importance(records: Sequence[Record]) -> optuna.Study | None:
    """A study in memory whose parameters are the choices of layers, for Optuna's plots; None where trials are too few.

    A study keeps its bits as one attribute, out of which Optuna reads no importance. Layers whose choices were alike in every trial, such
    as tied ones, are one parameter; those that never changed are none.

    Args:
        records: all trials.
    """
    complete = [record for record in records if record.status == "complete"]
    columns: dict[tuple[str, ...], list[str]] = {}
    for layer in complete[0].allocation if complete else ():
        choices = tuple(str(record.allocation[layer]) for record in complete)
        if len(set(choices)) > 1:
            columns.setdefault(choices, []).append(layer)
    if len(complete) < _FEWEST or not 2 <= len(columns) <= _MOST:
        return None
    named = {layers[0] if len(layers) == 1 else f"{layers[0]} +{len(layers) - 1}": choices for choices, layers in columns.items()}
    menus: Mapping[str, BaseDistribution] = {name: CategoricalDistribution(sorted(set(choices))) for name, choices in named.items()}
    study = optuna.create_study(direction="minimize")
    for number, record in enumerate(complete):
        params = {name: choices[number] for name, choices in named.items()}
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=record.score.error, params=params, distributions=dict(menus)))
    return study
