"""`MethodContract`: what every method owes, as one test class.

Live and baked network agree bit for bit in every quantized weight. Their outputs do so only up to the folding of BatchNorm and the
half-precision scales of the file: what is scored and delivered is the baked network, and with that one the file agrees in every bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods import METHODS, Method
from mpsearch.methods.base import Batch
from mpsearch.network.baked import CodedWeight, FloatWeight, Parts, bake, evaluated, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.grid import GRID_STYLES, GridStyle
from mpsearch.targets import TARGETS, Blueprint
from mpsearch.tasks.task import Task
from mpsearch.testing.networks import Depthwise, trained_statistics
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, reestimate_batchnorm, train
from mpsearch.training.recipe import Recipe

__all__ = ["MethodContract"]

_CPU = torch.device("cpu")
_TASK = Task.classification()
_SPACE = Space(name="all", weights=(1, 2, 3, 4, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))
_CHOICES = [Choice(1), Choice(2), Choice(3, 4), Choice(8, 8), Choice(FLOAT_BITS, 2)]

every_choice = pytest.mark.parametrize("choice", _CHOICES, ids=str)


class MethodContract:
    """Subclass it, name the class `Test…`, and set `method` to an instance of a registered method.

    A method that computes something else under other settings owes the contract for each of them: see `mpsearch.testing.variants`.
    """

    method: Method

    def test_is_registered_and_names_its_paper(self) -> None:
        """Studies and files find the method by name; `mpsearch list` shows what it is."""
        kind = type(self.method)
        assert kind in [member for _, member in METHODS.items()], f"decorate {kind.__name__} with @METHODS.register(name)"
        assert "arXiv" in kind.paper or "doi" in kind.paper.lower()
        assert kind.description
        assert "\n" not in kind.description
        assert kind.__doc__

    def test_is_its_settings(self) -> None:
        """The object is frozen and equals another with the same settings, so that a study file states it in full."""
        assert replace(self.method) == self.method
        with pytest.raises(AttributeError):
            self.method.grid = "half"  # type: ignore[misc]

    @every_choice
    def test_trained_network_is_its_baked_network(self, choice: Choice) -> None:
        """No more levels than bits allow; installed codes compute what was scored, and that is what was trained."""
        network = self._attached(cast(GridStyle, GRID_STYLES[choice.weight.bits % 3]))
        _train(network, network.space.uniform(choice))
        parts = bake(network)
        for layer in network.space.layers:
            weight = parts.layers[layer.name].weight
            assert isinstance(weight, FloatWeight) == choice.weight.is_float
            if isinstance(weight, CodedWeight):
                own = [choice.weight.bits] * layer.channels
                if weight.format.kind == "multibit":
                    own = torch.count_nonzero(weight.scales.values, 1).tolist()
                assert sum(own) <= choice.weight.bits * layer.channels
                assert all(len(set(row.tolist())) <= 2**bits for row, bits in zip(weight.codes, own, strict=True))
        network.model.eval()
        with torch.no_grad():
            scored, live = call(evaluated(network), _data().x), call(network.model, _data().x)
            assert torch.equal(call(install(network.architecture, network.space.layers, parts), _data().x), scored)
        if choice.activation.is_float:  # BatchNorm folded, scales in half precision
            torch.testing.assert_close(scored, live, atol=1e-2 * float(live.abs().max()), rtol=0)

    def test_scored_baked_and_reloaded_networks_agree_bit_for_bit(self, tmp_path: Path) -> None:
        """And so does every weight in training with its codes."""
        network = self._attached()
        allocation = _mixed(network)
        _train(network, allocation)
        network.model.eval()
        for layer in network.space.layers:
            quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer).detach()
            codes, steps = quantizer.export(weight)
            values = network.stored(allocation[layer.name].weight).decode(codes, steps)
            assert torch.equal(quantizer.rows.split(quantizer(weight)).detach(), values)
        parts = bake(network)
        target = TARGETS["packed"]()
        path = tmp_path / target.file
        target.writer(Blueprint(architecture=network.architecture, inputs=_data().x, layers=network.space.layers)).write(path, parts)
        with torch.no_grad():
            scored = call(evaluated(network), _data().x)
            assert torch.equal(call(install(network.architecture, network.space.layers, parts), _data().x), scored)
            assert torch.equal(call(target.read(path).install(Depthwise()), _data().x), scored)

    def test_a_killed_training_resumes_to_the_same_end(self, tmp_path: Path) -> None:
        """All state of a method travels with the checkpoint."""
        checkpoint = Checkpoint(tmp_path / "x.checkpoint", every=0.0)
        with pytest.raises(KeyboardInterrupt):
            self._trained(_mixed, checkpoint=checkpoint, killed_at=4)
        _assert_same(self._trained(_mixed, checkpoint=checkpoint), self._trained(_mixed))

    @every_choice
    def test_gradients_are_finite_and_reach_every_layer(self, choice: Choice) -> None:
        """Either the weight or its quantizer gets a gradient that is not zero."""
        network = self._attached()
        network.begin(network.space.uniform(choice))
        network.model.train()
        loss: Tensor = _TASK.loss(call(network.model, _data().x), _data().y)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in network.model.parameters() if p.grad is not None]
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        for layer in network.space.layers:
            owned = [network.latent_weight(layer), *network.weight_quantizer(layer).parameters()]
            assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in owned)

    @every_choice
    def test_short_training_lowers_the_loss(self, choice: Choice) -> None:
        """Eight epochs on 96 images, against the calibrated network."""
        network = self._attached()
        network.begin(network.space.uniform(choice))
        reestimate_batchnorm(network.model, _data(), Recipe(reestimate=96), device=_CPU, seed=0)
        before = evaluate(network.model, _data(), _TASK, device=_CPU).loss
        _train(network, network.space.uniform(choice), epochs=8)
        assert evaluate(network.model, _data(), _TASK, device=_CPU).loss < before

    def test_same_seed_same_codes(self) -> None:
        """Two trainings with one seed end alike."""
        _assert_same(*(self._trained(lambda network: network.space.uniform(Choice(2, 4))) for _ in range(2)))

    def test_state_dict_and_deepcopy_round_trips(self) -> None:
        """A network is its `state_dict`, whatever allocation it was at before."""
        network = self._attached()
        _train(network, network.space.uniform(Choice(3, 4)))
        network.model.eval()
        with torch.no_grad():
            before = call(network.model, _data().x)
            assert torch.equal(call(copy.deepcopy(network.model), _data().x), before)
            other = self._attached()
            other.begin(other.space.uniform(Choice(8, 2)))
            other.model.load_state_dict(network.model.state_dict())
            other.model.eval()
            assert torch.equal(call(other.model, _data().x), before)

    def test_beginning_again_forgets_the_training(self) -> None:
        """Trials share one network; none may see what another left."""
        network = self._attached()
        allocation = network.space.uniform(Choice(2, 4))
        network.begin(allocation)
        first = bake(network)
        _train(network, network.space.uniform(Choice(4, 8)))
        network.begin(allocation)
        _assert_same(first, bake(network))

    def test_compiled_training_is_eager_training(self) -> None:
        """Outputs, gradients and state of 20 steps. Dynamo traces the forward here as for any backend, and the operations are the same."""
        self.check_compiled("eager")

    def check_compiled(self, backend: str) -> None:
        """Train in float64, where no rounding of one order of sums can tip a code, compiled by `torch.compile` and eagerly.

        Args:
            backend: of `torch.compile`.
        """
        if not self.method.compilable:
            pytest.skip("trains eagerly")
        eager, compiled = self._watched(None), self._watched(backend)
        for one, other in zip(eager, compiled, strict=True):
            assert one.keys() <= other.keys()
            assert not any(other[name].any() for name in other.keys() - one.keys()), (
                "no gradient, or one of zeros where a layer stays float"
            )
            for name, value in one.items():
                scale = float(value.detach().abs().max()) if value.is_floating_point() and value.numel() else 0.0
                torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-5 * scale, msg=partial("{}: {}".format, name))

    def _watched(self, backend: str | None) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Outputs of every step, gradients of the first and the last, and the state after 20 steps."""
        network = self._attached(model=_pair())
        network.begin(Allocation(dict(zip(network.space.names, (Choice(3), Choice(FLOAT_BITS, 4)), strict=True))))
        model, data = network.model.double(), _data()
        hooks, outputs, gradients = Hooks.of(self.method, network), dict[str, Tensor](), dict[str, Tensor]()
        objective, before_step = hooks.objective, hooks.before_step

        def watched_objective(batch: Batch) -> Tensor:
            outputs[f"outputs {len(outputs)}"] = batch.outputs.detach().clone()
            return objective(batch)

        def watched_step(progress: float) -> None:
            if len(outputs) in (1, 20):
                for name, parameter in model.named_parameters():
                    if parameter.grad is not None:
                        gradients[f"gradient {len(outputs)} {name}"] = parameter.grad.clone()
            before_step(progress)

        hooks.objective, hooks.before_step = watched_objective, watched_step
        torch._dynamo.reset()
        compiled = None if backend is None else partial(call, cast(nn.Module, torch.compile(model, backend=backend)))
        recipe = Recipe(epochs=10, batch_size=48, lr=0.0005, precision="float32", reestimate=0)  # a larger one magnifies the last digit
        split = TensorSplit(data.x.double(), data.y)
        parameters = network.quantizer_parameters()
        train(model, parameters, split, _TASK, recipe, device=_CPU, seed=0, hooks=hooks, compiled=compiled)
        assert len(outputs) == 20
        state = {f"state {name}": value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
        return outputs, gradients, state

    def _attached(self, grid: GridStyle = "twos", model: nn.Module | None = None) -> Network:
        torch.manual_seed(0)
        model, x = trained_statistics(model or Depthwise()), _data().x
        space = _SPACE.resolve(trace(model, x))
        return Network(model, space, Calibration.fit(model, space, [x]), replace(self.method, grid=grid))

    def _trained(self, choose: Callable[[Network], Allocation], **training: Any) -> Parts:
        network = self._attached()
        _train(network, choose(network), **training)
        return bake(network)


def _pair() -> nn.Module:
    """Two layers, since tracing takes a second each: one with quantized weights, one with a quantized input; the others stay float."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


def _data() -> TensorSplit:
    x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return TensorSplit(x, (x.mean((1, 2, 3)) > 0).long())


def _mixed(network: Network) -> Allocation:
    """Another choice for every layer."""
    return Allocation({name: network.space.uniform(_CHOICES[i % 4])[name] for i, name in enumerate(network.space.names)})


def _train(
    network: Network, allocation: Allocation, epochs: int = 2, *, checkpoint: Checkpoint | None = None, killed_at: int | None = None
) -> None:
    def stop(done: int, total: int) -> None:
        if done == killed_at:
            raise KeyboardInterrupt

    network.begin(allocation)
    assert isinstance(network.method, Method)
    hooks = Hooks.of(network.method, network)
    hooks.on_step = stop
    recipe = Recipe(epochs=epochs, batch_size=32, lr=0.01, precision="float32", reestimate=96)
    parameters = network.quantizer_parameters()
    train(network.model, parameters, _data(), _TASK, recipe, device=_CPU, seed=0, hooks=hooks, checkpoint=checkpoint)


def _assert_same(one: Parts, other: Parts) -> None:
    assert list(one.layers) == list(other.layers)
    for name, baked in one.layers.items():
        first, second = baked.weight, other.layers[name].weight
        assert isinstance(first, CodedWeight)
        assert isinstance(second, CodedWeight)
        assert first.format == second.format
        assert torch.equal(first.codes, second.codes)
        assert torch.equal(first.scales.numbers(), second.scales.numbers())
    assert all(torch.equal(tensor, other.rest[key]) for key, tensor in one.rest.items())
