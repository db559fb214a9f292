"""`Recipe`: hyperparameters of training, for the float baseline, the trials and the final retraining alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpsearch.core.errors import ConfigError

__all__ = ["FLOAT_RECIPE", "QAT_RECIPE", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of one training.

    Args:
        epochs: passes over the training split; 0 trains nothing.
        batch_size: samples per step.
        optimizer: `sgd` (momentum, Nesterov) or `adamw`.
        lr: peak learning rate.
        scale_lr: learning rate of quantizer parameters as a multiple of `lr`.
        momentum: momentum of SGD.
        weight_decay: weight decay of tensors with two or more axes; biases, norms and quantizer parameters have none.
        warmup: fraction of all steps in which the learning rate rises linearly.
        final_lr: learning rate at the end as a fraction of `lr`, with a cosine schedule in between.
        distill: weight of the distillation term, `(1 − d) · loss + d · T² · divergence(teacher/T, student/T)`; 0 for none.
        temperature: T.
        augment: whether the training split is augmented.
        clip: largest gradient norm; 0 for no clipping.
        reestimate: training images on which BatchNorm is re-estimated after training; 0 keeps the running statistics.
        precision: `auto` (bfloat16 autocast on processors with native bfloat16 arithmetic), `float32` or `bfloat16`.

    Raises:
        ConfigError: a value is out of its range.
    """

    epochs: int = 5
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.02
    scale_lr: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.0
    final_lr: float = 0.0
    distill: float = 0.0
    temperature: float = 1.0
    augment: bool = True
    clip: float = 0.0
    reestimate: int = 2048
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 0, "0 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "lr": (self.lr > 0, "above 0"),
            "scale_lr": (self.scale_lr >= 0, "0 or more"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "from 0 to below 1"),
            "final_lr": (0 <= self.final_lr <= 1, "from 0 to 1"),
            "distill": (0 <= self.distill <= 1, "from 0 to 1"),
            "temperature": (self.temperature > 0, "above 0"),
            "clip": (self.clip >= 0, "0 or more"),
            "reestimate": (self.reestimate >= 0, "0 or more"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ConfigError(f"recipe.{name} must be {rule}, not {getattr(self, name)!r}", path=f"recipe.{name}")


QAT_RECIPE = Recipe(optimizer="adamw", lr=5e-4, scale_lr=0.2, distill=0.7, weight_decay=0.01, batch_size=64)
"""Quantization-aware training where nobody says otherwise."""

FLOAT_RECIPE = Recipe(epochs=12, batch_size=64, lr=0.02, weight_decay=5e-4, warmup=0.1, reestimate=0)
"""Training of the float network where nobody says otherwise."""
