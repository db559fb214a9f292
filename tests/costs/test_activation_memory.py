"""Peak bytes of live activations: by hand, as the card counts them in the quantized network, and under budgets as brute force finds."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mpsearch.allocate.reach import reachable
from mpsearch.allocate.solve import check_budgets, meets, solve
from mpsearch.card.arithmetic import peak_live_bits
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError, ConfigError, ModelError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.core.table import Table
from mpsearch.costs import CostInputs, compute_costs
from mpsearch.costs.budgets import parse_budgets
from mpsearch.methods import METHODS
from mpsearch.network.baked import evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.lifetimes import Activation, Lifetimes, lifetimes
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.network.walk import walk
from mpsearch.propose.observation import Observation
from mpsearch.propose.searcher import Searcher
from tests.layers import linear_layers
from tests.networks import NETWORKS, trained_statistics


class Grown(nn.Module):
    """A small network of random pieces: plain, depthwise, residual, dense (concatenation), branches that read the same tensor."""

    def __init__(self, pieces: tuple[str, ...], *, inplace: bool) -> None:
        super().__init__()
        self.pieces = pieces
        self.relu = nn.ReLU(inplace=inplace)
        self.one, self.two, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.stem, channels = nn.Conv2d(1, 4, 3, padding=1), 4
        for piece in pieces:
            out = channels if piece in ("residual", "depthwise") else 6
            groups = channels if piece == "depthwise" else 1
            self.one.append(nn.Conv2d(channels, out, 3, padding=1, groups=groups, bias=False))
            self.norms.append(nn.BatchNorm2d(out))
            self.two.append(nn.Conv2d(channels if piece == "branches" else out, out, 1))
            channels += out if piece == "dense" else out - channels
        self.head = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for piece, one, norm, two in zip(self.pieces, self.one, self.norms, self.two, strict=True):
            if piece == "branches":  # both read what a sigmoid made, and nothing else does
                x = torch.sigmoid(x)
                x = self.relu(norm(one(x))) + two(x)
                continue
            y = two(self.relu(norm(one(x))))
            x = x + y if piece == "residual" else torch.cat([x, y], 1) if piece == "dense" else y
        return self.head(torch.sigmoid(x).mean((2, 3)))


def setting(
    model: nn.Module, batch: object, acts: tuple[int, ...] = (2, 4, 8, FLOAT_BITS), **more: object
) -> tuple[ResolvedSpace, CostInputs, Network]:
    model = trained_statistics(model).eval()
    layers = trace(model, batch)
    space = Space(name="s", weights=(2, 8), activations=acts, **more).resolve(layers)  # type: ignore[arg-type]
    network = Network(model, space, Calibration.fit(model, space, [batch]), METHODS["lsq"]())
    return space, CostInputs(space=space, lifetimes=lambda: lifetimes(model, layers, batch)), network


def memory(inputs: CostInputs) -> CostTable:
    return compute_costs(["activation-memory"], inputs)["activation-memory"]


def drawn(space: ResolvedSpace, draw: random.Random) -> Allocation:
    picked: dict[str, Choice] = {}
    for group in space.groups:
        choice = draw.choice(space.menus[group[0]])
        picked |= {space.names[index]: choice for index in group}
    return space.check(Allocation(picked))


def peak_bytes(network: Network, allocation: Allocation, batch: object) -> float:
    network.begin(allocation)
    maps = walk(evaluated(network, integers=False), network.space.layers, batch).maps
    return peak_live_bits([m.elements * m.bits for m in maps], [m.born for m in maps], [m.last for m in maps]) / 8


@settings(max_examples=20)
@given(
    st.lists(st.sampled_from(["plain", "depthwise", "residual", "dense", "branches"]), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 1000),
)
def test_equals_the_peak_of_the_quantized_network(pieces: list[str], inplace: bool, seed: int) -> None:
    torch.manual_seed(0)
    batch, draw = torch.randn(2, 1, 4, 4), random.Random(seed)
    space, inputs, network = setting(Grown(tuple(pieces), inplace=inplace), batch)
    cost = memory(inputs)
    for _ in range(5):
        allocation = drawn(space, draw)
        assert cost.total(allocation) == peak_bytes(network, allocation, batch)


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_peak_of_every_kind_of_network(name: str) -> None:
    torch.manual_seed(0)
    build, make = NETWORKS[name]
    batch, draw = make(), random.Random(0)
    space, inputs, network = setting(build(), batch)
    cost = memory(inputs)
    for _ in range(4):
        allocation = drawn(space, draw)
        assert cost.total(allocation) == peak_bytes(network, allocation, batch)


def by_hand(activations: list[Activation], steps: int = 3, **more: object) -> CostTable:
    space = Space(name="s", weights=(8,), activations=(2, 4, 8), **more).resolve(linear_layers(3))  # type: ignore[arg-type]
    seen = Lifetimes(steps=(None,) * steps, activations=tuple(activations))  # type: ignore[arg-type]
    return memory(CostInputs(space=space, lifetimes=lambda: seen))


def choices(*acts: int) -> dict[str, Choice]:
    return {f"l{index}": Choice(8, bits) for index, bits in enumerate(acts)}


def test_a_tensor_is_held_at_the_most_bits_of_its_readers() -> None:
    cost = by_hand([Activation(80, 0, 1, {"l0", "l1"})])
    assert len(cost.rows) == 2
    assert [cost.total(choices(a, b, 8)) for a, b in ((2, 2), (2, 8), (8, 2))] == [20, 80, 80]


def test_whatever_is_read_in_float_or_by_nobody_takes_four_bytes_an_element() -> None:
    for readers in ({"l0", ""}, {""}, set()):
        cost = by_hand([Activation(80, 0, 1, readers)])
        assert [row.base for row in cost.rows] == [320]
        assert cost.total(choices(2, 2, 2)) == 320


def test_the_largest_moment_counts_and_depends_on_the_bits() -> None:
    cost = by_hand([Activation(40, -1, 0, {"l0"}), Activation(30, 1, 1, {"l1"}), Activation(5, 1, 2, {"l2"})])
    assert cost.total(choices(8, 8, 2)) == 40
    assert cost.total(choices(2, 8, 8)) == 35
    assert cost.total(choices(2, 2, 2)) == 10


def test_moments_that_are_never_the_largest_have_no_row() -> None:
    cost = by_hand([Activation(40, -1, 2, {"l0"}), Activation(5, 1, 1, {"l1"}), Activation(1, 2, 2, {""})])
    assert len(cost.rows) == 2  # at least 1.25 and at most 5 bytes beside the 40 elements, or 4
    cost = by_hand([Activation(40, -1, 2, {"l0"}), Activation(50, 1, 1, {"l1"}), Activation(1, 2, 2, {""})])
    assert len(cost.rows) == 1


def test_tied_layers_are_one_reader() -> None:
    cost = by_hand([Activation(80, 0, 1, {"l0", "l1"})], ties=(("l0", "l1"),))
    assert len(cost.rows) == 1
    assert cost.total(choices(4, 4, 8)) == 40


def test_too_many_readers_are_one_clear_line() -> None:
    space = Space(name="s", weights=(8,), activations=(2, 8)).resolve(linear_layers(42))
    activations = tuple(Activation(8, 0, 0, {f"l{i}" for i in range(3 * n, 3 * n + 3)}) for n in range(14))
    with pytest.raises(ModelError, match=r"there would be 4,782,969 rows, of which 4,096 are allowed"):
        memory(CostInputs(space=space, lifetimes=lambda: Lifetimes(steps=(None,), activations=activations)))  # type: ignore[arg-type]


def test_without_a_network_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="activation-memory needs a pass of the network"):
        memory(CostInputs(space=Space(name="s", weights=(2, 4)).resolve(linear_layers(2))))


def everything(space: ResolvedSpace) -> list[Allocation]:
    menus = [space.menus[group[0]] for group in space.groups]
    found = []
    for picked in itertools.product(*menus):
        found.append(Allocation({space.names[i]: c for group, c in zip(space.groups, picked, strict=True) for i in group}))
    return [space.check(allocation) for allocation in found]


@pytest.mark.parametrize("pieces", [("residual", "branches"), ("dense", "plain"), ("branches", "dense")])
def test_size_and_activation_budgets_together_equal_brute_force(pieces: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    batch = torch.randn(2, 1, 4, 4)
    space, inputs, _ = setting(Grown(pieces, inplace=True), batch, acts=(2, 8))
    costs = compute_costs(["size", "activation-memory"], inputs)
    draw = random.Random(0)
    values = [[(draw.random() + 0.1) * (2.0**-c.weight.bits + 2.0**-c.activation.bits) for c in space.choices] for _ in space.layers]
    objective = Table(name="score", unit="nats", layers=space.names, choices=space.choices, values=values)  # type: ignore[arg-type]
    scored = [(objective.total(a), costs["size"].total(a), costs["activation-memory"].total(a), a) for a in everything(space)]
    sizes, peaks = sorted({size for _, size, _, _ in scored}), sorted({peak for _, _, peak, _ in scored})
    assert reachable(space, costs["activation-memory"]) == (peaks[0], peaks[-1])
    for size, peak in itertools.product(sizes[:: len(sizes) // 4], peaks):
        budgets = parse_budgets([f"{size:.0f}B", f"act:{peak}B"])
        inside = [score for score, one, other, _ in scored if one <= size and other <= peak]
        if not inside:
            with pytest.raises(BudgetError, match="exclude each other"):
                solve(space, objective, costs, budgets)
            continue
        solution = solve(space, objective, costs, budgets)
        assert solution.objective == pytest.approx(min(inside), rel=1e-12)
        assert meets(solution.allocation, costs, budgets)
        assert solution.amounts["activation-memory"] <= peak
    with pytest.raises(BudgetError, match="below the smallest activation-memory this space can reach"):
        check_budgets(space, costs, parse_budgets([f"act:{math.floor(peaks[0]) - 1}B"]))
    with pytest.raises(BudgetError, match="nothing to search"):
        check_budgets(space, costs, parse_budgets([f"act:{math.ceil(peaks[-1])}B"]))


def test_every_proposal_of_a_search_meets_both_budgets() -> None:
    torch.manual_seed(0)
    batch, draw = torch.randn(2, 1, 4, 4), random.Random(1)
    space, inputs, _ = setting(Grown(("branches", "dense", "plain"), inplace=False), batch, acts=(2, 4, 8))
    costs = compute_costs(["size", "activation-memory"], inputs)
    (low, high), (small, large) = (reachable(space, costs[name]) for name in ("size", "activation-memory"))
    budgets = parse_budgets([f"{(low + high) // 2:.0f}B", f"act:{(small + large) / 2:.0f}B"])
    searcher = Searcher(space, [], costs, budgets, seed=0, sweep=(0.9, 1.1))
    seen: list[Observation] = []
    for _ in range(12):
        allocation = searcher.propose(seen).allocation
        assert allocation not in [known.allocation for known in seen]
        seen.append(Observation(allocation=allocation, losses={"ptq": draw.random() + 0.1}))
    assert sum(meets(known.allocation, costs, budgets) for known in seen) >= 6  # the others lie above, where the front is searched
    loosest = [replace(budget, limit=1.1 * budget.limit) for budget in budgets]
    assert all(meets(known.allocation, costs, loosest) for known in seen)
