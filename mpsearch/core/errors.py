"""The exceptions of mpsearch, in one tree.

```
MpsearchError
├── UsageError            the request cannot be met; the command line exits with code 2
│   ├── BudgetError          (ValueError)   unreadable, out of reach or pointless budget
│   ├── SpaceError           (ValueError)   unknown layer, pin outside its menu, tie of different menus
│   ├── ConfigError          (ValueError)   wrong key or type in a YAML file, with the path of the key
│   ├── ModelError           (ValueError)   factory or weights that do not give a usable model
│   ├── DataError            (ValueError)   empty folder, one class, broken image, labels out of range
│   ├── RunDirectoryError    (ValueError)   a run directory that belongs to another study
│   ├── ArtifactError        (ValueError)   truncated, tampered or foreign artifact
│   └── UnknownNameError     (KeyError)     a method, signal, cost, model or data set that is not registered
└── TrainingDiverged         (ArithmeticError)   the loss became NaN or infinite
```

A message states the rule, the value and the next step on one line.
"""

from __future__ import annotations

import difflib

__all__ = [
    "ArtifactError",
    "BudgetError",
    "ConfigError",
    "DataError",
    "ModelError",
    "MpsearchError",
    "RunDirectoryError",
    "SpaceError",
    "TrainingDiverged",
    "UnknownNameError",
    "UsageError",
]


class MpsearchError(Exception):
    r"""Base class of all errors that mpsearch raises.

    Half a surrogate pair, which a file name or an argument may hold, is spelled out (`\udc80`): every message can be written as UTF-8.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(_encodable(each) if isinstance(each, str) else each for each in arguments))


class UsageError(MpsearchError):
    """The request cannot be met; the one-line message tells the user what to do."""


class BudgetError(UsageError, ValueError):
    """A budget that cannot be read, cannot be reached, or leaves nothing to search.

    `smallest` and `largest` carry the reachable range (in the unit of the cost) when it is known.
    """

    def __init__(self, message: str, *, smallest: float | None = None, largest: float | None = None) -> None:
        super().__init__(message)
        self.smallest = smallest
        self.largest = largest


class SpaceError(UsageError, ValueError):
    """A search space that contradicts itself or the model."""


class ConfigError(UsageError, ValueError):
    """A configuration file with a wrong key, type or value. `path` is the key's path, such as `recipe.epochs`."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ModelError(UsageError, ValueError):
    """A model factory or a weight file that does not give a usable network."""


class DataError(UsageError, ValueError):
    """Data that cannot be read or does not fit the model."""


class RunDirectoryError(UsageError, ValueError):
    """A run directory that holds the work of another study."""


class ArtifactError(UsageError, ValueError):
    """An artifact that is truncated, was tampered with, or was not written by mpsearch."""


class UnknownNameError(UsageError, KeyError):
    """A name that is in no registry. `name` is the request, `known` the registered names, `broken` the plug-ins that failed to load."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...], broken: tuple[str, ...] = ()) -> None:
        close = [f"did you mean '{each}'?" for each in difflib.get_close_matches(name, known, n=1)]
        super().__init__("; ".join([f"unknown {kind} '{name}'", f"known: {', '.join(known) or 'none'}", *broken, *close]))
        self.name = name
        self.known = known
        self.broken = broken

    def __str__(self) -> str:
        return str(self.args[0])


class TrainingDiverged(MpsearchError, ArithmeticError):
    """The training loss is NaN or infinite. The trial fails; the study continues."""


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
