"""Golden vectors: numbers computed by the authors' own code; each file says which, and defines every quantity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["gold"]


def gold(name: str) -> Any:
    """The content of a file of golden vectors."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
