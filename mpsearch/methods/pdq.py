"""`pdq`: the float network is trained, and constraints with learned multipliers keep the quantized network near it.

Hounie, Elenter, Ribeiro: Neural Networks with Quantization Constraints, ICASSP 2023, arXiv 2210.15623. One set of weights θ, used by both:

    min_θ  loss(f_θ)    subject to    D(f_θ ‖ q_θ) ≤ eps_output    and    d_l ≤ eps_layer for every layer l
    d_l = ‖F_l(z) − Q_l(z)‖² / ‖Q_l(z)‖²        z: the quantized input of layer l; F_l, Q_l: the layer at float and at quantized weights

The optimizer descends the Lagrangian `loss + λ_out (D − eps_output) + Σ λ_l (d_l − eps_layer)`; at each epoch's end the multipliers ascend,
`λ ← clamp(λ + dual_rate · mean excess, 0, dual_cap)`, from λ_out = 1 and λ_l = 0. A large final multiplier means a costly constraint:
loosening it by ε would lower the loss by about λε (under strong duality; the paper's conditions for it are UNVERIFIED here, as is
the name PDQ). Multipliers are therefore sensitivities, see `multipliers`; after a short training they are little more than the sum of the
excesses.

With `ste=False` the float weights learn from the float branch only, as published: from `loss(f)`, from f as the target of D, and from F_l.
With `ste=True` D also reaches them straight through the rounding. Steps, biases and norms learn from both branches in either case, and so
does a weight that is not quantized. `ste=True` is the default because it trains in the few epochs of a trial: on digits at w2a4, eight
epochs end at 6 to 7 % error with it and at 19 to 24 % without. The published multiplier step, 0.01 over 100 epochs, is 0.1 over our ten.

Differences from the paper and its code, besides LSQ quantizers in place of DoReFa's:

- D is the task's divergence, in nats, where theirs is the cross-entropy of the two predictions. Theirs = ours + the entropy H(f), so theirs
  cannot fall below H(f), and with a smaller eps λ grows without bound. The gradient towards the quantized branch is the same. The one
  towards f differs by λ_out ∂H/∂f: ours draws f to the predictions of q and ends where they agree, theirs draws it to the one class that q
  finds most probable and goes on. The closer q is to f, the less of theirs is in ours: on logits that differ by as much as they vary, the
  difference is 0.3 to 0.9 of theirs, and nearly all of it where they agree. `constraint="cross_entropy"` is theirs, with an eps of 0.1 at
  4 bits, 0.7 at 2, 0.9 at 1. The default is ours: in three epochs on CIFAR-10 at 4 bits theirs ended 0.3 points lower (one seed).
- d_l is relative, so that one eps serves layers of any scale, and is computed before the norm: theirs is the mean square, or the mean
  absolute value, of the difference, with an eps per layer.
- Multipliers have a cap, `dual_cap`.
- BatchNorm is shared by the branches, each normalising by its own batch; the running statistics are those of the quantized branch.
- The excess is averaged over the epoch's training batches, where theirs takes an extra pass at the epoch's end.
- The recipe's loss of the quantized outputs is not used, including distillation: the float branch is the teacher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.errors import ConfigError
from mpsearch.core.layer import Layer
from mpsearch.methods import METHODS
from mpsearch.methods.base import Batch
from mpsearch.methods.learned_step import LearnedStepMethod, LearnedStepWeight
from mpsearch.network.bypass import bypassed, on_same_inputs, statistics_kept
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.tasks.outputs import described, float_tensors

__all__ = ["Dual", "Pdq", "cross_entropy", "multipliers", "proximities", "relative_distance"]

_SMALLEST = 1e-8


class Dual(nn.Module):
    """One multiplier and the excess of its constraint since the last update; buffers, so checkpoints include them."""

    value: Tensor
    excess: Tensor
    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("value", "excess", "samples"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def reset(self, value: float | Tensor) -> None:
        """Set the multiplier to `value` and clear the excess."""
        self.value.fill_(value)
        self.excess.zero_()
        self.samples.zero_()

    @torch.no_grad()
    def observe(self, excess: Tensor, samples: int) -> None:
        """Add a batch's mean excess `[]` over the constraint."""
        self.excess += excess * samples
        self.samples += samples

    @torch.no_grad()
    def ascend(self, rate: float, cap: float) -> None:
        """`value ← clamp(value + rate · mean excess, 0, cap)`, then clear the excess; no change without observations."""
        self.reset((self.value + rate * self.excess / self.samples.clamp_min(1)).clamp(0, cap))


class _PdqWeight(LearnedStepWeight):
    def __init__(self, rows: Rows, ste: bool) -> None:
        super().__init__(rows)
        self._ste = ste
        self.proximity = Dual()

    def quantize(self, rows: Tensor) -> Tensor:
        return super().quantize(rows if self._ste else rows.detach())


@METHODS.register("pdq")
@dataclass(frozen=True, kw_only=True)
class Pdq(LearnedStepMethod):
    """Training under proximity constraints (arXiv 2210.15623).

    Args:
        layerwise: whether every layer has a constraint, in addition to the outputs.
        constraint: on the outputs, the task's `divergence` or, for classes only, the published `cross_entropy`.
        eps_output: largest mean of that, nats.
        eps_layer: largest mean `d_l`, a share of the layer's output power.
        dual_rate: step of the multipliers per epoch.
        dual_cap: largest multiplier.
        ste: whether the float weights also learn from the quantized branch, straight through the rounding.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Hounie et al., Neural Networks with Quantization Constraints, ICASSP 2023, arXiv 2210.15623"
    description: ClassVar[str] = "the float network is trained; constraints with learned multipliers keep the quantized one near it"

    layerwise: bool = False
    constraint: Literal["divergence", "cross_entropy"] = "divergence"
    eps_output: float = 0.01
    eps_layer: float = 0.01
    dual_rate: float = 0.1
    dual_cap: float = 10.0
    ste: bool = True

    def __post_init__(self) -> None:
        for name in ("eps_output", "eps_layer", "dual_rate", "dual_cap"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"pdq.{name} must be a number from 0 up, not {getattr(self, name)!r}", path=name)

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Learned step per output channel, and the layer's multiplier."""
        return _PdqWeight(rows, self.ste)

    def begin(self, network: Network) -> None:
        """λ_out = 1, λ_l = 0."""
        for layer in network.space.layers:
            _proximity(network, layer).reset(0.0)
        _output(network).reset(1.0)

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """The Lagrangian of the batch with the present multipliers."""
        outputs, samples = batch.outputs, batch_size(batch.inputs)
        first = next(iter(float_tensors(outputs)))
        # In the precision of the quantized branch, so that the branches differ only in their weights.
        with torch.autocast(first.device.type, torch.bfloat16, enabled=first.dtype == torch.bfloat16, cache_enabled=False):
            with bypassed(network.model), statistics_kept(network.model):
                floats = call(network.model, batch.inputs)
            distances = proximities(network, batch.inputs) if self.layerwise else {}
        distance = cross_entropy(batch, floats) if self.constraint == "cross_entropy" else batch.divergence(floats, outputs).mean()
        constraints = [(_output(network), distance - self.eps_output)]
        for layer in network.space.layers:
            if layer.name in distances:
                constraints.append((_proximity(network, layer), distances[layer.name] - self.eps_layer))
        loss = batch.task_loss(floats, batch.targets)
        for dual, excess in constraints:
            loss = loss + dual.value * excess
            dual.observe(excess.detach(), samples)
        return loss

    def after_epoch(self, network: Network, progress: float) -> None:
        """Update the multipliers."""
        for dual in (_output(network), *(_proximity(network, layer) for layer in network.space.layers)):
            dual.ascend(self.dual_rate, self.dual_cap)


def cross_entropy(batch: Batch, floats: Any) -> Tensor:
    """Mean cross-entropy of the quantized logits `batch.outputs` under the classes of `floats`, `[]`, nats; gradients reach both.

    Args:
        batch: its outputs are logits `[N, K]`.
        floats: logits of the float network, `[N, K]`.

    Raises:
        ConfigError: the network does not predict classes.
    """
    outputs = batch.outputs
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] == 1 or batch.targets.is_floating_point():
        raise ConfigError(
            f"pdq.constraint 'cross_entropy' needs logits [N, K] and class indices, not outputs {described(outputs)} and "
            f"{batch.targets.dtype} targets; take 'divergence'",
            path="pdq.constraint",
        )
    return -(F.softmax(floats.float(), -1) * F.log_softmax(outputs.float(), -1)).sum(-1).mean()


def proximities(network: Network, inputs: Any) -> dict[str, Tensor]:
    """`d_l`, `[]`, of every layer with quantized weights, by name: the mean over its calls; uncalled layers are missing.

    Gradients reach the layer's own float weight only.
    """
    found: dict[str, list[Tensor]] = {}

    def visit(layer: Layer, floats: Tensor, quantized: Tensor) -> None:
        found.setdefault(layer.name, []).append(relative_distance(floats, quantized))

    on_same_inputs(network, inputs, visit)
    return {name: torch.stack(distances).mean() for name, distances in found.items()}


def relative_distance(floats: Tensor, quantized: Tensor) -> Tensor:
    """`‖floats − quantized‖² / ‖quantized‖²`, `[]`, float32, of two outputs of one shape."""
    reference = quantized.float()
    return (floats.float() - reference).square().sum() / reference.square().sum().clamp_min(_SMALLEST)


def multipliers(network: Network) -> dict[str, float]:
    """λ_l by layer name: the cost of each layer's constraint, in nats per unit of `d_l`.

    0 before training, without `layerwise`, for constraints that were never active, and for layers with float weights.

    Raises:
        ValueError: the network has another method.
    """
    if not isinstance(network.method, Pdq):
        raise ValueError(f"multipliers are kept by the method pdq, not by {type(network.method).__name__}")
    return {layer.name: float(_proximity(network, layer).value) for layer in network.space.layers}


def _proximity(network: Network, layer: Layer) -> Dual:
    return cast(_PdqWeight, network.weight_quantizer(layer)).proximity


def _output(network: Network) -> Dual:
    """Multiplier of the output constraint, stored in the first layer's quantizer, since the model may be a container."""
    first = network.weight_quantizer(network.space.layers[0])
    if "output" not in dict(first.named_children()):
        first.add_module("output", Dual().to(first.lo.device))
    return cast(Dual, first.get_submodule("output"))
