"""The float network and its data (section B)."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import torch
from torch import nn

from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import na
from mpsearch.card.sections import ModelSection
from mpsearch.core.summary import Summary

__all__ = ["BATCHNORMS", "baseline"]

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def baseline(inputs: CardInputs, summary: Summary, edits: str) -> ModelSection:
    """Section B.

    Args:
        inputs: the run.
        summary: its results.
        edits: how the delivered architecture differs from the float one.
    """
    config, problem, splits = inputs.config, inputs.problem, inputs.splits
    if config.model.weights is not None:
        source = Path(config.model.weights).name
    else:
        source = "as handed in" if config.float_recipe is None else "trained by the study's float_recipe"
    norms = [name for name, module in problem.model.named_modules() if isinstance(module, BATCHNORMS)]
    folded = {layer.norm for layer in problem.space.layers if layer.norm}
    scores = {"validation": summary.reference.scores["validation"], "test": summary.test.get("float")}
    sizes = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return ModelSection(
        architecture=config.model.factory.rpartition(":")[2],
        options=dict(config.model.options),
        checkpoint=source,
        checkpoint_sha256=_state_digest(problem.model),
        float_dtype=", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in problem.model.parameters()})),
        metric=summary.metric,
        float_metric={name: na("no test split") if score is None else score.metric for name, score in scores.items()},
        dataset=splits.name,
        split_sizes={name: na("none") if split is None else len(split) for name, split in sizes.items()},
        preprocessing={
            "options": dict(config.data.options),
            "transform": _described(getattr(splits.train, "transform", None)),
            "augmentation in training": _described(getattr(splits.train, "augment", None)),
        },
        batchnorm_folded=f"{len(folded)} of {len(norms)}" if norms else na("no BatchNorm"),
        edits=edits,
        parameters=sum(parameter.numel() for parameter in problem.model.parameters()),
        macs=sum(layer.macs for layer in problem.space.layers),
    )


def _state_digest(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        state.update(f"{name}{values.dtype}{tuple(values.shape)}".encode() + values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def _described(value: object) -> str:
    """A dataclass by its `repr`, anything else by the name of its type, so that no memory address gets into a card."""
    if value is None:
        return "none"
    if isinstance(value, partial) or not hasattr(value, "__dataclass_fields__"):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return repr(value)
