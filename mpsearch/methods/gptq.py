"""`gptq`: rounding in which every weight compensates for earlier rounding errors, layer by layer, without training or backpropagation.

Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023, arXiv 2210.17323; Frantar, Singh, Alistarh: Optimal Brain Compression, NeurIPS 2022,
arXiv 2208.11580. A layer's codes minimise the squared change of its outputs over training images, `(v − w)ᵀ H (v − w)` with the second
moments H of its inputs, instead of the distance of each weight to its code (see `mpsearch.numbers.compensated`).

The method makes one pass of all images through the float network and one through the network that is being quantized. When the second pass
reaches a layer, all earlier layers are quantized, so its inputs are those of the quantized network. There the target is moved to where the
quantized inputs approximate the float outputs best (asymmetric calibration, Li et al.: GPTAQ, 2025, arXiv 2504.02692),

    w' = w + (E[y xᵀ] − w H) (H + ridge)⁻¹,     y: float output, x: quantized input,

`clips` sizes of the step are tried and refitted in closed form, and the pass continues through the quantized layer. The statistics of the
following BatchNorm are corrected by the shift that quantization causes on the same images,

    mean ← mean_q − (mean_f − mean) · σ_q/σ_f,     variance ← variance · (σ_q/σ_f)²,

a paired difference: a few hundred images suffice where re-estimation takes thousands, and statistics of augmented images are kept.
A layer that is called several times is rounded for all of its calls: at the first with its quantized inputs, at later ones, which come when
its weights have been rounded, with those of the float network. A layer without BatchNorm has its bias shifted likewise. Both need a bias in
the artifact; for layers with one, moments are central.

Differences: steps per output channel on the library's grids, searched together with the codes; weights are ordered by moment and visited
again in `sweeps` sweeps; convolutions (grouped ones by group) use patches at sampled positions. With steps by group of inputs, or zero
points, a sweep refits the steps and rounds all weights again (`mpsearch.numbers.blocked`); other sizes of steps are not tried, since from
steps of least squared error they gain nothing there. Attention, embeddings, transposed
convolutions and layers whose weight is shared by several modules keep their calibrated steps.
Subsequent training is `lsq`, from the codes found: each latent weight is the point of its code's cell nearest to the float weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.nested import leaves
from mpsearch.core.number_format import NumberFormat
from mpsearch.methods import METHODS
from mpsearch.methods.base import CalibrationLoss
from mpsearch.methods.learned_step import LearnedStepWeight
from mpsearch.methods.lsq import Lsq
from mpsearch.network.inputs import call, concatenated
from mpsearch.network.network import Network
from mpsearch.network.observe import first_input, hooked
from mpsearch.network.patches import Patches, has_patches
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.network.shifts import Shifts
from mpsearch.numbers.blocked import blocked_codes, fit_blocked
from mpsearch.numbers.compensated import Factored, damped, fit_compensated
from mpsearch.numbers.moments import Moments

__all__ = ["Gptq", "place_codes"]

_TOKENS = 2**13
_CELL = 0.25
"""Largest distance of a latent weight from its code, in steps; near ½, the first training steps would flip codes at random."""


@METHODS.register("gptq")
@dataclass(frozen=True, kw_only=True)
class Gptq(Lsq):
    """Error-compensating rounding, then LSQ (arXiv 2210.17323, 2208.11580, 2504.02692).

    Args:
        images: maximum number of training images, as one batch; of windows of tokens not more than hold 8,192 tokens.
        places: patches per image in a convolution, and of other layers; of windows of tokens, all places are read.
        clips: number of step sizes tried.
        clip_low: smallest step tried, relative to the calibrated step.
        clip_high: largest step tried, likewise.
        sweeps: further sweeps over the weights.
        damping: damping of H, relative to its mean diagonal.
        ridge: ridge term of the target's correction, likewise.
        asymmetric: whether targets compensate for the errors of quantized inputs.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Frantar et al., GPTQ, ICLR 2023, arXiv 2210.17323, and Optimal Brain Compression, arXiv 2208.11580"
    description: ClassVar[str] = "rounding errors compensated layer by layer, in closed form, without backpropagation; trains as lsq"
    compensates: ClassVar[bool] = True

    images: int = 512
    places: int = 32
    clips: int = 8
    clip_low: float = 0.6
    clip_high: float = 1.4
    sweeps: int = 3
    damping: float = 0.01
    ridge: float = 0.1
    asymmetric: bool = True

    def __post_init__(self) -> None:
        self.require(
            "gptq",
            images=(self.images >= 1, "1 or more"),
            places=(self.places >= 1, "1 or more"),
            clips=(self.clips >= 1, "1 or more"),
            clip_low=(self.clip_low > 0, "above 0"),
            clip_high=(self.clip_high >= self.clip_low, f"clip_low, {self.clip_low}, or more"),
            sweeps=(self.sweeps >= 0, "0 or more"),
            damping=(self.damping > 0, "above 0"),
            ridge=(self.ridge > 0, "above 0"),
        )

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """Scales by output channel or group; one for a whole tensor would tie its rows together."""
        return None if asked.granularity == "tensor" else super().stores(asked)

    def _read(self, batch: Any) -> tuple[int, int]:
        """How many samples are read, and how many places of each."""
        first: Tensor = next(leaves(batch))
        if first.is_floating_point() or first.dim() != 2:
            return self.images, self.places
        return min(self.images, max(_TOKENS // first.shape[1], 1)), first.shape[1]

    def calibrate(self, network: Network, loss: CalibrationLoss) -> None:
        """Set codes, steps, and BatchNorm statistics or biases of every layer, in the order of the forward pass."""
        samples, places = self._read(loss.inputs[0])
        images = concatenated(loss.inputs, samples)
        observed: dict[str, tuple[Patches, Tensor]] = {}
        later: dict[str, list[Moments]] = {}

        def observe(layer: Layer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            patches = Patches(module, output.shape, places)
            if layer.name not in observed:
                observed[layer.name] = patches, patches.outputs(output)
            else:  # its inputs under quantization come too late: when its weights have been rounded
                inputs, outputs = patches.inputs(first_input(args, kwargs)), patches.outputs(output)
                later.setdefault(layer.name, []).append(Moments.of(inputs, outputs, central=layer.bias_elements > 0))

        def round_weights(layer: Layer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if layer.name in observed:
                patches, outputs = observed.pop(layer.name)
                first = Moments.of(patches.inputs(first_input(args, kwargs)), outputs, central=layer.bias_elements > 0)
                _round_layer(network, layer, Moments.pooled([first, *later.pop(layer.name, ())]), self)

        layers = [layer for layer, _ in network.quantized(LearnedStepWeight) if has_patches(network.architecture, layer)]
        shifts = Shifts(network.architecture, network.model, network.space.layers)
        observers = [(network.architecture.get_submodule(layer.module), partial(observe, layer)) for layer in layers]
        with shifts.observing(), hooked(after=observers):
            call(network.architecture, images)
        rounders = [(network.model.get_submodule(layer.module), partial(round_weights, layer)) for layer in layers]
        with shifts.correcting(), hooked(before=rounders):
            call(network.model, images)


def _round_layer(network: Network, layer: Layer, seen: Moments, method: Gptq) -> None:
    """Fit one layer's codes and steps to the moments of its inputs and float outputs."""
    quantizer = network.weight_quantizer(layer)
    rows = quantizer.rows.split(network.latent_weight(layer).detach()).float()
    moments = seen.squares
    if not bool(torch.isfinite(moments).all()):
        return
    target = weights = rows.reshape(len(moments), -1, moments.shape[1])
    if method.asymmetric:
        missing = seen.products - torch.bmm(weights, moments)
        target = weights + torch.linalg.solve(damped(moments, method.ridge), missing, left=False)
    steps, choice = quantizer.steps(rows).detach(), network.choice(layer).weight
    if choice.group is not None or choice.zero_point:
        refits = None if choice.in_superblocks else method.sweeps
        codes, steps = _fit_groups(target, damped(moments, method.damping), steps, quantizer, refits)
    else:
        factors = torch.linspace(method.clip_low, method.clip_high, method.clips).tolist() if method.clips > 1 else (1.0,)
        codes, steps = fit_compensated(
            target,
            moments,
            steps.reshape(target.shape[:2]),
            quantizer.grid,
            factors=factors,
            sweeps=method.sweeps,
            damping=method.damping,
        )
    place_codes(network, layer, codes.reshape(rows.shape), steps.reshape(-1))


def _fit_groups(target: Tensor, moments: Tensor, steps: Tensor, quantizer: WeightQuantizer, refits: int | None) -> tuple[Tensor, Tensor]:
    """As `fit_compensated` where a channel has several steps, or zero points; the channels of one convolution group at a time.

    Without `refits` the steps stay: those of superblocks are bound to each other.
    """
    parts, channels = len(moments), target.shape[0] * target.shape[1]
    by_channel, offset = (each.reshape(channels, -1).chunk(parts) for each in (steps, quantizer.offsets()))
    fitted = []
    for part, (one, begun, shift) in enumerate(zip(target, by_channel, offset, strict=True)):
        factored = Factored.of(moments[part : part + 1])
        if refits is None:
            fitted.append((blocked_codes(one, factored, begun, quantizer.grid, shift), begun))
        else:
            fitted.append(fit_blocked(one, factored, begun, quantizer.grid, offset=shift, refits=refits))
    return torch.cat([codes for codes, _ in fitted]), torch.cat([found for _, found in fitted])


def place_codes(network: Network, layer: Layer, codes: Tensor, steps: Tensor) -> None:
    """Make a layer's weight round to `codes` `[rows, n]` with `steps` `[rows]`, as near to its old values as their cells allow."""
    quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer)
    column = steps.unsqueeze(1)
    values = (codes + quantizer.offsets()) * column
    rest = quantizer.rows.split(weight.detach()).float() - values
    latent = values + torch.maximum(torch.minimum(rest, _CELL * column), -_CELL * column)
    quantizer.begin(latent, steps)
    weight.copy_(quantizer.rows.join(latent.contiguous()))
