"""`Setup`: the network, the data and the search problem of a study; rebuilt in every process that works on a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mpsearch.allocate.solve import check_budgets
from mpsearch.config.hardware import load_hardware
from mpsearch.config.hyperparameters import Range
from mpsearch.core.errors import ConfigError
from mpsearch.core.pass_counts import phase
from mpsearch.core.peak import CostTable
from mpsearch.core.progress import Progress
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.statistics import StatisticsChoice
from mpsearch.core.version import __version__
from mpsearch.costs import CostInputs, compute_costs, reported_costs
from mpsearch.costs.latency_profile import LatencyProfile, measured_only
from mpsearch.data import load_data
from mpsearch.data.base import Splits
from mpsearch.data.fingerprint import content_digest, fingerprint_of
from mpsearch.data.split import Split
from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.methods.trainable import check_trainable
from mpsearch.models import build_model
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.coverage import coverage_notes
from mpsearch.network.execution import batch_within
from mpsearch.network.fingerprint import fingerprint, weights_digest
from mpsearch.network.inputs import concatenated, to_device
from mpsearch.network.lifetimes import lifetimes
from mpsearch.network.trace import survey
from mpsearch.network.unquantized import unquantized
from mpsearch.network.workarounds import workarounds
from mpsearch.run.error_bound import search_budgets
from mpsearch.run.float_network import float_network
from mpsearch.run.guessing import guessing
from mpsearch.run.machine import cpu_fingerprint, differences
from mpsearch.run.vocabulary import check_vocabulary
from mpsearch.study.settings import search_settings, trains
from mpsearch.targets import Blueprint, Target, Writer, restricted, target_with
from mpsearch.training.dry_run import find_execution
from mpsearch.training.preflight import preflight
from mpsearch.trials.evaluator import with_epochs
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["Setup", "assemble", "build_setup", "fit_ranges", "method_variants", "pick_device"]

TRACE_BATCH = 8
"""Samples of one pass that traces the network; signs of inputs are those that calibration sees."""
_TRACED = 128
"""Samples at most, of a network that does not do the same with every sample."""
_LIFETIME_BATCH = 2
_FINGERPRINT_BATCH = 2


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Data, target and search problem of a study.

    Args:
        splits: data.
        target: file format of the artifact.
        writer: writes the network's files.
        problem: search problem: float network, ranges, space, costs, budgets.
        other_model: the same architecture with other float weights, for comparison; None if the study names none.
        batchnorm: how the statistics of untrained allocations follow, chosen by `run.statistics`; None where nothing was chosen.
        identity: digests of what all results depend on besides the study itself: network, weights, data, version of mpsearch.
        notes: what the file lacks and what is not counted, one sentence each.
    """

    splits: Splits
    target: Target
    writer: Writer
    problem: Problem
    other_model: nn.Module | None = None
    batchnorm: StatisticsChoice | None = None
    identity: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def pick_device(asked: str) -> torch.device:
    """The device of a name; `auto` is CUDA if available.

    Raises:
        ConfigError: CUDA is requested but not available.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device: '{asked}' was asked for but torch sees no CUDA; say --device cpu, or run 'mpsearch doctor'", path="device"
        )
    return torch.device(asked)


def build_setup(config: StudyConfig, progress: Progress, *, check_limits: bool = True, train_float: bool = True) -> Setup:
    """Load the data and the model that a study names, and assemble them; see `assemble`.

    Raises:
        BudgetError: a budget is unreachable, unless `check_limits` is off.
    """
    splits = load_data(config.data.reference, seed=config.seed, progress=progress, **config.data.options)
    torch.manual_seed(config.seed)  # a factory that draws its weights draws the same when the command is repeated
    model = build_model(config.model.factory, config.model.options, weights=config.model.weights_path)
    check_vocabulary(model, splits)
    other = config.model.other_weights_path
    other_model = None if other is None else build_model(config.model.factory, config.model.options, weights=other)
    return assemble(config, splits, model, progress, check_limits=check_limits, other_model=other_model, train_float=train_float)


def assemble(
    config: StudyConfig,
    splits: Splits,
    model: nn.Module,
    progress: Progress,
    *,
    check_limits: bool = True,
    other_model: nn.Module | None = None,
    train_float: bool = True,
) -> Setup:
    """Train the float network if the study says so, trace it, resolve the space, compute costs, fit ranges.

    Args:
        config: the study.
        splits: its data.
        model: float network; copied to the device, never changed.
        progress: gets bars and lines.
        check_limits: whether unreachable budgets raise an error.
        other_model: the same architecture with other float weights.
        train_float: False: the network stays as it is, for a plan.

    Raises:
        BudgetError: a budget is unreachable, unless `check_limits` is off.
    """
    device = pick_device(config.device)
    torch.manual_seed(config.seed)
    replaced = workarounds(model)
    model = canonical(model).to(device)  # the user's model is not changed
    untrained = config.float_recipe is not None and config.model.weights_path is None
    recipe = config.float_recipe if untrained and train_float else None
    surveyed = _survey(config, splits, model, progress, check_limits, trained=recipe is None)
    planned = with_epochs(search_settings(config).default.recipe, int(trains(config))) if recipe is None else recipe.build()
    execution = find_execution(model, splits.train, splits.task, planned, device=device, seed=config.seed)
    for sentence in (*replaced, *execution.said):
        progress.say(f"network: {sentence}")
    images, _ = next(iter(splits.train.take(_FINGERPRINT_BATCH, config.seed).batches(_FINGERPRINT_BATCH)))
    structure = fingerprint(model, to_device(images, device))
    if recipe is not None:
        factory, options = config.model.factory, config.model.options
        trained = float_network(
            factory,
            options,
            splits,
            recipe.build(),
            structure=structure,
            seed=config.seed,
            device=device,
            progress=progress,
            execution=execution,
        )
        model = canonical(trained)
        surveyed = _survey(config, splits, model, progress, check_limits)  # the signs of inputs depend on the weights
    execution = replace(execution, batch=batch_within(surveyed[1].layers))
    execution.keep_main_output(model)
    writer, space, costs, cost_inputs, notes = surveyed
    with phase("calibration"):
        calibration = fit_ranges(config, model, space, splits.train)
    problem = Problem(
        model=model,
        train=splits.train,
        validation=splits.validation,
        task=splits.task,
        space=space,
        costs=costs,
        budgets=search_budgets(config.limits, config.keep, space, costs),
        calibration=calibration,
        device=device,
        seed=config.seed,
        cost_inputs=cost_inputs,
        execution=execution,
    )
    doubts = guessing(problem) if train_float or not untrained else ()
    for sentence in doubts:
        progress.say(sentence)
    other_model = None if other_model is None else canonical(other_model).to(device).requires_grad_(False)
    held_out = [None if split is None else fingerprint_of(split) for split in (splits.validation, splits.test)]
    return Setup(
        splits=splits,
        target=target_with(config.target, config.target_settings),
        writer=writer,
        problem=problem,
        other_model=other_model,
        identity={
            "network": structure,
            "weights": weights_digest(model),
            "data": content_digest([splits.fingerprint, *held_out]),
            "version of mpsearch": __version__,
        },
        notes=(*notes, *doubts),
    )


def fit_ranges(config: StudyConfig, model: nn.Module, space: ResolvedSpace, train: Split) -> Calibration:
    """The quantization ranges of a network, fitted on the study's calibration images."""
    device = pick_device(config.device)
    images = train.take(min(config.signals.images, len(train)), config.seed)
    batches = (to_device(inputs, device) for inputs, _ in images.batches(config.signals.batch_size))
    first = next(iter(config.methods))
    kind = CompensatedCalibration if METHODS[first].compensates else Calibration
    return kind.fit(model, space, batches, config.hyperparameters(first).build(METHODS[first]).grid)


def _survey(
    config: StudyConfig, splits: Splits, model: nn.Module, progress: Progress, check_limits: bool, *, trained: bool = True
) -> tuple[Writer, ResolvedSpace, dict[str, CostTable], CostInputs, tuple[str, ...]]:
    """Layers, menus and costs from one forward pass; checks that data, methods, target, space and budgets match the network."""
    taken, device = splits.train.take(min(_TRACED, len(splits.train)), config.seed), next(model.parameters(), torch.empty(0)).device

    def batches() -> Iterator[Any]:
        return (to_device(inputs, device) for inputs, _ in taken.batches(TRACE_BATCH))

    batch = next(batches())
    surveyed = survey(model, batch, lambda: itertools.islice(batches(), 1, None))
    notes = coverage_notes(surveyed)
    target = target_with(config.target, config.target_settings)
    layers = target.layers(surveyed)
    methods = {name: method_variants(config, name) for name in config.methods}
    every = [method for variants in methods.values() for method in variants]
    formats = [method.stores for method in every]
    preflight(model, splits, pick_device(config.device), trained=trained, batch=batch_within(layers))
    space = config.space.build().resolve(layers)
    check_trainable(space, methods)
    space, reasons = restricted(space, target, every)
    sentences = [f"target {target.name}: {reason}" for reason in reasons]
    hardware = None if config.hardware is None else load_hardware(config.hardware)
    if isinstance(hardware, LatencyProfile):
        hardware.check_network(cpu_fingerprint(model, batch))
        space, unmeasured = measured_only(space, hardware, every)
        sentences += [f"{config.hardware}: {reason}" for reason in (*unmeasured, *differences(hardware, target))]
    writer = target.writer(Blueprint.of(model, batch, space, config.model.factory, dict(config.model.options), formats))
    space = replace(space, file_overhead=writer.overhead_bytes, unquantized=unquantized(model, surveyed))
    cost_inputs = CostInputs(
        space=space,
        formats=formats,
        layer_bytes=writer.layer_bytes,
        hardware=hardware,
        lifetimes=cache(lambda: lifetimes(model, layers, concatenated([batch], _LIFETIME_BATCH))),
    )
    asked = {budget.cost for budget in config.limits} | ({config.keep.cost} if config.keep is not None else set())
    costs = compute_costs(sorted({*reported_costs(cost_inputs), *asked}), cost_inputs)
    if check_limits:
        check_budgets(space, costs, config.limits, binding=config.keep is None)
    if trained:  # the last survey of a study, so that each line is printed once
        for sentence in sentences:
            progress.say(sentence)
        for note in notes:
            progress.say(note)
    return writer, space, costs, cost_inputs, notes


def method_variants(config: StudyConfig, name: str) -> list[Method]:
    """A method with every combination of its settings that are lists of choices."""
    settings = config.hyperparameters(name)
    listed = {key: choices for key, choices in settings.ranges.items() if not isinstance(choices, Range)}
    return [settings.build(METHODS[name], dict(zip(listed, picks, strict=True))) for picks in itertools.product(*listed.values())]
