"""Files for other runtimes: bytes promised and on disk, answers in the runtime beside the scored ones, seconds to load, time a sample.

    python benchmarks/deploy.py --out docs/results/deploy.jsonl                             # all; killed, the same goes on
    python benchmarks/deploy.py --out docs/results/deploy.jsonl --rows mobilenet_v2 decoder  # a part
    python benchmarks/deploy.py --out docs/results/deploy.jsonl --report --write docs/deploy.md

The rows of studies are searched and calibrated without training (`--effort quick --trials 2 --epochs 0`), which changes accuracy and
nothing else that is measured; they are compared on the whole test split. The others have random weights, bits and inputs.
CIFAR-10 as class folders and the weights of the float network come by `--cifar DIR` and `--weights FILE`. A file is compared
with the scored network in torch; its time with that of the float32 network, exported alike, in the same process, one thread, batches of 8.
Logits differ where a runtime adds up in another order and a sum lies so close to the middle between two codes that it is rounded the other
way; without quantized activations they do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from methods_markdown import write_between_markers
from results_file import Row, append, known, latest, read
from torch import Tensor, nn

from mpsearch.config import load_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT
from mpsearch.core.space import Space
from mpsearch.data import load_data
from mpsearch.methods.lsq import Lsq
from mpsearch.models import build_model
from mpsearch.network.baked import bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.inputs import call, samples_of
from mpsearch.network.network import Network
from mpsearch.network.trace import survey, trace
from mpsearch.targets import TARGETS, Blueprint
from mpsearch.targets.base import Artifact
from mpsearch.targets.onnx_qdq.layout import Session

_BATCH = 8
_ROUNDS = 15
_ROUNDING = 1e-5
_KEY = ("network", "target")


class Autoencoder(nn.Module):
    """Two convolutions down, two transposed convolutions up, one of them grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(64, 32, 4, 2, 1, groups=2), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images `[N, 3, H, W]` → alike."""
        images: Tensor = self.up(self.down(x))
        return images


class Decoder(nn.Module):
    """A small causal transformer whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(512, 128)
        self.positions = nn.Parameter(torch.randn(64, 128) * 0.1)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(128, 512, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `[N, T]` → logits `[N, T, 512]`."""
        length = tokens.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)
        logits: Tensor = self.head(self.blocks(self.embedding(tokens) + self.positions[:length], mask=mask))
        return logits


def vision_transformer() -> nn.Module:
    """ViT-B/16; torchvision begins its head at zero, and logits that are all zero tell nothing."""
    model: nn.Module = torchvision.models.vit_b_16(num_classes=1000)
    nn.init.normal_(model.get_parameter("heads.head.weight"), std=0.02)
    return model


RANDOM: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=1000), lambda: torch.randn(_BATCH, 3, 224, 224)),
    "vit_b_16": (vision_transformer, lambda: torch.randn(_BATCH, 3, 224, 224)),
    "vit_b_16_weights": (vision_transformer, lambda: torch.randn(_BATCH, 3, 224, 224)),
    "autoencoder": (Autoencoder, lambda: torch.randn(_BATCH, 3, 32, 32)),
    "decoder": (Decoder, lambda: torch.randint(0, 512, (_BATCH, 64))),
}
STUDIES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "digits": ("digits_resnet18", "2MB", "onnx", ()),
    "digits_a8": ("digits_resnet18", "6MB", "onnx-qdq", ("--space", "hardware-248")),
    "cifar": ("cifar10_resnet20", "80KB", "onnx", ()),
    "cifar_a4": ("cifar10_resnet20_a4", "80KB", "onnx", ()),
    "cifar_a8": ("cifar10_resnet20", "170KB", "onnx-qdq", ("--space", "hardware-248")),
}
"""Row → study, budget, target, further options."""
TARGETS_OF_RANDOM = ("onnx", "onnx-qdq")
NAMES = {
    "digits": "digits, ResNet-18, 2 MB",
    "digits_a8": "digits, ResNet-18, 6 MB, activations 4 or 8 bits",
    "cifar": "CIFAR-10, ResNet-20, 80 KB",
    "cifar_a4": "CIFAR-10, ResNet-20, 80 KB, activations 4 bits",
    "cifar_a8": "CIFAR-10, ResNet-20, 170 KB, activations 4 or 8 bits",
    "mobilenet_v2": "MobileNetV2, 224², random",
    "vit_b_16": "ViT-B/16, random",
    "vit_b_16_weights": "the same, inputs in float",
    "autoencoder": "transposed convolutions, random",
    "decoder": "decoder, tied head, random",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, the network in torch that it must compute, and inputs."""

    artifact: Artifact
    path: Path
    promised: int
    scored: nn.Module
    plain: nn.Module
    batches: list[tuple[Any, Tensor | None]]


def of_study(name: str, arguments: argparse.Namespace) -> Case:
    """Search, without training, and read the delivered file; the batches are those of the test split."""
    study, budget, target, options = STUDIES[name]
    directory = arguments.runs / f"{name}-{target}"
    command = [sys.executable, "-m", "mpsearch", "study", study, "--budget", budget, "--effort", "quick", "--trials", "2", "--epochs", "0"]
    command += ["--compile", "off", "--target", target, "--run-dir", str(directory), "--quiet", *options]
    if study != "digits_resnet18":
        command += ["--data", f"imagefolder:{arguments.cifar}", "--weights", str(arguments.weights)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    config = load_study(directory / "study.yaml")
    model = canonical(build_model(config.model.factory, dict(config.model.options), weights=config.model.weights_path))
    splits = load_data(config.data.reference, seed=config.seed, **config.data.options)
    assert splits.test is not None
    path = directory / TARGETS[target].file
    artifact = TARGETS[target]().read(path)
    limit = int(float(budget.removesuffix("MB")) * 1e6) if budget.endswith("MB") else int(budget.removesuffix("KB")) * 1000
    size = path.stat().st_size
    assert size <= limit
    return Case(
        artifact=artifact, path=path, promised=size, scored=artifact.install(model), plain=model, batches=list(splits.test.batches(256))
    )


def of_random(name: str, target: str, arguments: argparse.Namespace) -> Case:
    """Random weights, random bits of a menu of 1 to 8 for weights and 4 to 8 for activations."""
    torch.manual_seed(0)
    build, inputs = RANDOM[name]
    model, x = canonical(build()), inputs()
    layers = TARGETS[target]().layers(survey(model, x))
    activations = (32,) if name.endswith("_weights") else (4, 6, 8, 32)
    space = Space(name="deploy", weights=(1, 2, 3, 4, 5, 6, 8), activations=activations).resolve(layers)
    random = np.random.default_rng(0)
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(Allocation({layer: menu[int(random.integers(len(menu)))] for layer, menu in zip(space.names, space.menus, strict=True)}))
    parts = bake(network)
    writer = TARGETS[target]().writer(Blueprint.of(model, x, space))
    path = arguments.runs / f"{name}.{TARGETS[target].file}"
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write(path, parts)
    promised = writer.overhead_bytes
    for layer in space.layers:
        held = parts.layers[layer.name]
        promised += writer.layer_bytes(layer, held.weight_format, FLOAT if held.input is None else held.input.format)
    scored = install(model, space.layers, parts)
    return Case(artifact=TARGETS[target]().read(path), path=path, promised=promised, scored=scored, plain=model, batches=[(x, None)])


def measure(name: str, target: str, arguments: argparse.Namespace) -> Row:
    """One row of the table."""
    case = of_study(name, arguments) if name in STUDIES else of_random(name, target, arguments)
    began = time.perf_counter()
    runtime = case.artifact.executed()
    load = time.perf_counter() - began
    assert runtime is not None
    row: Row = {"network": name, "target": target, "promised": case.promised, "bytes": case.path.stat().st_size, "load": load}
    row |= _agreement(case, runtime, "")
    if target == "onnx" and (openvino := _openvino(case.path)) is not None:
        row |= _agreement(case, openvino, "openvino_")
    return row | _times(case, runtime, target)


@torch.no_grad()
def _agreement(case: Case, runtime: Callable[..., Any], prefix: str) -> Row:
    """Right answers of both, samples whose answer differs, and differences of logits relative to the largest."""
    right, ours, other, samples, apart, largest = 0, 0, 0, 0, [], 0.0
    for inputs, targets in case.batches:
        expected, computed = call(case.scored, inputs), runtime(inputs)
        apart.append((computed - expected).abs().reshape(len(expected), -1).amax(1))
        largest = max(largest, float(expected.abs().max()))
        other += int((computed.argmax(-1) != expected.argmax(-1)).sum())
        samples += computed.argmax(-1).numel()
        if targets is not None:
            right += int((expected.argmax(-1) == targets).sum())
            ours += int((computed.argmax(-1) == targets).sum())
    relative = torch.cat(apart) / largest
    row: Row = {"differ": other, "samples": samples, "outputs": len(relative)}
    row |= {"most": float(relative.max()), "beyond": int((relative > _ROUNDING).sum())}
    if case.batches[0][1] is not None:
        row |= {"scored": 100 * right / samples, "runtime": 100 * ours / samples}
    return {f"{prefix}{key}": value for key, value in row.items()}


def _openvino(path: Path) -> Callable[..., Any] | None:
    """The file in OpenVINO on the CPU, in float32, if it is installed."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {**Session.in_openvino().settings, "INFERENCE_NUM_THREADS": 1})
    return lambda inputs: torch.from_numpy(compiled(inputs.numpy())[0].copy())


def _times(case: Case, runtime: nn.Module, target: str) -> Row:
    """Median milliseconds a sample of the file and of the float32 network, exported alike, in turns."""
    inputs = samples_of(case.batches[0][0], slice(0, _BATCH), len(case.batches[0][0]))
    space = Space(name="float", weights=(32,)).resolve(trace(case.plain, inputs))
    network = Network(case.plain, space, Calibration.fit(case.plain, space, []), Lsq())
    network.begin(space.uniform(Choice(FLOAT)))
    path = case.path.with_suffix(".float.onnx")
    TARGETS["onnx"]().writer(Blueprint.of(case.plain, inputs, space)).write(path, bake(network))
    plain = TARGETS["onnx"]().read(path).executed()
    path.unlink()
    assert plain is not None
    times: dict[str, list[float]] = {"file": [], "float": []}
    for _ in range(_ROUNDS):
        for name, module in (("file", runtime), ("float", plain)):
            began = time.perf_counter()
            call(module, inputs)
            times[name].append(time.perf_counter() - began)
    return {f"ms_{name}": 1000 * statistics.median(found) / _BATCH for name, found in times.items()}


def table(rows: list[Row]) -> str:
    """Markdown."""
    heads = ["network", "target", "promised", "on disk", "scored", "in ONNX Runtime", "answers that differ"]
    heads += ["logits apart by more than 1e-5", "at most", "the same in OpenVINO", "load", "ms a sample", "float32"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    order = list(NAMES)
    for row in sorted(rows, key=lambda row: (order.index(row["network"]), row["target"])):
        accuracy = [f"{row[key]:.2f}" if key in row else "" for key in ("scored", "runtime")]
        openvino = f"{row['openvino_beyond']}, {row['openvino_most']:.0e}" if "openvino_most" in row else ""
        cells = [
            NAMES[row["network"]],
            f"`{row['target']}`",
            f"{row['promised']:,}",
            f"{row['bytes']:,}",
            *accuracy,
            f"{row['differ']} of {row['samples']:,}",
            f"{row['beyond']} of {row['outputs']:,}",
            f"{row['most']:.0e}",
            openvino,
            f"{row['load']:.2f} s",
            f"{row['ms_file']:.2f}",
            f"{row['ms_float']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--runs", type=Path, default=Path("runs/deploy"))
    parser.add_argument("--cifar", type=Path, help="folder with train/ and test/")
    parser.add_argument("--weights", type=Path, help="of the float ResNet-20")
    parser.add_argument("--report", action="store_true", help="the table alone")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = known(read(arguments.out), _KEY)
    for name in [] if arguments.report else arguments.rows:
        for target in (STUDIES[name][2],) if name in STUDIES else TARGETS_OF_RANDOM:
            if (name, target) not in done:
                append(arguments.out, measure(name, target, arguments))
    text = table(latest(read(arguments.out), _KEY))
    print(text)
    if arguments.write:
        write_between_markers(arguments.write, "deploy", text)


if __name__ == "__main__":
    main()
