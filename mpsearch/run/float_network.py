"""`float_network`: trains a study's float network; the cache stores it for later runs with the same data, model, recipe and seed."""

from __future__ import annotations

import errno
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.files import replacing
from mpsearch.core.pass_counts import phase
from mpsearch.core.progress import Progress
from mpsearch.core.version import __version__
from mpsearch.data import cache_directory
from mpsearch.data.base import Splits
from mpsearch.models import build_model
from mpsearch.network.execution import Execution
from mpsearch.network.inputs import lay_out
from mpsearch.network.workarounds import make_dense
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe

__all__ = ["float_file", "float_network"]

_USUAL = Execution()


def float_network(
    factory: str,
    options: Mapping[str, Any],
    splits: Splits,
    recipe: Recipe,
    *,
    structure: str,
    seed: int,
    device: torch.device,
    progress: Progress,
    execution: Execution = _USUAL,
) -> nn.Module:
    """The trained float network; from the cache if possible.

    The cache knows a network by its structure and operations, so an edited factory is trained anew.

    Args:
        factory: registered name or `package.module:factory`.
        options: keyword arguments of the factory.
        splits: data; the training split is used.
        recipe: training recipe.
        structure: its `mpsearch.network.fingerprint`.
        seed: seed of initialisation and training.
        device: device of training and of the result.
        progress: gets a bar and a line.
        execution: how the network runs while it is trained.

    Raises:
        ModelError: its validation loss is not finite.
    """
    torch.manual_seed(seed)
    model = build_model(factory, options).to(device)
    identity = _identity(splits, recipe, structure, seed)
    file = float_file(factory, splits, recipe, structure=structure, seed=seed)
    weights = _cached(file, device, progress)
    if weights is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = Checkpoint(file.with_suffix(".checkpoint"), made_from=identity, say=progress.say)
        _train(model, splits, recipe, seed, file, checkpoint, device, progress, execution)
        # Read the file again, as later runs do, so that the memory layout is the same.
        model, weights = build_model(factory, options).to(device), load_file(file, device=str(device))
    model.load_state_dict(weights)
    progress.say(f"float network: {file}")
    return model


def float_file(factory: str, splits: Splits, recipe: Recipe, *, structure: str, seed: int) -> Path:
    """The file in the cache of the trained float network; arguments as of `float_network`."""
    name = factory.replace(":", ".").replace("/", ".")
    return cache_directory() / "float" / f"{name}-{_identity(splits, recipe, structure, seed)[:16]}.safetensors"


def _identity(splits: Splits, recipe: Recipe, structure: str, seed: int) -> str:
    return hashlib.sha256(repr((splits.fingerprint, structure, recipe, seed, __version__)).encode()).hexdigest()


def _cached(file: Path, device: torch.device, progress: Progress) -> dict[str, Tensor] | None:
    try:
        return load_file(file, device=str(device))
    except FileNotFoundError:
        return None
    except SafetensorError:
        progress.say(f"{file} was damaged; the float network is trained again")
        return None


@phase("float network")
def _train(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    file: Path,
    checkpoint: Checkpoint,
    device: torch.device,
    progress: Progress,
    execution: Execution,
) -> None:
    """Train the network and write its weights to `file`.

    Raises:
        ModelError: its validation loss is not finite.
    """
    with progress.phase("float network", 1) as bar:
        hooks = Hooks(on_step=bar.update)
        lay_out(model, execution.memory_format)
        make_dense(model)
        execution.keep_main_output(model)
        train(
            model,
            [],
            splits.train,
            splits.task,
            recipe,
            device=device,
            seed=seed,
            hooks=hooks,
            checkpoint=checkpoint,
            execution=execution,
        )
        score = evaluate(model, splits.validation, splits.task, device=device)
        bar.update(1, 1, f"validation {splits.task.metric_name} {score.metric:.4f}")
    if not math.isfinite(score.loss):
        raise ModelError(f"training the float network gave a validation loss of {score.loss}; lower float_recipe.lr")
    with replacing(file) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
        except SafetensorError as error:
            raise OSError(errno.EIO, f"cannot be written ({error})", str(file)) from error
    checkpoint.delete()
