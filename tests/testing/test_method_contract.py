"""The contract refuses methods that break it: each of these differs from `lsq` in one promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mpsearch.core.choice import Choice
from mpsearch.methods.learned_step import LearnedStepWeight
from mpsearch.methods.lsq import Lsq
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.testing import MethodContract


class DeafWeight(LearnedStepWeight):
    """Lets no gradient through."""

    def quantize(self, rows: Tensor) -> Tensor:
        return super().quantize(rows).detach()


class OtherExport(LearnedStepWeight):
    """Writes other codes than it computes with."""

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        codes, steps = super().export(weight)
        return (codes - 1).clamp_min(int(codes.min())), steps


@dataclass(frozen=True, kw_only=True)
class Deaf(Lsq):
    """No gradient."""

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        return DeafWeight(rows)


@dataclass(frozen=True, kw_only=True)
class Liar(Lsq):
    """The file differs from the network."""

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        return OtherExport(rows)


@dataclass(frozen=True, kw_only=True)
class Noisy(Lsq):
    """Random numbers that no seed governs."""

    def after_step(self, network: Network, progress: float) -> None:
        super().after_step(network, progress)
        generator = torch.Generator()
        generator.seed()
        for layer in network.space.layers:
            weight = network.latent_weight(layer)
            weight += 0.1 * torch.randn(weight.shape, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Remembering(Lsq):
    """A trial sees what the last one left."""

    def begin(self, network: Network) -> None:
        steps: Mapping[str, Tensor] = dict(network.model.named_buffers())
        seen = steps.get("begun")
        if seen is None:
            network.model.register_buffer("begun", torch.zeros(()))
            return
        seen += 1
        for layer in network.space.layers:
            network.latent_weight(layer).mul_(1 + 0.5 * float(seen))


def contract(method: Lsq) -> MethodContract:
    suite = MethodContract()
    suite.method = method
    return suite


def test_an_honest_method_passes() -> None:
    suite = contract(Lsq())
    suite.test_is_registered_and_names_its_paper()
    suite.test_is_its_settings()
    suite.test_gradients_are_finite_and_reach_every_layer(Choice(2))
    suite.test_same_seed_same_codes()
    suite.test_beginning_again_forgets_the_training()


def test_a_method_that_nobody_registered_is_told_how() -> None:
    with pytest.raises(AssertionError, match=r"decorate Deaf with @METHODS.register"):
        contract(Deaf()).test_is_registered_and_names_its_paper()


def test_gradients_that_do_not_arrive_are_noticed() -> None:
    with pytest.raises(AssertionError):
        contract(Deaf()).test_gradients_are_finite_and_reach_every_layer(Choice(2))


def test_a_file_that_differs_from_the_network_is_noticed() -> None:
    with pytest.raises(AssertionError):
        contract(Liar()).test_trained_network_is_its_baked_network(Choice(8))


def test_chance_without_a_seed_is_noticed() -> None:
    with pytest.raises(AssertionError):
        contract(Noisy()).test_same_seed_same_codes()


def test_what_is_left_of_an_earlier_training_is_noticed() -> None:
    with pytest.raises(AssertionError):
        contract(Remembering()).test_beginning_again_forgets_the_training()
