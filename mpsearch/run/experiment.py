"""`Experiment`: a study with everything found and built: model, data, space, costs; what the pipeline runs."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mpsearch.allocate.solve import check_budgets
from mpsearch.config.hyperparameters import Range
from mpsearch.core.errors import ConfigError, ModelError
from mpsearch.core.files import replacing
from mpsearch.core.pass_counts import phase
from mpsearch.core.progress import Progress
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs import COSTS, compute_costs
from mpsearch.data import cache_directory, load_data
from mpsearch.data.base import Splits
from mpsearch.data.split import Split
from mpsearch.methods import METHODS
from mpsearch.models import build_model
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.inputs import lay_out, to_device
from mpsearch.network.trace import trace
from mpsearch.numbers.formats import FormatOf
from mpsearch.study.settings import search_settings
from mpsearch.targets.packed.artifact import Blueprint, file_overhead
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.compiled import Compiler
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, train
from mpsearch.training.preflight import preflight
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import SupernetRecipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["Experiment", "build_evaluator", "build_experiment", "pick_device", "search_settings"]

_TRACE_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A study made concrete.

    Args:
        config: as resolved.
        splits: data.
        blueprint: what the artifact names.
        problem: what is searched.
        other_model: the same architecture with other float weights, for comparison, if there are any.
    """

    config: StudyConfig
    splits: Splits
    blueprint: Blueprint
    problem: Problem
    other_model: nn.Module | None = None


def pick_device(asked: str) -> torch.device:
    """`auto` is CUDA where there is one.

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


def build_experiment(config: StudyConfig, progress: Progress, *, check_limits: bool = True) -> Experiment:
    """Load the data, build the model, train or read its float weights, trace it, resolve the space, compute costs, calibrate ranges.

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
) -> Experiment:
    """The same for data and models that are at hand; they are copied to the device and left as they are."""
    device = pick_device(config.device)
    torch.manual_seed(config.seed)
    model = canonical(model).to(device)  # the user's own stays where and as it is
    untrained = config.model.weights_path is None and config.float_recipe is not None
    survey = _survey(config, splits, model, check_limits, trained=not untrained)
    if untrained:
        model = canonical(_float_baseline(config, splits, device, progress))
        survey = _survey(config, splits, model, check_limits)  # which inputs are negative depends on the weights
    blueprint, space, costs = survey
    with phase("calibration"):
        calibration = _ranges(config, model, space, splits.train, device)
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
    return Experiment(config=config, splits=splits, blueprint=blueprint, problem=problem, other_model=other_model)


def _survey(
    config: StudyConfig, splits: Splits, model: nn.Module, check_limits: bool, *, trained: bool = True
) -> tuple[Blueprint, ResolvedSpace, dict[str, Table]]:
    """What one forward pass tells: the layers, their menus, what they cost; and whether data, space and budgets fit them."""
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


def build_evaluator(experiment: Experiment, compiler: Compiler, directory: Path, progress: Progress) -> Evaluator:
    """What scores the trials, as `search.evaluate` says; shared weights are kept in the run directory."""
    search, default = experiment.config.search, search_settings(experiment.config).default
    if search.evaluate != "supernet":
        return Evaluator(experiment.problem, compiler)
    settings = SupernetRecipe(
        recipe=with_epochs(default.recipe, search.supernet.epochs), draws=search.supernet.draws, images=search.supernet.images
    )
    checkpoint = directory / "supernet.checkpoint"
    return SupernetEvaluator(experiment.problem, compiler, settings, default.method, checkpoint=checkpoint, progress=progress)


def _costs(config: StudyConfig, space: ResolvedSpace) -> dict[str, Table]:
    wanted = {"size", "bits", "bops", *(budget.cost for budget in config.limits)}
    if config.hardware is not None:
        wanted.add("latency")
    return compute_costs([name for name in COSTS.names() if name in wanted], space, hardware=config.hardware, formats=_formats(config))


def _formats(config: StudyConfig) -> list[FormatOf]:
    """What the study's methods may write: each method with every combination of its listed settings."""
    formats: list[FormatOf] = []
    for name in config.methods:
        settings = config.hyperparameters(name)
        listed = {key: choices for key, choices in settings.ranges.items() if not isinstance(choices, Range)}
        for picks in itertools.product(*listed.values()):
            formats.append(settings.build(METHODS[name], dict(zip(listed, picks, strict=True))).format)
    return formats


def ranges_of(experiment: Experiment, model: nn.Module) -> Calibration:
    """Ranges of another network of the same layers, fitted as those of the experiment's own."""
    problem = experiment.problem
    return _ranges(experiment.config, model, problem.space, problem.train, problem.device)


def _ranges(config: StudyConfig, model: nn.Module, space: ResolvedSpace, train: Split, device: torch.device) -> Calibration:
    images = train.take(min(config.signals.images, len(train)), config.seed)
    batches = (to_device(inputs, device) for inputs, _ in images.batches(config.signals.batch_size))
    first = next(iter(config.methods))
    kind = CompensatedCalibration if METHODS[first].compensates else Calibration
    return kind.fit(model, space, batches, config.hyperparameters(first).build(METHODS[first]).grid)


def _float_baseline(config: StudyConfig, splits: Splits, device: torch.device, progress: Progress) -> nn.Module:
    """Train the float network once; the cache keeps it for every later run of the same data, model, recipe and seed."""
    assert config.float_recipe is not None
    recipe: Recipe = config.float_recipe.build()
    torch.manual_seed(config.seed)
    model = build_model(config.model.factory, **config.model.options).to(device)
    identity = repr((splits.fingerprint, config.model.factory, sorted(config.model.options.items()), recipe, config.seed))
    folder = cache_directory() / "float"
    folder.mkdir(parents=True, exist_ok=True)
    file: Path = (
        folder
        / f"{config.model.factory.replace(':', '.').replace('/', '.')}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"
    )
    if not file.exists():
        _train_float(config, model, splits, recipe, file, device, progress)
        # From the file again: what a later run will read, memory layout included.
        model = build_model(config.model.factory, **config.model.options).to(device)
    model.load_state_dict(load_file(file, device=str(device)))
    progress.say(f"float network: {file}")
    return model


@phase("float network")
def _train_float(
    config: StudyConfig, model: nn.Module, splits: Splits, recipe: Recipe, file: Path, device: torch.device, progress: Progress
) -> None:
    """Train the float network into `file`.

    Raises:
        ModelError: its validation loss is not finite.
    """
    checkpoint = Checkpoint(file.with_suffix(".checkpoint"))
    with progress.phase("float network", 1) as bar:
        hooks = Hooks(on_step=lambda done, total: bar.update(done, total))
        lay_out(model, torch.channels_last)
        train(model, [], splits.train, splits.task, recipe, device=device, seed=config.seed, hooks=hooks, checkpoint=checkpoint)
        score = evaluate(model, splits.validation, splits.task, device=device)
        bar.update(1, 1, f"validation {splits.task.metric_name} {score.metric:.4f}")
    if not math.isfinite(score.loss):
        raise ModelError(f"training the float network gave a validation loss of {score.loss}; lower float_recipe.lr")
    with replacing(file) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    checkpoint.delete()
