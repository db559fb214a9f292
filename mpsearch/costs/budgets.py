"""Budgets and amounts as people write and read them; each cost brings its own units and words, the registry is asked for them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal

from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.costs.base import COSTS, Cost

__all__ = ["format_amount", "parse_budget", "parse_budgets", "short_amount"]

_BUDGET = re.compile(
    r"\s*(?:(?P<cost>[A-Za-z][\w-]*)\s*:)?\s*(?P<number>[-+]?(?:\d+(?:[_,]\d{3})*(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*(?P<unit>[A-Za-zµ]*)\s*",
    re.IGNORECASE,
)
_UNIT = re.compile(r"[A-Za-zµ]+$")
_RANGE = ".."
_NUMBER = re.compile(r"[\d_,.]+")


def parse_budget(text: object) -> Budget:
    """Read one budget: a number and a unit, `2MB`, with the cost before it where the unit does not tell, `act:64KB`; or a range of them.

    A range is two budgets of one cost, the smaller first, `1MB..8MB`; the first may leave out what the second says, `1..8MB`.

    Raises:
        BudgetError: not a string; no number; no, an unknown or an ambiguous unit; an unknown cost; zero, negative or beyond all numbers; a
            range that is none.
    """
    if isinstance(text, str) and _RANGE in text and all(part.strip() for part in text.split(_RANGE)):
        return _range(text)
    match = _BUDGET.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BudgetError(f"budget {text!r} cannot be read; write a number and a unit: {_examples()}")
    spelled = str(text).strip()
    # Decimal: 1.005MB is 1,005,000 bytes, which binary floating point would miss by a fraction.
    too_far = f"budget '{spelled:.60}' is too large or too small a number; write {_examples()}"
    try:
        number = Decimal(re.sub("[_,]", "", match["number"]))
    except ArithmeticError as error:  # an exponent of hundreds of digits
        raise BudgetError(too_far) from error
    if not number > 0:
        raise BudgetError(f"budget '{spelled}' must be above zero; write {_examples()}")
    asked = None if match["cost"] is None else _named(match["cost"], spelled)
    if not match["unit"]:
        raise BudgetError(f"budget '{spelled}' has no unit; write {_with_units(spelled, asked)}")
    cost = _by_unit(match["unit"], asked, spelled)
    try:
        limit = float(number * Decimal(_factors(cost)[match["unit"].lower()]))
    except ArithmeticError:
        limit = math.inf
    if not 0 < limit < math.inf:
        raise BudgetError(too_far)
    return Budget(cost.name, limit, spelled)


def _range(text: str) -> Budget:
    first, _, last = (part.strip() for part in text.partition(_RANGE))
    if _NUMBER.fullmatch(first.rpartition(":")[2].strip()):
        unit = _UNIT.search(last)
        first = f"{first}{unit[0] if unit else ''}"
    named, colon, _ = first.rpartition(":")
    if ":" in last and not colon:
        first = f"{last.partition(':')[0]}:{first}"
    high, low = parse_budget(f"{named}:{last}" if colon and ":" not in last else last), parse_budget(first)
    if high.least is not None or low.cost != high.cost or not low.limit < high.limit:
        raise BudgetError(f"budget '{text.strip()}' is no range; write two amounts of one cost, the smaller first, such as 1MB..8MB")
    return Budget(high.cost, high.limit, text.strip(), low.limit)


def parse_budgets(texts: Iterable[object]) -> tuple[Budget, ...]:
    """Read several budgets; of two on the same cost the tighter one holds. Order of first appearance.

    Raises:
        BudgetError: none given, one that `parse_budget` refuses, several ranges, or a range and another budget on its cost.
    """
    tightest: dict[str, Budget] = {}
    for text in texts:
        budget = parse_budget(text)
        ranges = [other for other in tightest.values() if other.least is not None]
        if (budget.least is not None and (ranges or budget.cost in tightest)) or any(budget.cost == other.cost for other in ranges):
            other = tightest.get(budget.cost) or ranges[0]
            raise BudgetError(f"budgets {other} and {budget} cannot hold together; give one range, and other budgets on other costs")
        if budget.cost not in tightest or budget.limit < tightest[budget.cost].limit:
            tightest[budget.cost] = budget
    if not tightest:
        raise BudgetError(f"no budget given; add --budget with a number and a unit: {_examples()}")
    return tuple(tightest.values())


def format_amount(cost: str, amount: float) -> str:
    """An amount in a cost's unit as a person reads it: `41,216 B`, `2.200 bit`, `5 ms`; a bare number if the cost is not registered."""
    return COSTS[cost].worded(amount) if cost in COSTS else f"{amount:g}"


def short_amount(cost: str, amount: float) -> str:
    """The same in three or four digits where the cost has such words: `41.22 KB`."""
    brief = COSTS[cost].brief if cost in COSTS else None
    return format_amount(cost, amount) if brief is None else brief(amount)


def _factors(cost: Cost) -> dict[str, str]:
    return {unit.lower(): factor for unit, factor in cost.units.items()}


def _named(name: str, spelled: str) -> Cost:
    """The cost before the colon."""
    for known, cost in COSTS.items():
        if name.lower() in (known, *cost.aliases):
            return cost
    names = ", ".join("/".join((known, *cost.aliases)) for known, cost in COSTS.items())
    raise BudgetError(f"budget '{spelled}' limits the unknown cost '{name}'; costs are {names}")


def _by_unit(unit: str, asked: Cost | None, spelled: str) -> Cost:
    """The one cost that is counted in a unit."""
    if asked is not None:
        if unit.lower() not in _factors(asked):
            raise BudgetError(f"budget '{spelled}': {asked.name} is not counted in '{unit}'; its units are {', '.join(asked.units)}")
        return asked
    counted = [cost for _, cost in COSTS.items() if unit.lower() in _factors(cost)]
    found = [cost for cost in counted if not cost.prefixed] or counted
    if not found:
        raise BudgetError(f"budget '{spelled}' has the unknown unit '{unit}'; write {_examples()}")
    if len(found) > 1 or found[0].prefixed:
        ways = " or ".join(f"{_prefix(cost)}:{spelled}" for cost in found)
        raise BudgetError(f"budget '{spelled}' does not say which cost it limits; write {ways}")
    return found[0]


def _prefix(cost: Cost) -> str:
    return cost.aliases[0] if cost.aliases else cost.name


def _examples() -> str:
    *most, last = [cost.example for _, cost in COSTS.items()]
    return f"{', '.join(most)} or {last}"


def _with_units(spelled: str, asked: Cost | None) -> str:
    """The number with the unit of every cost's example, or with all units of the cost that was asked for."""
    if asked is not None:
        return " or ".join(f"{spelled}{unit}" for unit in asked.units)
    units = [(f"{_prefix(cost)}:" if cost.prefixed else "", _UNIT.search(cost.example)) for _, cost in COSTS.items()]
    *most, last = [f"{prefix}{spelled}{unit[0]}" for prefix, unit in units if unit is not None]
    return f"{', '.join(most)} or {last}"
