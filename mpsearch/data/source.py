"""`DataSource`: a registered kind of data; the object is its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Progress
from mpsearch.data.base import Splits

__all__ = ["DataSource", "require_fraction", "require_one_of"]


@dataclass(frozen=True, kw_only=True)
class DataSource(ABC):
    """One kind of data; fields are what `data.options` of a study may state, checked on construction."""

    description: ClassVar[str]
    paper: ClassVar[str]

    @abstractmethod
    def load(self, path: str | None, *, seed: int, progress: Progress) -> Splits:
        """Read and cut the data.

        Args:
            path: what stands after `:` in the reference, if anything.
            seed: of the cut.
            progress: told of long work.

        Raises:
            DataError: data that are missing, broken or not enough.
        """


def require_fraction(name: str, value: object) -> None:
    """A share strictly between 0 and 1.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(
            f"data.options.{name}: must be a share between 0 and 1, got {value!r}; write such as 0.1", path=f"data.options.{name}"
        )


def require_one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """One of a few words.

    Raises:
        ConfigError: it is not.
    """
    if value not in allowed:
        raise ConfigError(f"data.options.{name}: must be one of {', '.join(allowed)}, got {value!r}", path=f"data.options.{name}")
