"""Bytes as people write and read them; the costs that are counted in bytes share these."""

from __future__ import annotations

__all__ = ["BYTE_UNITS", "exact_bytes", "short_bytes"]

BYTE_UNITS = {"B": "1", "KB": "1e3", "MB": "1e6", "GB": "1e9", "KiB": "1024", "MiB": "1048576", "GiB": "1073741824"}
"""Spelling → bytes, as decimal text."""

_SHORT = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def exact_bytes(amount: float) -> str:
    """`41,216 B`."""
    return f"{amount:,.0f} B"


def short_bytes(amount: float) -> str:
    """Three or four digits in decimal units: `79.9 KB`, `1,234 KB`."""
    for factor, unit in _SHORT:
        if amount >= factor:
            return f"{amount / factor:.4g} {unit}" if amount < 1000 * factor else f"{amount / factor:,.0f} {unit}"
    return f"{amount:.0f} B"
