"""`Setup`: the network, the data and the search problem of a study; built anew in every process that works on a run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from mpsearch.allocate.solve import check_budgets
from mpsearch.config.hyperparameters import Range
from mpsearch.core.errors import ConfigError
from mpsearch.core.pass_counts import phase
from mpsearch.core.progress import Progress
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import COSTS, compute_costs
from mpsearch.data import load_data
from mpsearch.data.base import Splits
from mpsearch.data.split import Split
from mpsearch.methods import METHODS
from mpsearch.models import build_model
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.inputs import to_device
from mpsearch.network.trace import trace
from mpsearch.numbers.formats import FormatOf
from mpsearch.run.float_network import float_network
from mpsearch.targets.packed.artifact import Blueprint, file_overhead
from mpsearch.training.preflight import preflight
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["Setup", "assemble", "build_setup", "fit_ranges", "pick_device"]

_TRACE_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a study works on.

    Args:
        splits: data.
        blueprint: how the artifact names the network.
        problem: what is searched: float network, ranges, space, costs, budgets.
        other_model: the same architecture with other float weights, for comparison; None if the study names none.
    """

    splits: Splits
    blueprint: Blueprint
    problem: Problem
    other_model: nn.Module | None = None


def pick_device(asked: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        ConfigError: CUDA was asked for and there is none.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device: '{asked}' was asked for but torch sees no CUDA; say --device cpu, or run 'mpsearch doctor'", path="device"
        )
    return torch.device(asked)


def build_setup(config: StudyConfig, progress: Progress, *, check_limits: bool = True) -> Setup:
    """Load the data and the model that a study names, and assemble them.

    Raises:
        BudgetError: a budget out of reach, unless `check_limits` is off.
    """
    splits = load_data(config.data.reference, seed=config.seed, progress=progress, **config.data.options)
    model = build_model(config.model.factory, weights=config.model.weights_path, **config.model.options)
    other = config.model.other_weights_path
    other_model = None if other is None else build_model(config.model.factory, weights=other, **config.model.options)
    return assemble(config, splits, model, progress, check_limits=check_limits, other_model=other_model)


def assemble(
    config: StudyConfig,
    splits: Splits,
    model: nn.Module,
    progress: Progress,
    *,
    check_limits: bool = True,
    other_model: nn.Module | None = None,
) -> Setup:
    """Train the float network if the study says so, trace it, resolve the space, compute costs, fit ranges.

    Args:
        config: the study.
        splits: its data.
        model: float network; copied to the device, never changed.
        progress: gets bars and lines.
        check_limits: whether budgets out of reach are refused.
        other_model: the same architecture with other float weights.

    Raises:
        BudgetError: a budget out of reach, unless `check_limits` is off.
    """
    device = pick_device(config.device)
    torch.manual_seed(config.seed)
    model = canonical(model).to(device)  # the user's own stays where and as it is
    recipe = config.float_recipe if config.model.weights_path is None else None
    surveyed = _survey(config, splits, model, check_limits, trained=recipe is None)
    if recipe is not None:
        factory, options = config.model.factory, config.model.options
        trained = float_network(factory, options, splits, recipe.build(), seed=config.seed, device=device, progress=progress)
        model = canonical(trained)
        surveyed = _survey(config, splits, model, check_limits)  # which inputs are negative depends on the weights
    blueprint, space, costs = surveyed
    with phase("calibration"):
        calibration = fit_ranges(config, model, space, splits.train)
    problem = Problem(
        model=model,
        train=splits.train,
        validation=splits.validation,
        task=splits.task,
        space=space,
        costs=costs,
        budgets=config.limits,
        calibration=calibration,
        device=device,
        seed=config.seed,
    )
    other_model = None if other_model is None else canonical(other_model).to(device).eval().requires_grad_(False)
    return Setup(splits=splits, blueprint=blueprint, problem=problem, other_model=other_model)


def fit_ranges(config: StudyConfig, model: nn.Module, space: ResolvedSpace, train: Split) -> Calibration:
    """The quantization ranges of a network, fitted on the study's calibration images."""
    device = pick_device(config.device)
    images = train.take(min(config.signals.images, len(train)), config.seed)
    batches = (to_device(inputs, device) for inputs, _ in images.batches(config.signals.batch_size))
    first = next(iter(config.methods))
    kind = CompensatedCalibration if METHODS[first].compensates else Calibration
    return kind.fit(model, space, batches, config.hyperparameters(first).build(METHODS[first]).grid)


def _survey(
    config: StudyConfig, splits: Splits, model: nn.Module, check_limits: bool, *, trained: bool = True
) -> tuple[Blueprint, ResolvedSpace, dict[str, Table]]:
    """(Layers, menus, costs) after one forward pass, and a check that data, space and budgets fit the network."""
    batch, _ = next(iter(splits.train.take(min(_TRACE_BATCH, len(splits.train)), config.seed).batches(_TRACE_BATCH)))
    batch = to_device(batch, next(model.parameters(), torch.empty(0)).device)
    layers = trace(model, batch)
    blueprint = Blueprint(model=config.model.factory, options=dict(config.model.options), layers=layers)
    space = config.space.build().resolve(layers, file_overhead=file_overhead(blueprint, model))
    preflight(model, splits, pick_device(config.device), trained=trained)
    costs = _costs(config, space)
    if check_limits:
        check_budgets(space, costs, config.limits)
    return blueprint, space, costs


def _costs(config: StudyConfig, space: ResolvedSpace) -> dict[str, Table]:
    wanted = {"size", "bits", "bops", *(budget.cost for budget in config.limits)}
    if config.hardware is not None:
        wanted.add("latency")
    return compute_costs([name for name in COSTS.names() if name in wanted], space, hardware=config.hardware, formats=_formats(config))


def _formats(config: StudyConfig) -> list[FormatOf]:
    """The number formats that the study's methods may store: each method with every combination of its listed settings."""
    formats: list[FormatOf] = []
    for name in config.methods:
        settings = config.hyperparameters(name)
        listed = {key: choices for key, choices in settings.ranges.items() if not isinstance(choices, Range)}
        for picks in itertools.product(*listed.values()):
            formats.append(settings.build(METHODS[name], dict(zip(listed, picks, strict=True))).format)
    return formats
