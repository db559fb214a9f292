"""The contract of targets, run over whatever the registry finds, and over one that can hold little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mpsearch.core.errors import ArtifactError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, read_artifact, restricted
from mpsearch.targets.packed.target import Packed
from mpsearch.testing import TargetContract
from mpsearch.testing.networks import Depthwise
from tests.language_models import llama


class EightBit(Packed):
    """As a runtime that has kernels of 4 and 8 uniform bits only."""

    name = "eight_bit"
    file = "model.eight"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        kept = weight.is_float or (weight.kind == "uniform" and weight.bits in (4, 8) and weight.granularity == "channel")
        return "" if kept and not weight.zero_point else f"no kernel reads weights of the format '{weight}'"


@pytest.fixture
def eight_bit() -> Iterator[EightBit]:
    with TARGETS.temporarily("eight_bit", EightBit):
        yield EightBit()


class TestEveryTarget(TargetContract):
    @pytest.fixture(autouse=True, params=sorted(set(TARGETS.names()) - {"gguf"}))
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.target = TARGETS[request.param]()


class TestTheTargetOfLanguageModels(TargetContract):
    target = TARGETS["gguf"]()
    network = staticmethod(llama)


class TestATargetThatRefuses(TargetContract):
    @pytest.fixture(autouse=True)
    def chosen(self, eight_bit: EightBit) -> None:
        self.target = eight_bit


def space(*weights: int) -> ResolvedSpace:
    return Space(name="s", weights=weights).resolve(trace(Depthwise().eval(), torch.randn(2, 1, 8, 8)))


def test_a_menu_loses_what_the_file_cannot_hold_and_each_reason_is_said_once() -> None:
    cut, said = restricted(space(2, 3, 4, 8), EightBit(), [METHODS["lsq"]()])
    assert [[choice.weight.bits for choice in menu] for menu in cut.menus] == [[4, 8]] * 4
    assert said == ("no kernel reads weights of the format '2'", "no kernel reads weights of the format '3'")


def test_what_one_of_several_methods_would_store_otherwise_goes_too() -> None:
    """`alq` stores the menu's 4 bits as a sum of sign vectors, which this target does not read."""
    with pytest.raises(SpaceError, match=r"layer 'stem': target 'eight_bit' can hold none of its menu"):
        restricted(space(4, 8), EightBit(), [METHODS["lsq"](), METHODS["alq"]()])


def test_a_file_of_no_target_is_named_with_the_kinds_there_are(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no target writes files of this kind \(.*\.safetensors"):
        read_artifact(tmp_path / "net.tflite")
