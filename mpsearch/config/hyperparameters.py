"""`SearchableSettings`: hyperparameters in a file: a value, a range `{low, high, log}`, or a list of choices to search."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Field, Tag, create_model, model_validator

from mpsearch.config.strict import Strict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Range", "Scalar", "SearchableSettings", "Setting", "hyperparameter_model", "split_settings"]

T = TypeVar("T")
Scalar = bool | int | float | str | None


class Range(Strict):
    """Numbers from `low` to `high`, both included; integers if both are. `log` samples them uniformly in the logarithm."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range needs low above zero, got {self.low}")
        return self

    @property
    def integer(self) -> bool:
        """Whether the range has integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def middle(self) -> int | float:
        """`√(low·high)` of a log range, else `(low + high)/2`; the value if the setting is not searched."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(middle) if self.integer else middle


@dataclass(frozen=True)
class SearchableSettings:
    """The settings of one method or recipe, some fixed and some to be searched.

    Args:
        fixed: name → value.
        ranges: name → `Range`, or a tuple of choices.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Range | tuple[Any, ...]] = field(default_factory=dict)

    def build(self, factory: type[T], chosen: Mapping[str, Any] | None = None) -> T:
        """Call `factory(**fixed, **chosen)`; a searched setting that is not chosen takes the middle of its range or its first choice."""
        middles = {name: spread.middle if isinstance(spread, Range) else spread[0] for name, spread in self.ranges.items()}
        return factory(**{**self.fixed, **middles, **(chosen or {})})


def _kind_of(value: Any) -> str:
    if isinstance(value, Range) or (isinstance(value, Mapping) and ("low" in value or "high" in value)):
        return "range"
    return "choices" if isinstance(value, list | tuple) else "value"


_Choices = Annotated[tuple[Scalar, ...], Field(min_length=1), Tag("[choices]")]
Setting = Annotated[
    Annotated[Scalar, Tag("[value]")] | Annotated[Range, Tag("[range]")] | _Choices, Discriminator(lambda value: f"[{_kind_of(value)}]")
]
"""Any setting, before it is checked against a name and type."""


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _takes_sequences(annotation: Any) -> bool:
    return any(get_origin(member) in (list, tuple) for member in _members(annotation))


def _setting_of(annotation: Any) -> Any:
    """`annotation`, or choices of it, or, if it is a number, a range."""
    kinds: dict[str, Any] = {"value": annotation}
    if not _takes_sequences(annotation):
        kinds["choices"] = Annotated[tuple[annotation, ...], Field(min_length=1)]
    if {int, float} & set(_members(annotation)):
        kinds["range"] = Range
    if len(kinds) == 1:
        return annotation
    tagged: Any = Union[tuple(Annotated[kind, Tag(f"[{name}]")] for name, kind in kinds.items())]  # noqa: UP007
    return Annotated[tagged, Discriminator(lambda value: f"[{kind}]" if (kind := _kind_of(value)) in kinds else "[value]")]


def hyperparameter_model(
    definition: type[DataclassInstance], name: str, *, base: type[BaseModel] = Strict, without: tuple[str, ...] = ()
) -> type[BaseModel]:
    """A pydantic model with the fields of a dataclass, each of which may be a value, a range or choices.

    The dataclass alone defines names, types and defaults; a field without a default is required.

    Args:
        definition: dataclass, such as `Recipe` or a method.
        name: name of the model, for its JSON schema.
        base: model to derive from.
        without: fields to leave out.
    """
    hints = typing.get_type_hints(definition, include_extras=True)
    fields: dict[str, Any] = {}
    for entry in dataclasses.fields(definition):
        if not entry.init or entry.name in without:
            continue
        defaults = {"default": entry.default, "default_factory": entry.default_factory}
        stated: dict[str, Any] = {key: value for key, value in defaults.items() if value is not dataclasses.MISSING}
        fields[entry.name] = (_setting_of(hints[entry.name]), Field(**stated))
    return create_model(
        name, __base__=base, __doc__=f"{definition.__name__}; every number may also be a range or a list of choices.", **fields
    )


def split_settings(settings: Mapping[str, Any], definition: type[DataclassInstance]) -> SearchableSettings:
    """Separate validated settings into fixed and searched ones.

    Args:
        settings: name → value, `Range` or tuple of choices.
        definition: the dataclass they belong to; in a field of tuples, a tuple is a value and not choices.
    """
    hints = typing.get_type_hints(definition)

    def searched(name: str) -> bool:
        value = settings[name]
        return isinstance(value, Range) or (isinstance(value, tuple) and not _takes_sequences(hints.get(name)))

    ranges = {name: value for name, value in settings.items() if searched(name)}
    return SearchableSettings({name: value for name, value in settings.items() if name not in ranges}, ranges)
