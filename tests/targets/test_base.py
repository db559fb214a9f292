"""A target that holds less than a menu offers: the space is cut, the reason is said, and an empty menu is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.trace import trace
from mpsearch.targets.base import Artifact, Target, Writer, restricted
from mpsearch.targets.blueprint import Blueprint


class EvenBits(Target):
    """Weights of 2, 4 and 8 bits and ternary ones, as many small runtimes have them."""

    name, description, file = "even", "even bits", "model.even"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        return "" if weight.is_float or weight.bits in (2, 4, 8) else f"even has no weights of {weight.bits} bits"

    def writer(self, blueprint: Blueprint) -> Writer:
        raise NotImplementedError

    def read(self, path: Path) -> Artifact:
        raise NotImplementedError


LAYERS = trace(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), torch.randn(5, 6))
STORES = [METHODS["lsq"](), METHODS["ste"](grid="narrow")]


def test_the_space_is_cut_to_what_the_target_can_hold() -> None:
    space = Space(name="s", weights=(1, 2, 3, 4, 32)).resolve(LAYERS)
    cut, said = restricted(space, EvenBits(), STORES)
    assert set(cut.menus) == {(Choice(2), Choice(4), Choice(32))}
    assert said == ("even has no weights of 1 bits", "even has no weights of 3 bits")


def test_a_layer_without_a_choice_left_is_named() -> None:
    with pytest.raises(SpaceError, match=r"layer '0': target 'even' can hold none of its menu \(even has no weights of 3 bits\); widen"):
        restricted(Space(name="s", weights=(3, 5)).resolve(LAYERS), EvenBits(), STORES)


def test_blueprints_keep_a_granularity_that_is_not_the_usual_one() -> None:
    model, x = nn.Linear(64, 4), torch.randn(5, 64)
    layers = trace(model, x)
    assert Blueprint.of(model, x, Space(name="s", weights=(4,)).resolve(layers)).granularity == ()
    assert Blueprint.of(model, x, Space(name="s", weights=(NumberFormat("uniform", 4, 32),)).resolve(layers)).granularity == (32,)


class Returns(EvenBits):
    """Reads back a network that differs in one bias."""

    def __init__(self, change: float) -> None:
        self.change = change

    def read(self, path: Path) -> Artifact:
        return _Changed(self.change)  # type: ignore[return-value]


class _Changed:
    def __init__(self, change: float) -> None:
        self.change = change

    def executed(self) -> nn.Module | None:
        return None

    def install(self, model: nn.Module) -> nn.Module:
        changed = copy.deepcopy(model)
        with torch.no_grad():
            changed.second.bias += self.change
        return changed


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.first(x), "more": self.second(x)}


def test_every_output_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpsearch.targets.base.install", lambda model, layers, parts: model)
    file = tmp_path / "model.even"
    file.write_bytes(b"12345")
    model, x = TwoHeads(), torch.randn(3, 4)
    Returns(0.0).verify(file, None, model, (), x, 5)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="gives other outputs than the network that was scored"):
        Returns(1e-3).verify(file, None, model, (), x, 5)  # type: ignore[arg-type]


class Roughly(Returns):
    """Its runtime adds to one output."""

    exact = False

    def read(self, path: Path) -> Artifact:
        return _Roughly(self.change)  # type: ignore[return-value]


class _Roughly(_Changed):
    def install(self, model: nn.Module) -> nn.Module:
        return model

    def executed(self) -> nn.Module:
        runtime = TwoHeads()
        runtime.load_state_dict(STATE)
        with torch.no_grad():
            runtime.second.bias.add_(self.change)
        return runtime


STATE = TwoHeads().state_dict()


@pytest.mark.parametrize(("change", "refused"), [(0.01, False), (10.0, True), (float("nan"), True)])
def test_a_runtime_that_is_not_exact_is_measured_and_refused_where_it_must_be_wrong(
    change: float, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpsearch.targets.base.install", lambda model, layers, parts: model)
    file = tmp_path / "model.even"
    file.write_bytes(b"12345")
    model, x = TwoHeads(), torch.randn(3, 4)
    model.load_state_dict(STATE)
    target = Roughly(change)
    if refused:
        with pytest.raises(ArtifactError, match=r"in its runtime that differ by .* use --target onnx"):
            target.verify(file, None, model, (), x, 5)  # type: ignore[arg-type]
    else:
        assert 1e-4 < target.verify(file, None, model, (), x, 5) < 0.1  # type: ignore[arg-type]
    target.exact = True  # type: ignore[misc]
    with pytest.raises(ArtifactError, match="use --target packed"):
        target.verify(file, None, model, (), x, 5)  # type: ignore[arg-type]
