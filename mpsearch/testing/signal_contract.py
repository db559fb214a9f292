"""`SignalContract` and `CombinedSignalContract`: what every signal owes, as test classes."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import DataError, ModelError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.core.table import Table
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.signals import SIGNALS, Signal, SignalInputs, compute_signal
from mpsearch.signals.base import Partial
from mpsearch.tasks.task import Task
from mpsearch.testing.networks import Depthwise, trained_statistics

__all__ = ["CombinedSignalContract", "SignalContract"]

T = TypeVar("T")


class _Listed:
    """What all signals owe."""

    signal: Signal

    @property
    def name(self) -> str:
        """As registered."""
        return self.signal.name

    def test_is_registered_and_names_its_paper(self) -> None:
        """Studies find the signal by name; `mpsearch list` shows what it is."""
        assert self.name in SIGNALS, f"register it: SIGNALS.register('{self.name}')(…)"
        assert SIGNALS[self.name] is self.signal
        assert self.signal.paper
        assert self.signal.description
        assert "\n" not in self.signal.description

    def _assert_shaped(self, table: Table, space: ResolvedSpace) -> None:
        """Of this signal and this space, and made by passes through a network."""
        assert (table.name, table.unit) == (self.name, "nats")
        assert (table.layers, table.choices) == (space.names, space.choices)
        np.testing.assert_array_equal(np.isnan(table.values), ~space.allowed)
        assert (table.values[space.allowed] >= 0).all()
        assert table.cost["forwards"] >= 1


class _Remembered(Partial):
    """Keeps everything as text, as a file would; what does not load is damaged."""

    def __init__(self) -> None:
        self.text: str | None = None

    def held(self, load: Callable[[Any], T]) -> T | None:
        """What was kept last."""
        if self.text is None:
            return None
        try:
            return load(json.loads(self.text))
        except (ValueError, KeyError, TypeError):
            return None

    def keep(self, document: Callable[[], Any]) -> None:
        """Keep it now."""
        self.text = json.dumps(document())


class SignalContract(_Listed):
    """For a signal that looks at the network: subclass it, name the class `Test…`, and set `signal`."""

    def test_table_has_the_shape_of_the_space(self) -> None:
        """Not negative where a choice is allowed, NaN elsewhere; the cost counts images and passes, as many as were announced."""
        inputs = _inputs()
        table = compute_signal(self.name, inputs)
        self._assert_shaped(table, inputs.space)
        assert table.cost["images"] == 12
        announced = self.signal.passes(inputs.space, len(inputs.batches))
        assert (table.cost["forwards"], table.cost["backwards"]) == pytest.approx(announced)
        assert table.cost["seconds"] > 0
        assert table.cost["backwards"] >= 0

    def test_float_is_free_and_one_bit_is_not(self) -> None:
        """Zero exactly, and above zero."""
        table = compute_signal(self.name, _inputs())
        column = {choice: table.values[:, c] for c, choice in enumerate(table.choices)}
        free, coarse = column[Choice(FLOAT_BITS)], column[Choice(1)]
        assert (free[~np.isnan(free)] == 0).all()
        assert (coarse[~np.isnan(coarse)] > 0).all()

    def test_a_quantizer_that_changes_nothing_costs_nothing(self) -> None:
        """Weights of ±0.25 are on the grid of one bit."""
        first, last = nn.Conv2d(1, 4, 3), nn.Linear(64, 10)
        model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), last).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for weight in (first.weight, last.weight):
                weight.copy_(0.25 * torch.sign(torch.randn_like(weight)))
        x = torch.randn(6, 1, 6, 6)
        inputs = _inputs_over(Space(name="test", weights=(1,)), model, x, batches=[(x, None)])
        assert (compute_signal(self.name, inputs).values == 0).all()

    def test_leaves_everything_as_it_was(self) -> None:
        """Weights, gradients, modes, hooks and all random states; see `mpsearch.signals.base.private_copy`."""
        model = trained_statistics(Depthwise())
        inputs = _inputs(model)
        model.bn1.train()
        model.stem.weight.requires_grad_(False)
        before = _state_of(model)
        weights = copy.deepcopy(model.state_dict())
        compute_signal(self.name, inputs)
        assert _state_of(model) == before
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(torch.equal(tensor, weights[key]) for key, tensor in model.state_dict().items())

    def test_same_seed_same_table_even_without_gradients(self) -> None:
        """A signal that needs gradients turns them on itself."""
        inputs = _inputs()
        first = compute_signal(self.name, inputs)
        with torch.no_grad():
            second = compute_signal(self.name, inputs)
        np.testing.assert_array_equal(first.values, second.values)

    def test_progress_reaches_its_end(self) -> None:
        """Steps done only rise, up to the number announced."""
        steps: list[tuple[int, int]] = []
        compute_signal(self.name, _inputs(progress=lambda done, total: steps.append((done, total))))
        assert [done for done, _ in steps] == sorted({done for done, _ in steps})
        assert steps[-1][0] == steps[-1][1]

    def test_interrupted_it_continues_to_the_same_values(self) -> None:
        """What it keeps of itself, if anything, is JSON data, and continues to the same table to the last bit; damage is not taken."""
        whole, partial = compute_signal(self.name, _inputs()), _Remembered()

        def interrupt(done: int, total: int) -> None:
            if 1 < total == done:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            compute_signal(self.name, _inputs(partial=partial, progress=interrupt))
        continued = compute_signal(self.name, _inputs(partial=partial))
        np.testing.assert_array_equal(continued.values, whole.values)
        if partial.text is not None:
            partial.text = json.dumps({"done": "nothing", "sums": [[]], "samples": [[1]], "paths": 1, "values": [1], "damages": []})
            np.testing.assert_array_equal(compute_signal(self.name, _inputs(partial=partial)).values, whole.values)

    def test_no_data_is_one_clear_line(self) -> None:
        """An empty training split is the user's mistake, and said to be."""
        with pytest.raises(DataError, match=f"'{self.name}' needs at least one batch"):
            compute_signal(self.name, _inputs(batches=[]))

    def test_a_network_that_gives_no_numbers_is_one_clear_line(self) -> None:
        """NaN in a bias reaches the table, or the signal refuses."""
        model = trained_statistics(Depthwise())
        inputs = _inputs(model)
        with torch.no_grad():
            model.head.bias[0] = torch.nan
        with pytest.raises(ModelError, match=r"(?i)finite"):
            compute_signal(self.name, inputs)


class CombinedSignalContract(_Listed):
    """For a signal that combines others (`combines=True`): subclass it, name the class `Test…`, and set `signal`."""

    def test_a_combination_has_the_shape_of_its_parts(self) -> None:
        """And costs what its parts cost."""
        inputs = _inputs()
        parts = [compute_signal(part, inputs) for part in ("coverage", "fisher")]
        generator = np.random.default_rng(0)
        menus = inputs.space.menus
        measured = []
        for _ in range(20):
            picked = Allocation({name: menu[generator.integers(len(menu))] for name, menu in zip(inputs.space.names, menus, strict=True)})
            if (loss := parts[0].total(picked) + 2 * parts[1].total(picked)) > 0:
                measured.append((picked, loss))
        table = compute_signal(self.name, replace(inputs, tables=parts, measured=measured))
        self._assert_shaped(table, inputs.space)
        assert table.cost["seconds"] >= sum(part.cost["seconds"] for part in parts)

    def test_a_combination_of_nothing_is_one_clear_line(self) -> None:
        """Without other signals there is nothing to combine."""
        with pytest.raises(DataError, match=f"'{self.name}' weighs other signals"):
            compute_signal(self.name, _inputs())


def _inputs(model: nn.Module | None = None, **more: Any) -> SignalInputs:
    torch.manual_seed(0)
    model = trained_statistics(Depthwise()) if model is None else model
    x, y = torch.randn(12, 1, 8, 8), torch.randint(10, (12,))
    menus = Space(
        name="test",
        weights=(1, 4, 8, FLOAT_BITS),
        activations=(4, 8, FLOAT_BITS),
        layers={"depth": LayerMenu(weights=(4, 8), activations=(FLOAT_BITS,))},
        pins={"head": Choice(8)},
    )
    return _inputs_over(menus, model, x, **{"batches": [(x[:8], y[:8]), (x[8:], y[8:])], **more})


def _inputs_over(menus: Space, model: nn.Module, x: Tensor, **more: Any) -> SignalInputs:
    space = menus.resolve(trace(model, x))
    calibration = Calibration.fit(model, space, [x])
    return SignalInputs(model=model, space=space, calibration=calibration, task=Task.classification(), **more)


def _state_of(model: nn.Module) -> dict[str, Any]:
    """All that a signal could leave behind beside weights and gradients, in JSON data."""
    modules: Iterable[Any] = model.modules()
    kind, keys, *position = np.random.get_state(legacy=True)
    return {
        "modules": [path for path, _ in model.named_modules()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks), sorted(module.__dict__)) for module in modules],
        "training": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "torch": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), position),
        "gradients": torch.is_grad_enabled(),
    }
