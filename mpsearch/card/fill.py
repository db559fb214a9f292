"""Fills the card of a run: one function or method a section; every field is read off the run, its counters or a measurement."""

from __future__ import annotations

from dataclasses import replace

from mpsearch.card.audit import data_use
from mpsearch.card.baseline import baseline
from mpsearch.card.comparability import comparability_group
from mpsearch.card.deployed import Deployed
from mpsearch.card.flips import confounder_flips
from mpsearch.card.identity import identity
from mpsearch.card.inputs import CardInputs
from mpsearch.card.precision import precision, ranges
from mpsearch.card.provenance import provenance
from mpsearch.card.resources import resources
from mpsearch.card.result import result
from mpsearch.card.schema import Card
from mpsearch.core.pass_counts import PassCounts, active_counts
from mpsearch.core.summary import Summary
from mpsearch.network.baked import Parts
from mpsearch.trials.climb import Hyperparameters

__all__ = ["build_card"]


def build_card(inputs: CardInputs, summary: Summary, parts: Parts, hyper: Hyperparameters) -> Card:
    """The card of what a run delivers.

    Args:
        inputs: the run.
        summary: its results.
        parts: the delivered numbers.
        hyper: method and recipe they were trained with.
    """
    counts, winner = active_counts() or PassCounts(), summary.winner
    deployed = Deployed(inputs.problem, parts)
    method = winner.params.get("method", next(iter(inputs.config.methods)))
    trained = bool(winner.curve) and not winner.note
    data = data_use(inputs, hyper, counts)
    scored = result(inputs, summary, deployed.network, counts)
    # Measured before the passes are written down, so that they hold the flips' own.
    ablation = confounder_flips(inputs, parts.allocation, hyper.method.grid, hyper.recipe, summary.tables)
    card = Card(
        identity=identity(inputs, parts.allocation, repeats=len(scored.by_seed)),
        model=baseline(inputs, summary, deployed.edits()),
        coverage=deployed.coverage(),
        formats=deployed.formats(f"{'trained' if trained else 'calibrated'} by {method}"),
        granularity=deployed.granularity(),
        ranges=ranges(inputs, hyper, counts, deployed, method, trained=trained, statistics=summary.batchnorm),
        precision=precision(inputs, summary, deployed, method),
        data=data,
        resources=resources(inputs, summary, counts, data, trained=trained),
        result=scored,
        costs=deployed.costs(summary),
        hardware=deployed.hardware(),
        ablation=ablation,
        provenance=provenance(summary, data, scored),
    )
    card = Card.from_dict(card.to_dict())  # as a reader of the file sees it
    return replace(card, provenance=replace(card.provenance, comparability_group=comparability_group(card)))
