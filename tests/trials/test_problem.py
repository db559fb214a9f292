"""What a record costs is what its own method writes; what is proposed fits whatever method it is trained with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mpsearch.core.budget import parse_budget
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.record import Record
from mpsearch.costs.size import size
from mpsearch.methods.base import Method
from mpsearch.trials.climb import costed
from mpsearch.trials.problem import Problem
from mpsearch.trials.uniform import uniform_candidates
from tests.study.test_study_sampler import problem, proposals


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
    return replace(plain, costs={"size": size(plain.space, [Plain().stores, Bases().stores])})


def test_amounts_are_the_methods_own() -> None:
    two = asked("1KB").space.uniform(Choice(2))
    plain, bases = (asked("1KB").amounts(two, method)["size"] for method in (Plain(), Bases()))
    assert bases - plain == 6 * (4 * 2 + 2)  # six layers of four channels: four scales more, four numbers of half a byte
    assert asked("1KB").amounts(two)["size"] == bases
    assert plain == size(asked("1KB").space, [Plain().stores]).total(two)


def test_budget_holds_by_the_methods_own_amount() -> None:
    two = asked("1KB").space.uniform(Choice(2))
    between = asked(f"{int(asked('1KB').amounts(two, Plain())['size'])}B")
    assert [between.fits(two, method) for method in (Plain(), Bases(), None)] == [True, False, False]
    record = Record(number=0, origin="", allocation=two, rung="", scores={}, costs={})
    assert [costed(between, record, method).feasible for method in (Plain(), Bases())] == [True, False]
    assert costed(between, record, Plain()).costs == {"size": between.budgets[0].limit}


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
