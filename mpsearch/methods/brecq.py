"""`brecq`: block reconstruction; rounding and steps of one block at a time are learned on unlabelled images to match the float block.

Li, Gong, Tan, Yang, Hu, Zhang, Yu, Wang, Gu: BRECQ, ICLR 2021, arXiv 2102.05426, with the soft rounding of Nagel et al., arXiv 2004.10568
(`SoftWeight`). In the order of the forward pass, each block minimises

    E ‖block(x_q) − z‖² / variance of z + hardness · openness(β),     z: the float block's output on the float input

where x_q is the block's input in the network quantized up to there, and β falls from 20 to 2 after a fifth of the iterations.
Blocks are the innermost modules with several layers (residual blocks), and single layers elsewhere. A quarter of the images is held out: a
block whose error after hard rounding does not fall on them is restored, and so is the whole network if its divergence does not fall.

Differences: the initial state is that of `gptq`, whose codes already compensate each other within a layer; steps of weights and
activations are learned too; augmented images are added, since learning on a few hundred plain images overfits. BatchNorm is corrected as
in `gptq`. The squared error is not weighted by the Fisher information, since the divergence, which needs no labels, has no gradient at the
float network's own outputs. The paper trains 20,000 iterations per block; the 2,000 here lower the error that `gptq` leaves in the later
blocks of a ResNet-20 at 2.1 bits by a fifth, and its divergence by 15 %; 250 on 384 images gained nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.pass_counts import count
from mpsearch.methods import METHODS
from mpsearch.methods.base import CalibrationLoss
from mpsearch.methods.gptq import Gptq, place_codes
from mpsearch.methods.learned_step import LearnedStepActivation, keep_steps_near
from mpsearch.methods.soft_weight import SoftWeight
from mpsearch.network.blocks import blocks
from mpsearch.network.inputs import batch_size, call, concatenated, samples_of
from mpsearch.network.network import Network
from mpsearch.network.observe import hooked
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.network.shifts import Shifts
from mpsearch.numbers.channels import Rows

__all__ = ["Brecq"]

_SMALLEST = 1e-12
_WARMUP = 0.2
_SOFTEST, _HARDEST = 20.0, 2.0


@METHODS.register("brecq")
@dataclass(frozen=True, kw_only=True)
class Brecq(Gptq):
    """Block reconstruction after `gptq`, then LSQ (arXiv 2102.05426).

    Args:
        iterations: iterations of Adam per block.
        block_batch: images per iteration.
        rounding_lr: learning rate of the rounding variable v.
        step_lr: learning rate of steps, relative to their mean.
        hardness: weight of the openness.
        block_images: maximum number of training images, without labels.
        views: augmented copies of each image, in addition to the plain one.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Li et al., BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, arXiv 2102.05426"
    superblocks: ClassVar[bool] = False
    description: ClassVar[str] = "after gptq, weights and steps learned block by block on unlabelled images; trains as lsq"
    grouped: ClassVar[bool] = False
    zero_points: ClassVar[bool] = False

    iterations: int = 2000
    block_batch: int = 32
    rounding_lr: float = 0.1
    step_lr: float = 3e-4
    hardness: float = 5.0
    block_images: int = 1024
    views: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            "brecq",
            iterations=(self.iterations >= 1, "1 or more"),
            block_batch=(self.block_batch >= 1, "1 or more"),
            rounding_lr=(self.rounding_lr > 0, "above 0"),
            step_lr=(self.step_lr >= 0, "0 or more"),
            hardness=(self.hardness > 0, "above 0"),
            block_images=(self.block_images >= 1, "1 or more"),
            views=(self.views >= 0, "0 or more"),
        )

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Learned step per output channel; soft codes while a block is learned."""
        return SoftWeight(rows)

    def calibrate(self, network: Network, loss: CalibrationLoss) -> None:
        """`gptq`, then every block in the order of the forward pass."""
        super().calibrate(network, loss)
        before, start = loss(), copy.deepcopy(network.model.state_dict())
        batches = loss.drawn(self.block_images, self.views)
        images = concatenated(batches, sum(map(batch_size, batches)))
        pending = _blocks(network)
        shifts = Shifts(network.architecture, network.model, network.space.layers)
        targets: dict[str, Tensor] = {}

        def observe(path: str, block: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() > 1:  # a vector has no samples to learn from
                targets.setdefault(path, output.clone())  # later operations may be in place

        def learn(path: str, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            layers = pending.pop(path, None)  # before learning, which calls the block again
            if layers is not None and path in targets:
                with shifts.paused():
                    self._reconstruct(network, block, layers, (args, kwargs), targets.pop(path))

        with shifts.observing(), hooked(after=[(network.architecture.get_submodule(path), partial(observe, path)) for path in pending]):
            call(network.architecture, images)
        with shifts.correcting(), hooked(before=[(network.model.get_submodule(path), partial(learn, path)) for path in pending]):
            call(network.model, images)
        trained = self.iterations * min(self.block_batch, batch_size(images))
        count(forward=trained, backward=trained)  # one iteration of all blocks counts as one pass of the network
        if not loss() < before:
            network.model.load_state_dict(start)

    def _reconstruct(self, network: Network, block: nn.Module, layers: list[Layer], inputs: Any, target: Tensor) -> None:
        """Learn one block; `inputs`: its (args, kwargs) for all images, `target`: the float output."""
        soft = [(layer, cast(SoftWeight, network.weight_quantizer(layer))) for layer in layers]
        steps = [m.step for m in block.modules() if isinstance(m, SoftWeight | LearnedStepActivation) and m.bits != FLOAT_BITS]
        learned = (*(network.latent_weight(layer) for layer in layers), *steps)
        start = [tensor.detach().clone() for tensor in learned]
        samples, generator = len(target), torch.Generator().manual_seed(0)
        images = samples // (1 + self.views)
        kept = max(images // 4, 1)  # held out, unless there are no other images
        held_out = torch.arange(images - kept, images, device=target.device)
        learning = torch.tensor([row for row in range(samples) if row % images < max(images - kept, 1)], device=target.device)
        power = target.float().var(0, correction=0).mean().clamp_min(_SMALLEST)

        def error(rows: Tensor) -> Tensor:
            args, kwargs = samples_of(inputs, rows, samples)
            change: Tensor = block(*args, **kwargs).float() - target[rows].float()
            return change.square().mean() / power

        before = error(held_out)
        rounding = [quantizer.soften(quantizer.rows.split(network.latent_weight(layer).detach())) for layer, quantizer in soft]
        groups: list[dict[str, Any]] = [{"params": [step], "lr": self.step_lr * float(step.mean())} for step in steps]
        optimizer = torch.optim.Adam([{"params": rounding, "lr": self.rounding_lr}, *groups])
        for iteration in range(self.iterations):
            chosen = learning[torch.randint(len(learning), (min(self.block_batch, len(learning)),), generator=generator).to(target.device)]
            with torch.enable_grad():
                loss = error(chosen)
                if (progress := iteration / self.iterations) >= _WARMUP:
                    beta = _SOFTEST + (_HARDEST - _SOFTEST) * (progress - _WARMUP) / (1 - _WARMUP)
                    loss = loss + self.hardness * torch.stack([quantizer.openness(beta) for _, quantizer in soft]).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            keep_steps_near(network)
        network.model.zero_grad(set_to_none=True)
        for layer, quantizer in soft:
            place_codes(network, layer, quantizer.harden(), quantizer.step.detach().clone())
        if not error(held_out) < before:
            for tensor, value in zip(learned, start, strict=True):
                tensor.copy_(value)


def _blocks(network: Network) -> dict[str, list[Layer]]:
    """Paths of the blocks, each with its layers of quantized weights."""
    layers: dict[nn.Module, Layer] = {}
    for layer, _ in network.quantized(SoftWeight):
        if not layer.aliases and layer.parameter == "weight" and layer.axes is None:
            layers[network.model.get_submodule(layer.module)] = layer
    paths = {module: path for path, module in network.model.named_modules()}
    return {paths[block]: [layers[m] for m in block.modules() if m in layers] for block in blocks(network.model, layers)}
