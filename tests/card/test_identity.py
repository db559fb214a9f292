"""The identity is of configuration and bits, not of the run."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata

from mpsearch.card.identity import identity, package_versions
from mpsearch.card.inputs import CardInputs
from tests.card.runs import uniform


def test_the_id_moves_with_bits_and_study_and_with_nothing_else(images: CardInputs) -> None:
    base = identity(images, uniform(images, 3), repeats=1)
    assert len(base.config_id) == len(base.tool_source) == 64
    assert identity(replace(images, claim="abc"), uniform(images, 3), repeats=2).config_id == base.config_id
    assert identity(images, uniform(images, 4), repeats=1).config_id != base.config_id
    other = replace(images, config=images.config.model_copy(update={"seed": 7}))
    assert identity(other, uniform(images, 3), repeats=1).config_id != base.config_id
    assert identity(other, uniform(images, 3), repeats=1).seeds == [7]


def test_the_run_it_came_from_is_named(images: CardInputs) -> None:
    assert identity(replace(images, claim="abc"), uniform(images, 3), repeats=1).parent_run == "abc"


def test_versions_are_those_that_are_installed() -> None:
    versions = package_versions()
    assert versions["torch"] == metadata.version("torch")
    assert set(versions) == {"python", "mpsearch", "torch", "torchvision", "numpy", "scipy", "optuna"}
