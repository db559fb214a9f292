"""What a trial keeps in Optuna's storage: its proposal in the write that begins it, its record in the last write before it ends.

| attribute of the trial | content |
|---|---|
| `bits` | its allocation in one line, see `bits_text`; the names of the layers stand once in the study's attribute `layers` |
| `costs` | what the bits take of each cost, for those who look at the trial in Optuna's dashboard |
| `proposal` | `origin`; `improvement` and `noise`, its `Outlook`; `ordinal`, the number of trials before it, which gives its seed |
| | `again`: its bits had been measured; `resumes`: number of the abandoned trial that it takes over |
| `lease` | worker and count, where several share the study, see `leases.py` |
| `record` | its `Record` without what stands above, and a digest of both; trials without a record are ignored |

A row for each layer, as Optuna keeps parameters, would take one write each: seconds and tens of kilobytes where there are 200. What is
searched besides the bits (method, learning rate) are parameters of Optuna, and so are the bits if another sampler draws them. The mean
bits are parameters too, though nobody draws them: Optuna's plots compare trials by parameters alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget, tightness
from mpsearch.core.errors import ConfigError, RunDirectoryError
from mpsearch.core.layer import Layer
from mpsearch.core.record import Record
from mpsearch.data.fingerprint import content_digest
from mpsearch.propose.observation import Proposal, observed
from mpsearch.study.bits_text import bits_text, read_bits
from mpsearch.study.stopping import Outlook

__all__ = [
    "BITS",
    "COSTS",
    "RECORD",
    "Begun",
    "StoredRecords",
    "begin_trial",
    "budget_shares",
    "close_abandoned",
    "finished_trials",
    "mean_bits",
    "outlook_of",
    "proposal_attributes",
    "proposal_of",
    "record_attribute",
    "resuming_attributes",
    "write_record",
]

BITS = "bits"
COSTS = "costs"
RECORD = "record"
_PROPOSAL = "proposal"
_DIGEST = "digest"
_MEAN = FloatDistribution(0.0, 64.0)
_ELSEWHERE = ("number", "origin", "allocation")
"""Fields of a record that the trial keeps otherwise."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A running trial.

    Args:
        study: its study.
        asked: draws its parameters.
    """

    study: optuna.Study
    asked: optuna.Trial

    @property
    def number(self) -> int:
        """Its number in the study."""
        return self.asked.number

    @property
    def trial_id(self) -> int:
        """Its key in the storage."""
        return self.asked._trial_id


def proposal_attributes(proposal: Proposal, ordinal: int, *, again: bool = False) -> dict[str, Any]:
    """The attributes of a trial that is begun with a proposal."""
    outlook = {"improvement": proposal.improvement, "noise": proposal.noise} if math.isfinite(proposal.improvement) else {}
    document = {"origin": proposal.origin, "ordinal": ordinal, **outlook, **({"again": True} if again else {})}
    return {BITS: bits_text(proposal.allocation), _PROPOSAL: document}


def resuming_attributes(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes of a trial that takes over an abandoned one: the same bits, seed and origin."""
    return {BITS: trial.user_attrs[BITS], _PROPOSAL: {**proposal_of(trial), "resumes": trial.number}}


def proposal_of(trial: FrozenTrial | optuna.Trial) -> Mapping[str, Any]:
    """The attribute `proposal` of a trial; empty without one."""
    proposal = trial.user_attrs.get(_PROPOSAL)
    return proposal if isinstance(proposal, dict) else {}


def begin_trial(
    study: optuna.Study,
    attributes: Mapping[str, Any],
    constraints: Mapping[str, float],
    drawn: FrozenTrial | None = None,
    means: Mapping[str, float] | None = None,
) -> Begun:
    """Begin a trial in one write.

    Args:
        study: its study.
        attributes: see `proposal_attributes`.
        constraints: cost → used share of its budget less one; zero or less is within.
        drawn: trial whose parameters it has from its beginning.
        means: see `mean_bits`.
    """
    shown = means or {}
    params = {**({} if drawn is None else drawn.params), **shown}
    distributions: dict[str, BaseDistribution] = {**({} if drawn is None else drawn.distributions), **dict.fromkeys(shown, _MEAN)}
    template = create_trial(
        state=TrialState.RUNNING,
        user_attrs=dict(attributes),
        constraints=dict(constraints),
        params=params,
        distributions=distributions,
    )
    return Begun(study=study, asked=optuna.Trial(study, study._storage.create_new_trial(study._study_id, template)))


def mean_bits(allocation: Allocation, layers: Sequence[Layer]) -> dict[str, float]:
    """What Optuna's plots can compare of an allocation, as parameters: its mean bits. No sampler draws them.

    Without any parameter, optuna-dashboard's own importances fail.
    """
    return {"mean weight bits": allocation.mean_weight_bits(layers), "mean activation bits": allocation.mean_act_bits(layers)}


def budget_shares(costs: Mapping[str, float], budgets: Sequence[Budget]) -> dict[str, float]:
    """What an allocation uses of each budget less one; a constraint to samplers that know some."""
    return {budget.cost: costs[budget.cost] / budget.limit - 1 for budget in budgets}


def outlook_of(trial: FrozenTrial) -> Outlook:
    """What was expected of a trial."""
    proposal = trial.user_attrs[_PROPOSAL]
    return Outlook(**{name: float(proposal[name]) for name in ("improvement", "noise") if name in proposal})


class StoredRecords:
    """The records in a study's storage; each is parsed once.

    Args:
        layers: names of the layers, in order.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = layers
        self._records: dict[int, Record] = {}

    def of(self, trials: Sequence[FrozenTrial]) -> list[Record]:
        """The records of the trials that have ended, by number."""
        return [record for trial in finished_trials(trials) if (record := self.record(trial)) is not None]

    def record(self, trial: FrozenTrial) -> Record | None:
        """The record of a trial; None if it has none."""
        if trial.number not in self._records:
            if RECORD not in trial.user_attrs:
                return None
            try:
                attributes = trial.user_attrs
                elsewhere = {"number": trial.number, "origin": attributes[_PROPOSAL]["origin"], "allocation": {}}
                document = dict(attributes[RECORD])
                digest, allocation = document.pop(_DIGEST), read_bits(attributes[BITS], self._layers)
                if digest != _digest(document, allocation):
                    raise ValueError("its digest does not match its content")
                self._records[trial.number] = replace(Record.from_dict({**document, **elsewhere}), allocation=allocation)
            except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
                raise RunDirectoryError(
                    f"the record of trial {trial.number} in the storage was damaged ({type(error).__name__}: {error}); "
                    "give another --run-dir"
                ) from error
        return self._records[trial.number]

    def losses(self, trial: FrozenTrial) -> Mapping[str, float] | None:
        """Validation loss by rung, for `BitsSampler`; None if the trial has no record."""
        record = self.record(trial)
        return None if record is None else observed(record).losses

    def errors(self, trial: FrozenTrial) -> Mapping[str, float]:
        """Validation error by rung, for a searcher that reads it; empty if the trial has no record."""
        record = self.record(trial)
        return {} if record is None else observed(record).errors


def finished_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that have ended with a record, by number."""
    return [trial for trial in trials if RECORD in trial.user_attrs and trial.state.is_finished()]


def write_record(begun: Begun, record: Record, budgets: Sequence[Budget], *, told: bool = False) -> None:
    """Store the record of a trial, and end it.

    Raises:
        UpdateFinishedTrialError: another worker has ended the trial.

    Args:
        begun: the trial.
        record: its result.
        budgets: budgets of the study; the largest used share is the second objective.
        told: also tell the sampler, as Optuna's `tell` does with a dozen reads of the storage.
    """
    begun.study._storage.set_trial_user_attr(begun.trial_id, RECORD, record_attribute(record))
    _end(begun.study, begun.trial_id, record, budgets, told=told)


def record_attribute(record: Record) -> dict[str, Any]:
    """What a trial holds of its record: all that it does not keep otherwise, and a digest."""
    document = {name: value for name, value in record.to_dict().items() if name not in _ELSEWHERE}
    return {**document, _DIGEST: _digest(document, record.allocation)}


def _digest(document: Mapping[str, Any], allocation: Allocation) -> str:
    """A wrong bit in a number is damage as well, and no other loss."""
    return content_digest([json.dumps(document, sort_keys=True), allocation.key()])


def close_abandoned(study: optuna.Study, trials: Sequence[FrozenTrial], stored: StoredRecords, budgets: Sequence[Budget]) -> None:
    """End trials that nobody is at work on: with their record if they have one, else as failed. Another process may do the same."""
    for trial in trials:
        with suppress(UpdateFinishedTrialError):
            _end(study, trial._trial_id, stored.record(trial), budgets)


def _end(study: optuna.Study, trial_id: int, record: Record | None, budgets: Sequence[Budget], *, told: bool = False) -> None:
    complete = record is not None and record.status == "complete"
    state = TrialState.COMPLETE if complete else TrialState.FAIL
    values = [record.score.error, tightness(record.costs, budgets)] if record is not None and complete else None
    if told and record is not None:
        study.tell(record.number, values, None if complete else state)
    else:
        study._storage.set_trial_state_values(trial_id, state, values)
