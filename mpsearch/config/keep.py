"""`KeepConfig`: the inverse question: not the best network within a budget, but the cheapest that keeps enough of the float metric."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from mpsearch.config.strict import Strict
from mpsearch.core.errors import ConfigError

__all__ = ["Keep", "KeepConfig", "parse_share"]

_SHARE = re.compile(r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)\s*")


def parse_share(given: object) -> float:
    """A share of the float metric: `99%` or 0.99.

    Raises:
        ConfigError: no share above 0 and at most 1.
    """
    match = (
        _SHARE.fullmatch(given if isinstance(given, str) else f"{given}")
        if isinstance(given, str | int | float) and given is not True
        else None
    )
    share = float(match["number"]) / (100 if match["percent"] else 1) if match else math.nan
    if not 0 < share <= 1:
        raise ConfigError(f"keep: {given!r:.60} is no share of the float metric; give one such as 99% or 0.99", path="keep")
    return share


class KeepConfig(Strict):
    """What the delivered network must keep of the float network's metric on validation, and the cost that is to be small."""

    share: Annotated[float | None, BeforeValidator(lambda given: None if given is None else parse_share(given))] = Field(
        default=None, description="of the float metric, such as 99% or 0.99"
    )
    drop: float | None = Field(
        default=None, ge=0, description="instead: the largest loss, in points of an accuracy, else units of the metric"
    )
    cost: str = Field(default="size", min_length=1, description="what is to be small: a name of `mpsearch list costs`")

    @model_validator(mode="after")
    def _one(self) -> KeepConfig:
        if (self.share is None) == (self.drop is None):
            raise ValueError("say how much to keep once: by share, such as 99%, or by drop, such as 0.5")
        return self

    @property
    def text(self) -> str:
        """As it was asked for: `99%`, or `at most 0.5 less`."""
        return f"at most {self.drop:g} less" if self.share is None else f"{100 * self.share:.6g}%"


def _written_out(given: Any) -> Any:
    return given if given is None or isinstance(given, KeepConfig | Mapping) else {"share": given}


Keep = Annotated[KeepConfig | None, BeforeValidator(_written_out, json_schema_input_type=str | float | KeepConfig | None)]
"""In a study: the share alone, or all of it."""
