"""Packages of mpsearch's extras: imported where they are used, asked for in one line where they are missing."""

from __future__ import annotations

import importlib.util

from mpsearch.core.errors import ConfigError

__all__ = ["needs"]


def needs(purpose: str, extra: str, *packages: str) -> None:
    """Check that packages are installed.

    Args:
        purpose: who needs them, such as `"target 'onnx'"`.
        extra: the extra of mpsearch that brings them.
        packages: names to import.

    Raises:
        ConfigError: one of them is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{purpose} needs {', '.join(missing)}; pip install 'mpsearch[{extra}]'")
