"""`Card`: what must be known of a quantized network before its accuracy means anything.

Garg, Jain, Lou, Nahmias: Confounding Tradeoffs for Neural Network Quantization, arXiv 2102.06366, show that results need such a card
and name the tradeoffs T1 to T9. The fields are ours (the paper's own template: UNVERIFIED).

Every field is required. A field that does not apply holds `"n/a"` or `"n/a: why"`. `null` means unknown, which only cards of other
people's results may hold; such a card is barred from claims. Values are plain JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

from mpsearch.card.sections import (
    AblationSection,
    CardSection,
    CostSection,
    CoverageSection,
    DataSection,
    Flip,
    FormatSection,
    GranularitySection,
    HardwareSection,
    IdentitySection,
    ModelSection,
    PrecisionSection,
    ProvenanceSection,
    RangeSection,
    ResourceSection,
    ResultSection,
)
from mpsearch.core.errors import ConfigError

__all__ = ["CARD_VERSION", "NA", "Card", "canonical_id", "na"]

CARD_VERSION = 1
NA = "n/a"


def na(why: str = "") -> str:
    """`n/a`, or `n/a: why`."""
    return f"{NA}: {why}" if why else NA


def canonical_id(content: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration as canonical JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card, sections A to N."""

    identity: IdentitySection
    model: ModelSection
    coverage: CoverageSection
    formats: FormatSection
    granularity: GranularitySection
    ranges: RangeSection
    precision: PrecisionSection
    data: DataSection
    resources: ResourceSection
    result: ResultSection
    costs: CostSection
    hardware: HardwareSection
    ablation: AblationSection
    provenance: ProvenanceSection

    @property
    def sections(self) -> list[CardSection]:
        """A to N."""
        return [getattr(self, place.name) for place in fields(self)]

    def to_dict(self) -> dict[str, Any]:
        """JSON data; a number that is not finite becomes `n/a`."""
        document: dict[str, Any] = _document(asdict(self))
        return document

    def to_json(self) -> str:
        """The text of `card.json`."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Card:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a section or field is missing or unknown; the message gives its path.
        """
        _check(cls, document, "card")
        return cls(**{name: _read(kind, document[name], f"card.{name}") for name, kind in _SECTIONS.items()})

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Inverse of `to_json`."""
        return cls.from_dict(json.loads(text))


_SECTIONS: Mapping[str, type[Any]] = get_type_hints(Card)
"""Name of the field → class of the section."""


def _read(kind: type[Any], document: Any, path: str) -> Any:
    _check(kind, document, path)
    values = dict(document)
    if kind is AblationSection:
        values["flips"] = [_read(Flip, flip, f"{path}.flips[{number}]") for number, flip in enumerate(values["flips"])]
    return kind(**values)


def _check(kind: type[Any], document: Any, path: str) -> None:
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path}: an object with fields is needed, not {type(document).__name__}", path=path)
    wanted = {place.name for place in fields(kind)}
    for name in sorted(wanted - document.keys()):
        raise ConfigError(f"{path}.{name}: this field is missing; fill it, with '{NA}' where it does not apply", path=f"{path}.{name}")
    for name in sorted(document.keys() - wanted):
        raise ConfigError(f"{path}.{name}: a card has no such field; leave it out", path=f"{path}.{name}")


def _document(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _document(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_document(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return na(f"{value} is not a number")
    return value
