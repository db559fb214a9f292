"""`DataSource`: base of the data sources; the object holds the source's options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Progress
from mpsearch.data.base import Splits

__all__ = ["DataSource", "option_error", "require_fraction", "require_one_of"]


@dataclass(frozen=True, kw_only=True)
class DataSource(ABC):
    """One data source; its fields are the keys of `data.options` in a study, validated on construction."""

    description: ClassVar[str]
    paper: ClassVar[str]

    @abstractmethod
    def load(self, path: str | None, *, seed: int, progress: Progress) -> Splits:
        """Load and split the data.

        Args:
            path: the part of the reference after `:`, if any.
            seed: seed of the split.
            progress: receives the progress of long work.

        Raises:
            DataError: the data are missing, broken or too few.
        """


def option_error(name: str, problem: str) -> ConfigError:
    """The error of one option, with the path of its key in a study."""
    return ConfigError(f"data.options.{name}: {problem}", path=f"data.options.{name}")


def require_fraction(name: str, value: object) -> None:
    """Check that an option is a number strictly between 0 and 1.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise option_error(name, f"must be a share between 0 and 1, got {value!r}; write such as 0.1")


def require_one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check that an option is one of the allowed words.

    Raises:
        ConfigError: it is not.
    """
    if value not in allowed:
        raise option_error(name, f"must be one of {', '.join(allowed)}, got {value!r}")
