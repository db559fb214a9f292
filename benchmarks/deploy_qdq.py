"""ONNX files with integer kernels: bytes, accuracy, flips, load and speed in each runtime, beside float32 in the same session.

    OMP_NUM_THREADS=1 python benchmarks/deploy_qdq.py [--model resnet18_small] [--epochs 3] [--openvino]

The network is trained on the embedded digits for a few epochs, quantized by LSQ, trained for one epoch more, and written as `onnx-qdq`.
Of each file the script prints what ONNX Runtime makes of it, in its default session and with `session.disable_quant_qdq=1`, and OpenVINO
with `INFERENCE_PRECISION_HINT=f32`. Then, how often two ways to round an activation give other codes: times the reciprocal of the step, as
mpsearch does, and divided by the step, as `QuantizeLinear` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.data import load_data
from mpsearch.methods.lsq import Lsq
from mpsearch.models import build_model
from mpsearch.network.baked import FixedActQuantizer, Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.targets.onnx.runtime import RuntimeModel
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact
from mpsearch.targets.onnx_qdq.target import OnnxQdq
from mpsearch.tasks.outputs import most_samples_differ_by

ALLOCATIONS = ((32, 32), (8, 32), (4, 32), (8, 8), (4, 8), (8, 4), (4, 4))
"""(Weight bits, activation bits) of all layers; 32 is float."""

Run = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="resnet18_small")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--openvino", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    splits = load_data("digits", seed=0)
    (x, y), (held, labels) = whole(splits.train), whole(splits.test)
    model = build_model(asked.model, {"in_channels": 1} if asked.model == "resnet18_small" else {})
    fit(model, list(model.parameters()), x, y, epochs=asked.epochs, rate=0.02)
    layers = trace(model.eval(), x[:8])
    bits = [sorted({pair[side] for pair in ALLOCATIONS}) for side in (0, 1)]
    space = Space(name="deploy", weights=tuple(bits[0]), activations=tuple(bits[1])).resolve(layers)
    target = OnnxQdq()
    writer = target.writer(Blueprint.of(model, x[:8], space))
    base: dict[str, float] = {}
    print(f"{asked.model}, digits, {len(labels)} test images, torch {torch.__version__}")
    for weight, activation in ALLOCATIONS:
        parts = quantized(model, space, weight, activation, x, y)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / target.file
            writer.write(path, parts)
            sizes = sum(
                writer.layer_bytes(layer, parts.layers[layer.name].weight_format, parts.layers[layer.name].choice.activation)
                for layer in layers
            )
            scored = install(model, layers, parts)
            expected = scored(held)
            name = f"w{'f' if weight == FLOAT_BITS else weight} a{'f' if activation == FLOAT_BITS else activation}"
            print(
                f"{name}: {writer.overhead_bytes + sizes:,} B promised, {path.stat().st_size:,} B on disk, "
                f"top-1 scored {accuracy(expected, labels):.2%}"
            )
            for runtime, load in runtimes(target.read(path), path, asked.openvino).items():
                begin = time.perf_counter()
                run = load()
                seconds = time.perf_counter() - begin
                outputs, each = run(held), milliseconds(run, held)
                base.setdefault(runtime, each)
                flips = float((outputs.argmax(1) != expected.argmax(1)).float().mean())
                print(
                    f"  {runtime:12s} top-1 {accuracy(outputs, labels):.2%}, flips {flips:.2%}, median difference "
                    f"{most_samples_differ_by(outputs, expected):.1e}, load {seconds:.2f} s, {each:.2f} ms a sample, "
                    f"{each / base[runtime]:.2f} of float32"
                )
            if activation != FLOAT_BITS:
                print(f"  {rounding(target.read(path), scored, held)}")


def whole(split: Any) -> tuple[Tensor, Tensor]:
    """All images and labels of a split."""
    batches = list(split.batches(256))
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def fit(model: nn.Module, parameters: list[nn.Parameter], x: Tensor, y: Tensor, *, epochs: int, rate: float) -> None:
    """Train by SGD with a rate that falls to 0."""
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=5e-4)
    steps = epochs * (len(x) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x))[: len(x) // 64 * 64].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def quantized(model: nn.Module, space: ResolvedSpace, weight: int, activation: int, x: Tensor, y: Tensor) -> Parts:
    """All layers at these bits, calibrated, and trained for one epoch."""
    network = Network(model, space, Calibration.fit(model, space, [x[:256]]), Lsq())
    wanted = Choice(weight, activation)
    menus = zip(space.names, space.menus, strict=True)
    network.begin(Allocation({name: wanted if wanted in menu else Choice(weight) for name, menu in menus}))
    if weight != FLOAT_BITS:
        parameters = [each for each in network.model.parameters() if each.requires_grad]
        fit(network.model, parameters, x, y, epochs=1, rate=0.005)
    return bake(network)


def runtimes(artifact: QdqArtifact, path: Path, openvino: bool) -> dict[str, Callable[[], Run]]:
    """Name → what loads the file."""

    def onnxruntime(fused: bool) -> Callable[[], Run]:
        file = artifact.file
        return lambda: RuntimeModel(file.content, file.inputs, file.outputs, {"session.disable_quant_qdq": "0" if fused else "1"})

    found = {"ORT": onnxruntime(True), "ORT no qdq": onnxruntime(False)}
    return found | ({"OpenVINO": lambda: in_openvino(path)} if openvino else {})


def in_openvino(path: Path) -> Run:
    """The file in OpenVINO, computed in float32 where it is not in integers."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda images: torch.from_numpy(np.array(compiled(images.numpy())[0]))


def milliseconds(run: Run, images: Tensor) -> float:
    """Milliseconds a sample at batch 1: the median of 50."""
    times = []
    for index in range(50):
        begin = time.perf_counter()
        run(images[index : index + 1])
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    return float((outputs.argmax(1) == labels).float().mean())


def rounding(artifact: QdqArtifact, scored: nn.Module, images: Tensor) -> str:
    """Share of activation codes that differ: reciprocal or division for the same inputs; each from those of ONNX Runtime."""
    import onnx

    model = onnx.ModelProto.FromString(artifact.file.content)
    codes = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {node.output[0]: 128 * (node.input[2] == "Ki") for node in model.graph.node if node.op_type == "QuantizeLinear"}
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None) for name in codes)
    shown = RuntimeModel(model.SerializeToString(), artifact.file.inputs, codes, {"session.disable_quant_qdq": "1"})
    theirs = [value.float() - zeros[name] for name, value in zip(codes, shown(images), strict=True)]
    same, total = 0, 0
    held = {"reciprocal": 0, "division": 0}
    for name in held:
        with divided(scored, name == "division"), kept(scored) as seen:
            outputs = scored(images)
        for inputs, step, lo, hi in seen:
            if name == "reciprocal":
                total += inputs.numel()
                same += int((levels(inputs, step, lo, hi, True) != levels(inputs, step, lo, hi, False)).sum())
        ours = [levels(inputs, step, lo, hi, name == "division") for inputs, step, lo, hi in seen]
        held[name] = sum(int((a != b).sum()) for a, b in zip(ours, theirs, strict=True))
        plain = RuntimeModel(artifact.file.content, artifact.file.inputs, artifact.file.outputs, {"session.disable_quant_qdq": "1"})
        print(f"  {name}: median difference from ORT no qdq {most_samples_differ_by(plain(images), outputs):.1e}")
    return (
        f"codes that differ: reciprocal from division {same / total:.1e}, reciprocal from ORT {held['reciprocal'] / total:.1e}, "
        f"division from ORT {held['division'] / total:.1e} of {total:,}"
    )


def levels(x: Tensor, step: Tensor, lo: float, hi: float, divide: bool) -> Tensor:
    """Codes of an activation."""
    return (x / step if divide else x * step.reciprocal()).round().clamp(lo, hi)


def quantizers(model: nn.Module) -> list[FixedActQuantizer]:
    """In the order of the modules."""
    return [module for module in model.modules() if isinstance(module, FixedActQuantizer)]


@contextmanager
def divided(model: nn.Module, on: bool) -> Iterator[None]:
    """Quantizers divide by the step."""
    for each in quantizers(model) if on else []:
        each.quantize = lambda x, own=each: levels(x, own.step, own.grid.lo, own.grid.hi, True) * own.step  # type: ignore[method-assign]
    try:
        yield
    finally:
        for each in quantizers(model):
            vars(each).pop("quantize", None)


@contextmanager
def kept(model: nn.Module) -> Iterator[list[tuple[Tensor, Tensor, float, float]]]:
    """Inputs of the quantizers in the order of computation, with step and ends."""
    seen: list[tuple[Tensor, Tensor, float, float]] = []

    def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(module, FixedActQuantizer)
        seen.append((args[0].clone(), module.step, module.grid.lo, module.grid.hi))

    handles = [each.register_forward_pre_hook(keep) for each in quantizers(model)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


if __name__ == "__main__":
    main()
