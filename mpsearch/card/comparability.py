"""Which cards may be compared: a group is a hash of all that moves accuracy besides the method and the bits it chose.

That is: checkpoint, coverage, symmetry, granularity, labels, tier of effort, and the bits that were allowed. Inside a group one result may
be said to beat another; across groups, `differences` lists what else differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpsearch.card.arithmetic import over_seeds
from mpsearch.card.schema import Card, canonical_id, na
from mpsearch.card.sections import ResultSection
from mpsearch.core.errors import ConfigError

__all__ = ["across_seeds", "barred", "comparability_group", "differences", "group_fields"]

_DIGITS = 16


def group_fields(card: Card) -> dict[str, Any]:
    """The hashed fields by path; the chosen bits and the name of the method are not among them."""
    symmetric = {
        name: part.get("symmetric") if isinstance(part, Mapping) else part
        for name, part in (("weights", card.formats.weights), ("activations", card.formats.activations))
    }
    return {
        "model.checkpoint_sha256": card.model.checkpoint_sha256,
        "coverage.scope": card.coverage.scope,
        "coverage.ends": card.coverage.ends,
        "coverage.tensors": {name: tensor["quantized"] for name, tensor in card.coverage.tensors.items()},
        "formats.symmetric": symmetric,
        "granularity": [card.granularity.weights, card.granularity.activations],
        "data.labels": {use: entry["labels"] for use, entry in card.data.use.items()},
        "resources.tier": card.resources.tier,
        "precision.allowed": sorted(card.precision.allowed),
    }


def comparability_group(card: Card) -> str:
    """Sixteen hexadecimal digits, equal for cards that may be compared."""
    return canonical_id(group_fields(card))[:_DIGITS]


def differences(one: Card, other: Card) -> list[str]:
    """Paths of the hashed fields in which two cards differ; empty inside a group."""
    mine, theirs = group_fields(one), group_fields(other)
    return [path for path, value in mine.items() if value != theirs[path]]


def barred(card: Card) -> list[str]:
    """Why a card may not back a claim: failed checks and unknown (`null`) fields; empty if it may."""
    return [*card.provenance.failed_checks, *(f"{path} is unknown" for path in _unknown(card.to_dict(), "card"))]


def across_seeds(cards: Sequence[Card]) -> ResultSection:
    """Section J of one configuration over several seeds, with mean and standard deviation.

    Raises:
        ConfigError: the cards differ in group, metric or split, or two have the same seed.
    """
    values: dict[str, float] = {}
    for card in cards:
        apart = differences(cards[0], card)
        if apart or (card.result.metric, card.result.split) != (cards[0].result.metric, cards[0].result.split):
            raise ConfigError(f"cards of different groups cannot be averaged; they differ in {', '.join(apart) or 'metric or split'}")
        if values.keys() & card.result.by_seed.keys():
            raise ConfigError(f"two cards are of seed {', '.join(values.keys() & card.result.by_seed.keys())}; give each seed once")
        values |= card.result.by_seed
    mean, std = over_seeds({int(seed): value for seed, value in values.items()})
    floats = [card.result.delta_to_float for card in cards if isinstance(card.result.delta_to_float, float | int)]
    return ResultSection(
        metric=cards[0].result.metric,
        split=cards[0].result.split,
        mean=mean,
        std=std,
        by_seed=values,
        delta_to_float=sum(floats) / len(floats) if floats else na(),
        full_split=all(card.result.full_split is True for card in cards),
        worst_class=na("by seed"),
    )


def _unknown(value: Any, path: str) -> list[str]:
    if value is None:
        return [path]
    if isinstance(value, Mapping):
        return [found for name, item in value.items() for found in _unknown(item, f"{path}.{name}")]
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in _unknown(item, f"{path}[{number}]")]
    return []
