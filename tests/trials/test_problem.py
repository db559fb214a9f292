"""What a record costs is what its own method writes; what is proposed fits whatever method it is trained with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mpsearch.core.budget import tightness
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat
from mpsearch.costs.base import CostInputs
from mpsearch.costs.bits import bits
from mpsearch.costs.budgets import parse_budget, parse_budgets
from mpsearch.costs.size import size
from mpsearch.methods.base import Method
from mpsearch.trials.problem import Problem
from mpsearch.trials.uniform import uniform_candidates
from tests.study.proposals import problem, proposals


@dataclass(frozen=True, kw_only=True)
class Plain(Method):
    def weight_quantizer(self, rows: Any) -> Any:
        raise NotImplementedError

    def act_quantizer(self) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Bases(Plain):
    def stores(self, asked: NumberFormat) -> NumberFormat:
        return asked if asked.is_float else NumberFormat("multibit", asked.bits)


def asked(budget: str) -> Problem:
    plain = problem(budget)
    return replace(plain, costs={"size": size(CostInputs(space=plain.space, formats=[Plain().stores, Bases().stores]))})


def test_amounts_are_the_methods_own() -> None:
    two = asked("1KB").space.uniform(Choice(2))
    plain, bases = (asked("1KB").amounts(two, method)["size"] for method in (Plain(), Bases()))
    assert bases - plain == 6 * (4 * 2 + 2)  # six layers of four channels: four scales more, four numbers of half a byte
    assert asked("1KB").amounts(two)["size"] == bases
    assert plain == size(CostInputs(space=asked("1KB").space, formats=[Plain().stores])).total(two)


def test_budget_holds_by_the_methods_own_amount() -> None:
    two = asked("1KB").space.uniform(Choice(2))
    between = asked(f"{int(asked('1KB').amounts(two, Plain())['size'])}B")
    assert [between.fits(two, method) for method in (Plain(), Bases(), None)] == [True, False, False]
    assert between.amounts(two, Plain()) == {"size": between.budgets[0].limit}


def test_proposals_fit_whichever_method_they_are_trained_with() -> None:
    tight = asked("400B")
    assert tight.budgets == (parse_budget("400B"),)
    for record in proposals(tight, 12):
        assert all(tight.fits(record.allocation, method) for method in (Plain(), Bases()))
    first = proposals(tight, 1)[0].allocation
    assert tight.amounts(first, Plain())["size"] < tight.amounts(first)["size"] <= 400


def test_uniform_reference_is_not_held_to_the_bytes_of_other_methods() -> None:
    two = asked("1KB").space.uniform(Choice(2))
    limit = int(asked("1KB").amounts(two, Plain())["size"])
    assert "uniform w2af" in dict(uniform_candidates(asked(f"{limit}B"), Plain()))
    assert "uniform w2af" not in dict(uniform_candidates(asked(f"{limit}B"), Bases()))


def test_excess_is_said_in_the_unit_of_each_budget_and_tightness_is_the_fullest() -> None:
    plain = asked("1KB")
    two = plain.space.uniform(Choice(2))
    both = replace(
        plain, costs={**plain.costs, "bits": bits(CostInputs(space=plain.space))}, budgets=parse_budgets(["100B", "1.5bit", "1e9B"])
    )
    bytes_taken = int(both.amounts(two, Plain())["size"])
    assert both.excess(two, Plain()) == f"{bytes_taken} B, above the budget 100B and 2.000 bit, above the budget 1.5bit"
    assert tightness(both.amounts(two, Plain()), both.budgets) == max(bytes_taken / 100, 2 / 1.5)
    assert tightness(both.amounts(two, Bases()), both.budgets) > tightness(both.amounts(two, Plain()), both.budgets)
    roomy = replace(both, budgets=parse_budgets(["2bit", "1MB"]))
    assert (roomy.excess(two, Bases()), tightness(roomy.amounts(two), roomy.budgets)) == ("", 1.0)


def test_only_costs_that_read_formats_are_computed_again_for_a_method() -> None:
    plain = asked("1KB")
    counted = bits(CostInputs(space=plain.space))
    both = replace(plain, costs={**plain.costs, "bits": counted, "own": counted})
    assert both.costs_of(Plain())["bits"] is both.costs_of(Plain())["own"] is counted
    assert both.costs_of(Plain())["size"] is not plain.costs["size"]
    assert both.costs_of(None) is both.costs
