"""`EffortConfig`: what `--effort` changes in a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from mpsearch.config.strict import Strict
from mpsearch.core.errors import ConfigError

__all__ = ["Effort", "EffortConfig", "effort_changes"]

Effort = Literal["quick", "normal", "thorough"]


class EffortConfig(Strict):
    """The changes of one effort; keys as in the study."""

    signals: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    retrain: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    float_recipe: dict[str, Any] = Field(default_factory=dict)


def effort_changes(efforts: Mapping[Any, EffortConfig], effort: str, *, current: str, label: str) -> dict[str, Any]:
    """The changes that an effort makes to a study.

    Args:
        efforts: the study's efforts.
        effort: the effort asked for.
        current: the effort the study has now; a study without efforts supports only this one.
        label: name of the study for messages.

    Raises:
        ConfigError: the study has no such effort.
    """
    if effort in efforts:
        return {key: value for key, value in efforts[effort].model_dump().items() if value}
    if not efforts and effort == current:
        return {}
    known = ", ".join(efforts) or current
    raise ConfigError(f"{label}: there is no effort '{effort}' in this study; it has {known}", path="efforts")
