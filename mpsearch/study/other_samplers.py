"""`ask_other`: trials of a sampler of Optuna's in place of `BitsSampler`, which draws the bits of each layer as a parameter."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from mpsearch.core.errors import ConfigError
from mpsearch.propose.observation import Proposal
from mpsearch.study.records import Begun, budget_shares, proposal_attributes
from mpsearch.study.sampler import suggest_bits
from mpsearch.trials.problem import Problem

__all__ = ["ask_other"]


def ask_other(study: optuna.Study, problem: Problem, ordinal: int) -> tuple[Begun, Proposal]:
    """A trial of another sampler, which draws the bits of each layer as a parameter.

    Raises:
        ConfigError: the sampler cannot sample two objectives or these bits.
    """
    asked, kind = study.ask(), type(study.sampler).__name__
    try:
        allocation = suggest_bits(asked, problem.space)
    except ValueError as error:
        study.tell(asked, state=TrialState.FAIL)
        if "multi-objective" in str(error):
            raise ConfigError(
                f"sampler: {kind} takes one objective, a study has two (error and cost); "
                "give one that takes both, such as TPESampler or NSGAIISampler",
                path="sampler",
            ) from error
        raise ConfigError(f"sampler: {kind} cannot draw the bits: {error}", path="sampler") from error
    proposal = Proposal(origin=kind, allocation=allocation)
    for name, value in proposal_attributes(proposal, ordinal).items():
        asked.set_user_attr(name, value)
    for name, share in budget_shares(problem.amounts(allocation), problem.budgets).items():
        asked.set_constraint(name, share)
    return Begun(study=study, asked=asked), proposal
