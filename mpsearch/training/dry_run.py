"""`dry_run`: a training of two small batches and one evaluation before anything expensive starts.

What a network cannot do shows only in training: another memory layout, dropout and batch statistics, the backward pass, the optimizer. Here
it shows in the first second of a study rather than after its search.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError, MpsearchError, TrainingDiverged
from mpsearch.core.pass_counts import phase
from mpsearch.network.execution import Execution, place_of_output
from mpsearch.network.inputs import call, lay_out, to_device
from mpsearch.tasks.meters import SampleMeter
from mpsearch.tasks.task import Task
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe

if TYPE_CHECKING:
    from mpsearch.data.split import Split

__all__ = ["PHASE", "by_loss", "dry_run", "find_execution"]

PHASE = "dry run"
_BATCH = 8


@phase(PHASE)
def find_execution(model: nn.Module, split: Split, task: Task, recipe: Recipe, *, device: torch.device, seed: int) -> Execution:
    """How a float network can be trained: in channels-last memory if it can, else in contiguous memory; its first seconds, on copies.

    Args:
        model: float network in evaluation mode; copies are trained.
        split: training data.
        task: loss and metric.
        recipe: of the training to come; with 0 epochs only evaluation mode is tried.
        device: device of the model.
        seed: seed of the dry run; the global random state is kept.

    Raises:
        ModelError: it cannot be trained in either; the message says at which step and why.
    """
    failed: ModelError | None = None
    for memory_format in (torch.channels_last, torch.contiguous_format):
        try:
            with _random_state_kept(device):
                copied = lay_out(copy.deepcopy(model).requires_grad_(True), memory_format)
                inputs, _ = next(iter(split.take(min(_BATCH, len(split)), seed).batches(_BATCH)))
                inputs = to_device(inputs, device, memory_format=memory_format)
                copied.eval()
                output = _output(copied, inputs, "evaluation")
                place: tuple[int | str, ...] = ()
                if recipe.epochs:
                    copied.train()
                    place = _place(_output(copied, inputs, "training"), output)
                execution = Execution(memory_format=memory_format, main_output=place)
                execution.keep_main_output(copied)
                dry_run(
                    copied,
                    [],
                    split,
                    task,
                    recipe,
                    device=device,
                    seed=seed,
                    execution=execution,
                    score=lambda few: evaluate(lay_out(copied, torch.contiguous_format), few, by_loss(task), device=device),  # noqa: B023
                )
        except ModelError as error:
            failed = failed or error  # the first: contiguous memory is only asked to be no worse
        else:
            return execution
    assert failed is not None
    raise failed


def by_loss(task: Task) -> Task:
    """The task with its loss as metric: others, such as the area under a curve, need not exist for a handful of samples."""
    return replace(task, meter=partial(SampleMeter, task.loss, "loss"))


def dry_run(
    model: nn.Module,
    quantizer_parameters: list[nn.Parameter],
    split: Split,
    task: Task,
    recipe: Recipe,
    *,
    device: torch.device,
    seed: int,
    execution: Execution,
    score: Callable[[Split], object],
    teacher: nn.Module | None = None,
    hooks: Hooks | None = None,
) -> None:
    """Train the model in place on two small batches of unequal size, as `train` will, and score it.

    Args:
        model: network to train.
        quantizer_parameters: as of `train`.
        split: training data; at most 15 samples are read.
        task: loss and metric.
        recipe: of the training to come; its batch size, and epochs above 1, are replaced.
        device: device of the model.
        seed: seed of the training.
        execution: memory format.
        score: scores the trained model on a split.
        teacher: float network to distil from.
        hooks: of a method.

    Raises:
        ModelError: a step failed; the message names the step.
    """
    reached = ["the forward pass in training mode, or the loss"]
    hooks = hooks or Hooks()

    def then(stage: str, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def called(argument: Any) -> Any:
            result = hook(argument)
            reached.append(stage)
            return result

        return called

    watched = replace(
        hooks,
        objective=then("the backward pass", hooks.objective),
        before_step=then("the optimizer's step", hooks.before_step),
        after_step=then("a further step", hooks.after_step),
    )
    batch = min(_BATCH, recipe.batch_size)
    few = split.take(min(2 * batch - 1, len(split)), seed)
    recipe = replace(recipe, epochs=min(recipe.epochs, 1), batch_size=batch, reestimate=min(recipe.reestimate, len(few)))
    try:
        train(
            model,
            quantizer_parameters,
            few,
            task,
            recipe,
            device=device,
            seed=seed,
            teacher=teacher,
            hooks=watched,
            execution=execution,
        )
        reached.append("an evaluation")
        score(few)
    except TrainingDiverged:
        return  # a loss that is not finite in two steps from another batch size says little; the training itself will tell
    except MpsearchError:
        raise
    except Exception as error:
        raise ModelError(
            f"a dry run of the training failed at {reached[-1]}: {type(error).__name__}: {error}; "
            "a few lines of plain PyTorch that train the network on one batch will show the same"
        ) from error


@torch.no_grad()
def _output(model: nn.Module, inputs: Any, mode: str) -> Any:
    try:
        return call(model, inputs)
    except Exception as error:
        raise ModelError(f"the model's forward pass failed in {mode} mode: {type(error).__name__}: {error}; mend the model") from error


def _place(returned: Any, output: Any) -> tuple[int | str, ...]:
    """Where the output of evaluation mode stands in what the network returns in training mode.

    Raises:
        ModelError: it does not stand there.
    """
    if not isinstance(output, Tensor) or isinstance(returned, Tensor):
        return ()
    place = place_of_output(returned, output)
    if place is None:
        raise ModelError(
            f"the model returns a {type(returned).__name__} in training mode, without a tensor {list(output.shape)} like its output in "
            "evaluation mode; wrap it in a module that returns the same in both"
        )
    return place


def _random_state_kept(device: torch.device) -> Any:
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
