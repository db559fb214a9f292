"""`read_back`: what a JSON file of a run holds, if it is there and sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mpsearch.core.errors import MpsearchError

__all__ = ["read_back"]

T = TypeVar("T")


def read_back(path: Path, load: Callable[[Any], T], say: Callable[[str], None] = lambda line: None) -> T | None:
    """The content of a file that this program wrote; None if there is no such file, or if it is damaged.

    Args:
        path: the file.
        load: plain data → content; its errors mean damage.
        say: gets a line about a damaged file.
    """
    try:
        return load(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, MpsearchError):
        say(f"{path.name} was damaged; what it held is computed again")
        return None
