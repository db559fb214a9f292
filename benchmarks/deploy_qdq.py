"""ONNX files with integer kernels: bytes, accuracy, flips, load and speed in each runtime, beside float32 in the same session.

    OMP_NUM_THREADS=1 python benchmarks/deploy_qdq.py [--model resnet18_small|chain] [--epochs 3] [--openvino]

The network, a ResNet-18 or a chain of convolutions without branches, is trained on the embedded digits for a few epochs, quantized by LSQ,
trained for one epoch more, and written as `onnx-qdq`. Of each file the script prints what the runtimes make of it: ONNX Runtime in the
session that the file names (ORT), in its default one, and with `session.disable_quant_qdq=1`; OpenVINO a file written for it, in the
session that it names. Then, how often two ways to round an activation give other codes: times the reciprocal of the step, as mpsearch
does, and divided by the step, as `QuantizeLinear` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.data import load_data
from mpsearch.methods.lsq import Lsq
from mpsearch.models import build_model
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.quantizers import FixedActQuantizer, InputCodes
from mpsearch.network.trace import survey
from mpsearch.targets import Blueprint
from mpsearch.targets.onnx.layout import numbered
from mpsearch.targets.onnx.runtime import RuntimeModel
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact
from mpsearch.targets.onnx_qdq.layout import SIGNED_ZERO, Session
from mpsearch.targets.onnx_qdq.target import OnnxQdq
from mpsearch.tasks.outputs import most_samples_differ_by

ALLOCATIONS = ((32, 32), (8, 32), (8, 8), (4, 8), (4, 4))
"""(Weight bits, activation bits) of all layers; 32 is float."""

BYTE = 8

NOT_FUSED = {"session.disable_quant_qdq": "1"}

Run = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="resnet18_small", choices=("resnet18_small", "chain"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--openvino", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    splits = load_data("digits", seed=0)
    (x, y), (held, labels) = whole(splits.train), whole(splits.test)
    model = chain() if asked.model == "chain" else build_model(asked.model, {})
    fit(model, list(model.parameters()), x, y, epochs=asked.epochs, rate=0.02)
    target, surveyed = OnnxQdq(), survey(model.eval(), x[:8])
    layers = target.layers(surveyed)
    bits = [sorted({pair[side] for pair in ALLOCATIONS}) for side in (0, 1)]
    space = Space(name="deploy", weights=tuple(bits[0]), activations=tuple(bits[1])).resolve(layers)
    writer = target.writer(Blueprint.of(model, x[:8], space))
    other = replace(space, layers=OnnxQdq(runtime="openvino").layers(surveyed))
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
            expected, wanted = scored(held), dict[str, Tensor]()
            name = f"w{'f' if weight == FLOAT_BITS else weight} a{'f' if activation == FLOAT_BITS else activation}"
            print(
                f"{name}: {writer.overhead_bytes + sizes:,} B promised, {path.stat().st_size:,} B on disk, "
                f"top-1 scored {accuracy(expected, labels):.2%}"
            )
            loads = runtimes(target.read(path))
            if asked.openvino:
                own, apart = path.with_name("openvino.onnx"), quantized(model, other, weight, activation, x, y)
                OnnxQdq(runtime="openvino").writer(Blueprint.of(model, x[:8], other)).write(own, apart)
                loads["OpenVINO"] = partial(in_openvino, own)
                wanted["OpenVINO"] = install(model, other.layers, apart)(held)
            for runtime, load in loads.items():
                expected = wanted.get(runtime, scored(held))
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
            if activation == BYTE:
                rounding(target.read(path), scored, layers, held)


def chain() -> nn.Module:
    """Six convolutions of 128 channels, 0.75 M weights: a network of which every layer's output goes to one quantizer."""
    blocks: list[nn.Module] = []
    for number in range(6):
        blocks += [nn.Conv2d(128 if number else 1, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU()]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


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
        for batch in torch.randperm(len(x))[: len(x) // 64 * 64].split(64):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
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


def runtimes(artifact: QdqArtifact) -> dict[str, Callable[[], Run]]:
    """Name → what loads the file."""

    def onnxruntime(settings: Mapping[str, str]) -> Callable[[], Run]:
        file = artifact.file
        return lambda: RuntimeModel(file.content, file.inputs, file.outputs, settings)

    return {"ORT": onnxruntime(artifact.settings()), "ORT default": onnxruntime({}), "ORT no qdq": onnxruntime(NOT_FUSED)}


def in_openvino(path: Path) -> Run:
    """The file in OpenVINO, in the session that it names."""
    import openvino

    settings = {**Session.in_openvino().settings, "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda images: torch.from_numpy(np.array(compiled(images.numpy())[0]))


def milliseconds(run: Run, images: Tensor) -> float:
    """Milliseconds a sample at batch 1: the median of 20."""
    times = []
    for index in range(20):
        begin = time.perf_counter()
        run(images[index : index + 1])
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    return float((outputs.argmax(1) == labels).float().mean())


def rounding(artifact: QdqArtifact, scored: nn.Module, layers: Sequence[Layer], images: Tensor) -> None:
    """Print how many codes of activations differ, and by how much the outputs: of each way to round from ONNX Runtime without fusion."""
    import onnx

    file, settings = artifact.file, NOT_FUSED
    model = onnx.ModelProto.FromString(file.content)
    name = numbered("W", len(layers))
    module_of = {f"{name(number)}A0q": layer.module for number, layer in enumerate(layers)}
    nodes = {node.output[0]: node for node in model.graph.node if node.output[0] in module_of}
    model.graph.output.extend(onnx.helper.make_tensor_value_info(each, onnx.TensorProto.UINT8, None) for each in nodes)
    coded = RuntimeModel(model.SerializeToString(), file.inputs, {module_of[each]: each for each in nodes}, settings)(images)
    zeros = {module_of[each]: 128 * (node.input[2] == SIGNED_ZERO) for each, node in nodes.items()}
    plain = RuntimeModel(file.content, file.inputs, file.outputs, settings)(images)
    for way in ("reciprocal", "division"):
        apart = other = total = 0
        with divided(scored, way == "division"), kept(scored) as seen:
            outputs = scored(images)
        for module, inputs in seen.items():
            each = scored.get_submodule(module).input_quantizer
            assert isinstance(each, FixedActQuantizer)
            ours = levels(inputs, each, divide=way == "division")
            apart += int((ours + zeros[module] != coded[module].float()).sum())
            other += int((ours != levels(inputs, each, divide=way != "division")).sum())
            total += ours.numel()
        print(
            f"  {way} against ORT no qdq: {apart / total:.1e} of {total:,} codes differ, outputs by "
            f"{most_samples_differ_by(plain, outputs):.1e} in the median; from the other way, with the same inputs, {other / total:.1e}"
        )


def levels(x: Tensor, own: FixedActQuantizer, *, divide: bool) -> Tensor:
    """Codes of an activation."""
    return (x / own.step if divide else x * own.step.reciprocal()).round().clamp(own.grid.lo, own.grid.hi)


def quantizers(model: nn.Module) -> dict[str, FixedActQuantizer]:
    """Module → the quantizer of its input."""
    found = ((name.rpartition("."), each) for name, each in model.named_modules() if isinstance(each, FixedActQuantizer))
    return {path: each for (path, _, own), each in found if own == "input_quantizer"}


def _divided(quantizer: FixedActQuantizer, x: Tensor) -> Tensor:
    codes = levels(x, quantizer, divide=True)
    return codes if isinstance(quantizer, InputCodes) else codes * quantizer.step


@contextmanager
def divided(model: nn.Module, on: bool) -> Iterator[None]:
    """Quantizers divide by the step."""
    for each in quantizers(model).values() if on else []:
        each.quantize = partial(_divided, each)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for each in quantizers(model).values():
            vars(each).pop("quantize", None)


@contextmanager
def kept(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What is quantized: module → its input."""
    seen: dict[str, Tensor] = {}
    handles = []
    for name, each in quantizers(model).items():
        handles.append(each.register_forward_pre_hook(lambda _, args, name=name: seen.__setitem__(name, args[0].clone())))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


if __name__ == "__main__":
    main()
