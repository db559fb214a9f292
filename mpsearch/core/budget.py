"""`Budget`: an upper limit on one cost, as a person writes it: `2MB`, `70KB`, `1.5MiB`, `3.2bit`, `1.2GBOPs`, `5ms`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from mpsearch.core.errors import BudgetError

__all__ = ["Budget", "format_amount", "parse_budget", "parse_budgets"]

_UNITS: dict[str, tuple[str, str]] = {
    # spelling, lower case → (cost it limits, factor to that cost's own unit)
    "b": ("size", "1"),
    "kb": ("size", "1e3"),
    "mb": ("size", "1e6"),
    "gb": ("size", "1e9"),
    "kib": ("size", "1024"),
    "mib": ("size", "1048576"),
    "gib": ("size", "1073741824"),
    "bit": ("bits", "1"),
    "bits": ("bits", "1"),
    "bops": ("bops", "1"),
    "kbops": ("bops", "1e3"),
    "mbops": ("bops", "1e6"),
    "gbops": ("bops", "1e9"),
    "tbops": ("bops", "1e12"),
    "s": ("latency", "1"),
    "ms": ("latency", "1e-3"),
    "us": ("latency", "1e-6"),
    "µs": ("latency", "1e-6"),
}
_AMOUNT = re.compile(r"\s*(?P<number>[-+]?(?:\d+(?:[_,]\d{3})*(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*(?P<unit>[A-Za-zµ]*)\s*", re.IGNORECASE)
_EXAMPLES = "2MB, 70KB, 1.5MiB, 3.2bit, 1.2GBOPs or 5ms"


@dataclass(frozen=True)
class Budget:
    """`cost(allocation) ≤ limit`.

    Args:
        cost: name of the cost: `size` (bytes of the file), `bits` (mean weight bits), `bops`, `latency` (seconds).
        limit: in the cost's own unit.
        text: as it was asked for.
    """

    cost: str
    limit: float
    text: str

    def __str__(self) -> str:
        return self.text


def parse_budget(text: object) -> Budget:
    """Read one budget.

    Raises:
        BudgetError: not a string, no number, no or unknown unit, zero, negative or beyond all numbers.
    """
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BudgetError(f"budget {text!r} cannot be read; write a number and a unit: {_EXAMPLES}")
    spelled = str(text).strip()
    # Decimal: 1.005MB is 1,005,000 bytes, which binary floating point would miss by a fraction.
    number = Decimal(re.sub("[_,]", "", match["number"]))
    if not number > 0:
        raise BudgetError(f"budget '{spelled}' must be above zero; write {_EXAMPLES}")
    unit = match["unit"]
    if not unit:
        raise BudgetError(f"budget '{spelled}' has no unit; write {spelled}KB, {spelled}MB, {spelled}bit, {spelled}GBOPs or {spelled}ms")
    if unit.lower() not in _UNITS:
        raise BudgetError(f"budget '{spelled}' has the unknown unit '{unit}'; write {_EXAMPLES}")
    cost, factor = _UNITS[unit.lower()]
    limit = float(number * Decimal(factor))
    if not 0 < limit < math.inf:
        raise BudgetError(f"budget '{spelled}' is no amount a computer can hold; write {_EXAMPLES}")
    return Budget(cost, limit, spelled)


def parse_budgets(texts: Iterable[object]) -> tuple[Budget, ...]:
    """Read several budgets; of two on the same cost the tighter one holds. Order of first appearance.

    Raises:
        BudgetError: none given, or one that `parse_budget` refuses.
    """
    tightest: dict[str, Budget] = {}
    for text in texts:
        budget = parse_budget(text)
        if budget.cost not in tightest or budget.limit < tightest[budget.cost].limit:
            tightest[budget.cost] = budget
    if not tightest:
        raise BudgetError(f"no budget given; add --budget with a number and a unit: {_EXAMPLES}")
    return tuple(tightest.values())


def format_amount(cost: str, amount: float) -> str:
    """An amount in a cost's unit as a person reads it: `41,216 B`, `2.20 bit`, `1.20 GBOPs`, `5.00 ms`."""
    if cost == "size":
        return f"{amount:,.0f} B"
    if cost == "bits":
        return f"{amount:.3f} bit"
    if cost == "latency":
        return f"{amount * 1e3:.4g} ms" if amount >= 1e-4 or amount == 0 else f"{amount * 1e6:.4g} µs"
    if cost == "bops":
        for factor, unit in ((1e12, "TBOPs"), (1e9, "GBOPs"), (1e6, "MBOPs"), (1e3, "KBOPs")):
            if amount >= factor:
                return f"{amount / factor:.3f} {unit}"
        return f"{amount:.0f} BOPs"
    return f"{amount:g}"
