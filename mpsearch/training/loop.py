"""The training loop of float baselines, trials, the supernet and the final retraining. Methods act only through its hooks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mpsearch.core.errors import TrainingDiverged
from mpsearch.core.pass_counts import LabelReader, count
from mpsearch.methods.base import Batch, Method
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.execution import Execution
from mpsearch.network.inputs import batch_size, call, to_device
from mpsearch.network.network import Network
from mpsearch.tasks.task import Task
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.distill import distilled
from mpsearch.training.precision import autocast, is_coarse
from mpsearch.training.recipe import Recipe

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["Hooks", "reestimate_batchnorm", "train"]

Forward = Callable[[Any], Any]
_USUAL = Execution()


@dataclass(kw_only=True)
class Hooks:
    """Callbacks of the training loop; the defaults do nothing.

    Args:
        objective: batch after the forward pass → the loss to minimise. Gradients that it has already accumulated are kept.
        before_step: called with progress in [0, 1] after backward, to change gradients.
        after_step: called with progress after each optimizer step, to project parameters.
        after_epoch: called with progress at the end of each epoch, before BatchNorm is re-estimated.
        on_step: called with (steps done, steps in total), for progress bars.
        on_epoch: epoch → numbers to add to the curve, such as a validation score; called in evaluation mode.
        on_point: called with each entry of the curve once it is safe; those of epochs before an interruption come first.
        curve: entries of epochs done before, which the curve continues.
    """

    objective: Callable[[Batch], Tensor] = lambda batch: batch.loss
    before_step: Callable[[float], None] = lambda progress: None
    after_step: Callable[[float], None] = lambda progress: None
    after_epoch: Callable[[float], None] = lambda progress: None
    on_step: Callable[[int, int], None] = lambda done, total: None
    on_epoch: Callable[[int], dict[str, float]] = lambda epoch: {}
    on_point: Callable[[dict[str, float]], None] = lambda point: None
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def of(cls, method: Method, network: Network) -> Hooks:
        """The hooks of a method."""
        return cls(
            objective=partial(method.objective, network),
            before_step=partial(method.before_step, network),
            after_step=partial(method.after_step, network),
            after_epoch=partial(method.after_epoch, network),
        )


def train(
    model: nn.Module,
    quantizer_parameters: list[nn.Parameter],
    split: Split,
    task: Task,
    recipe: Recipe,
    *,
    device: torch.device,
    seed: int,
    teacher: nn.Module | None = None,
    hooks: Hooks | None = None,
    checkpoint: Checkpoint | None = None,
    until: int | None = None,
    compiled: Forward | None = None,
    execution: Execution = _USUAL,
) -> list[dict[str, float]]:
    """Train the model in place; returns the curve, one entry per epoch (`epoch`, `loss`, and the numbers of `on_epoch`).

    Args:
        model: network to train; its BatchNorm statistics are re-estimated at the end.
        quantizer_parameters: parameters with learning rate `lr · scale_lr` and no weight decay.
        split: training data.
        task: loss and divergence.
        recipe: hyperparameters.
        device: device of the model.
        seed: seed of data order, augmentation and dropout.
        teacher: float network to distil from, in evaluation mode; used if `recipe.distill > 0`.
        hooks: see `Hooks`.
        checkpoint: file to resume from, saved at the end of each epoch and at intervals within.
        until: epochs after which to stop, with the schedule still that of all epochs; the checkpoint goes on from there. None: all.
        compiled: the model's forward under `torch.compile`, if any.
        execution: memory format of the images.

    Raises:
        TrainingDiverged: the loss is NaN or infinite.
    """
    hooks = hooks or Hooks()
    if recipe.epochs == 0:
        return hooks.curve
    forward = compiled or (lambda inputs: call(model, inputs))
    task = replace(task, loss=LabelReader(task.loss))
    optimizer = _optimizer(model, quantizer_parameters, recipe)
    steps_per_epoch = split.steps(recipe.batch_size)
    total = recipe.epochs * steps_per_epoch
    last = recipe.epochs if until is None else until
    torch.manual_seed(seed)
    step = 0
    summed = 0.0
    if checkpoint is not None:
        step, summed = checkpoint.restore(model, optimizer, hooks.curve, most=last * steps_per_epoch)
        for point in hooks.curve:
            hooks.on_point(point)
    started = time.monotonic()
    for epoch in range(step // steps_per_epoch, last):
        model.train()
        batches = split.batches(recipe.batch_size, shuffle=True, seed=seed * 100_003 + epoch, augment=recipe.augment)
        for inputs, targets, alone in _skip(batches, step - epoch * steps_per_epoch):
            if alone:
                step += 1
                continue
            progress = step / total
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * _schedule(progress, recipe)
            inputs, targets = to_device(inputs, device, memory_format=execution.memory_format), to_device(targets, device)
            optimizer.zero_grad(set_to_none=True)
            with autocast(recipe.precision, device):
                outputs = forward(inputs)
                loss = _loss(task, outputs, targets, teacher, inputs, recipe)
            loss = hooks.objective(
                Batch(
                    inputs=inputs,
                    targets=targets,
                    outputs=outputs,
                    loss=loss,
                    task_loss=task.loss,
                    divergence=task.divergence,
                    progress=progress,
                )
            )
            loss.backward()  # type: ignore[no-untyped-call]
            count(backward=batch_size(inputs))
            with torch.no_grad():
                hooks.before_step(progress)
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            with torch.no_grad():
                hooks.after_step(progress)
            step += 1
            value = float(loss.detach())
            if not math.isfinite(value):
                finer = "train in float32 (recipe.precision=float32), or " if is_coarse(recipe.precision, device) else ""
                raise TrainingDiverged(f"the training loss became {value} at step {step} of {total}; {finer}lower the learning rate")
            summed += value
            hooks.on_step(step, total)
            if checkpoint is not None and time.monotonic() - started > checkpoint.every:
                checkpoint.save(model, optimizer, hooks.curve, step, summed)
                started = time.monotonic()
        with torch.no_grad():
            hooks.after_epoch(step / total)
        if epoch == recipe.epochs - 1:
            reestimate_batchnorm(model, split, recipe, device=device, seed=seed, batch=execution.batch)
        model.eval()
        hooks.curve.append({"epoch": epoch + 1, "loss": summed / steps_per_epoch, **hooks.on_epoch(epoch + 1)})
        summed = 0.0
        if checkpoint is not None:
            checkpoint.save(model, optimizer, hooks.curve, step, summed)
            started = time.monotonic()
        hooks.on_point(hooks.curve[-1])
    model.eval()
    return hooks.curve


def reestimate_batchnorm(
    model: nn.Module, split: Split, recipe: Recipe, *, device: torch.device, seed: int, batch: int = _USUAL.batch
) -> None:
    """Re-estimate BatchNorm statistics on `recipe.reestimate` training images in float32, augmented as in training.

    Training adapts the weights to the statistics of augmented images: on a ResNet-20 trained with padded crops, statistics of images
    without augmentation cost one point of accuracy.

    Args:
        model: network whose running statistics are replaced.
        split: training data.
        recipe: number of images and augmentation; 0 images leave the statistics as they are.
        device: device of the model.
        seed: seed of the choice of images and of their augmentation.
        batch: images at once.
    """
    if recipe.reestimate:
        images = split.take(min(recipe.reestimate, len(split)), seed)
        batches = images.batches(batch, seed=seed, augment=recipe.augment)
        reestimate(model, (to_device(inputs, device) for inputs, _ in batches))


def _optimizer(model: nn.Module, quantizer_parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    special = {id(parameter) for parameter in quantizer_parameters}
    own = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in special]
    groups = [
        {"params": [p for p in own if p.dim() > 1], "weight_decay": recipe.weight_decay, "peak": recipe.lr},
        {"params": [p for p in own if p.dim() <= 1], "weight_decay": 0.0, "peak": recipe.lr},
        {"params": quantizer_parameters, "weight_decay": 0.0, "peak": recipe.lr * recipe.scale_lr},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _schedule(progress: float, recipe: Recipe) -> float:
    if progress < recipe.warmup:
        return progress / recipe.warmup
    cosine = (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup))) / 2
    return recipe.final_lr + (1 - recipe.final_lr) * cosine


def _loss(task: Task, outputs: Any, targets: Any, teacher: nn.Module | None, inputs: Any, recipe: Recipe) -> Tensor:
    if teacher is None or recipe.distill == 0:
        return task.loss(outputs, targets)
    with torch.no_grad():
        reference = call(teacher, inputs)
    return distilled(task.loss, task.divergence, outputs, targets, reference, recipe)


def _skip(batches: Iterable[Any], count: int) -> Iterator[tuple[Any, Tensor, bool]]:
    """Batches from number `count` on, each with whether it is a last batch of one sample, which BatchNorm cannot normalise."""
    largest = 1
    for index, (inputs, targets) in enumerate(batches):
        samples = batch_size(inputs)
        largest = max(largest, samples)
        if index >= count:
            yield inputs, targets, samples == 1 < largest
