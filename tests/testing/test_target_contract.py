"""The contract refuses targets that break it: each of these differs from `packed` in one promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.network.baked import Parts
from mpsearch.targets import Blueprint
from mpsearch.targets.packed.target import Packed
from mpsearch.targets.packed.write import PackedWriter
from mpsearch.testing import TargetContract

FOUR = NumberFormat("uniform", 4)


class CarelessWriter(PackedWriter):
    """Promises one byte a layer less than it writes."""

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        return super().layer_bytes(layer, weight, activation) - 1


class HeavyWriter(PackedWriter):
    """Forgets what stays float."""

    @property
    def overhead_bytes(self) -> int:
        return 0


class LitteringWriter(PackedWriter):
    """Leaves a second file behind."""

    def write(self, path: Path, parts: Parts) -> int:
        path.with_suffix(".log").touch()
        return super().write(path, parts)


class Careless(Packed):
    def writer(self, blueprint: Blueprint) -> PackedWriter:
        return CarelessWriter(blueprint)


class Heavy(Packed):
    def writer(self, blueprint: Blueprint) -> PackedWriter:
        return HeavyWriter(blueprint)


class Littering(Packed):
    def writer(self, blueprint: Blueprint) -> PackedWriter:
        return LitteringWriter(blueprint)


class Empty(Packed):
    """Holds nothing at all."""

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        return "there is no room"


class Trusting(Packed):
    """Never looks at what it has written."""

    def verify(self, *_: object) -> float:
        return 0.0


def contract(target: Packed) -> TargetContract:
    suite = TargetContract()
    suite.target = target
    return suite


def test_an_honest_target_passes(tmp_path: Path) -> None:
    suite = contract(Packed())
    suite.test_is_registered_and_described()
    suite.test_holds_something()
    suite.test_promised_is_on_disk_and_read_back_is_written(FOUR, FLOAT, tmp_path)


def test_a_target_that_nobody_registered_is_told_how() -> None:
    with pytest.raises(AssertionError, match=r"register it: @TARGETS.register"):
        contract(Careless()).test_is_registered_and_described()


@pytest.mark.parametrize("target", [Careless(), Heavy(), Littering()], ids=lambda target: type(target).__name__)
def test_bytes_that_were_not_promised_are_noticed(target: Packed, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        contract(target).test_promised_is_on_disk_and_read_back_is_written(FOUR, FLOAT, tmp_path)


def test_a_target_that_holds_nothing_is_noticed() -> None:
    with pytest.raises(AssertionError):
        contract(Empty()).test_holds_something()


def test_a_file_that_is_not_checked_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract(Trusting()).test_a_file_of_another_size_or_network_is_found_out(tmp_path)
