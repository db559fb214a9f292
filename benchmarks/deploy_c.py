"""What a network takes and gives as a C program: here, and on a Cortex-M4 under QEMU.

    python benchmarks/deploy_c.py          # five minutes on one thread
    python benchmarks/deploy_c.py --arm    # also builds for ARM's MPS2 board and runs it (Debian: gcc-arm-none-eabi, qemu-system-arm)

Weights are random and their quantizers calibrated on random inputs, statistics of BatchNorms are those of a batch: bytes, memory, time and
the agreement with torch do not depend on training, accuracy is not measured. Columns: bytes of constant data as the size cost promises
them and as the file has them; bytes of code of `gcc -Os`; bytes of activations, as the program reserves them and as the activation-memory
cost counts them (which counts the network's input and output too, here the caller's); the row of weights that is unpacked at a time; the
largest difference from torch's outputs relative to the largest, over all samples and over the median sample (0 where layers multiply
integers; float sums differ in their last bits, and an input that falls on a rounding tie may then be rounded the other way);
milliseconds a sample with `-O2`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs import CostInputs, compute_costs
from mpsearch.methods.lsq import Lsq
from mpsearch.models import build_model
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.lifetimes import lifetimes
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint
from mpsearch.targets.c.file import defined
from mpsearch.targets.c.folder import companions
from mpsearch.targets.c.program import FLAGS, CompiledModel, compiler

SAMPLES = 16
ARM = Path(__file__).parent / "arm"
MACHINE = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")


_SECTION = r"^ \.(text|rodata|bss)(?:\.(?!model_test)\S*)?\s+0x[0-9a-f]+\s+0x([0-9a-f]+) model\.o$"
"""A line of a map: a section of the network's object file and its size."""


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.two, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.short = nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.two(torch.relu(self.norm1(self.one(x)))))
        return torch.relu(y + self.short(x))


def resnet8() -> nn.Module:
    """The shape of MLPerf Tiny's image classification reference (Banbury et al., arXiv 2106.07597): 78 thousand weights."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    blocks = [_Block(16, 16, 1), _Block(16, 32, 2), _Block(32, 64, 2)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


NETWORKS = {
    "digits ResNet-18": (lambda: build_model("resnet18_small"), (1, 8, 8), ("h1-f", "2-f", "2-8")),
    "MLPerf Tiny ResNet-8": (resnet8, (3, 32, 32), ("8-8", "4-8", "4-4", "t-8", "f-f")),
}
"""Network → (factory, shape of a sample, weights and inputs)."""


@dataclass(frozen=True)
class Case:
    """One network in one allocation.

    Args:
        name: of the network.
        formats: of weights and inputs.
        model: float network.
        space: its layers.
        parts: its numbers.
        x: samples.
    """

    name: str
    formats: str
    model: nn.Module
    space: ResolvedSpace
    parts: Parts
    x: Tensor


def cases(only: str) -> Iterator[Case]:
    """Every network whose name contains `only`, in every allocation."""
    for name, (factory, shape, allocations) in NETWORKS.items():
        if only not in name:
            continue
        torch.manual_seed(0)
        model, x = factory(), torch.randn(SAMPLES, *shape)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for _ in range(50):  # statistics of BatchNorms
                model.train()(torch.randn(64, *shape))
        model = model.eval().requires_grad_(False)
        for formats in allocations:
            weight, act = map(NumberFormat.parse, formats.split("-"))
            space = Space(name="one", weights=(weight,), activations=(act,)).resolve(trace(model, x))
            network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
            network.begin(Allocation({layer: only for layer, (only,) in zip(space.names, space.menus, strict=True)}))
            yield Case(name, formats, model, space, bake(network), x)


def measured(case: Case, path: Path) -> str:
    """A row of the table; leaves the file at `path`."""
    target = TARGETS["c"]()
    writer = target.writer(Blueprint.of(case.model, case.x, case.space))
    writer.write(path, case.parts)
    numbers = [(layer, case.parts.layers[layer.name]) for layer in case.space.layers]
    own = (writer.layer_bytes(layer, each.weight_format, FLOAT if each.input is None else each.input.format) for layer, each in numbers)
    promised, text, program = writer.overhead_bytes + sum(own), path.read_text(), CompiledModel(path)
    with torch.no_grad():
        expected = install(case.model, case.space.layers, case.parts)(case.x)
    began = time.perf_counter()
    found = program(case.x)
    took = (time.perf_counter() - began) / len(case.x)
    differences = (found - expected).abs().amax(1) / expected.abs().max()
    sizes = (promised, target.deployed_bytes(path), code_bytes(path), defined(text, "MODEL_ARENA"), round(promised_activations(case)))
    cells = [case.name, case.formats, *(f"{size:,}" for size in sizes), f"{defined(text, 'MODEL_RAM') - defined(text, 'MODEL_ARENA'):,}"]
    cells += [f"{float(differences.max()):.0e}", f"{float(differences.median()):.0e}", f"{1e3 * took:.1f}"]
    return f"| {' | '.join(cells)} |"


def promised_activations(case: Case) -> float:
    """The activation-memory cost of the allocation."""
    inputs = CostInputs(space=case.space, lifetimes=lambda: lifetimes(case.model, case.space.layers, case.x))
    allocation = Allocation({layer: only for layer, (only,) in zip(case.space.names, case.space.menus, strict=True)})
    return compute_costs(["activation-memory"], inputs)["activation-memory"].total(allocation)


def code_bytes(path: Path) -> int:
    """Bytes of machine code, without constant data."""
    built = path.with_suffix(".o")
    subprocess.run([compiler(), *FLAGS, "-Os", "-c", "-o", str(built), str(path)], check=True)
    told = subprocess.run(["size", "-A", str(built)], check=True, capture_output=True, text=True).stdout
    return sum(int(count) for count in re.findall(r"^\.text\S*\s+(\d+)", told, re.MULTILINE))


def on_arm(path: Path) -> str:
    """What the map of a build for the board says of the network, and what the program prints there."""
    folder = path.parent
    for name, text in companions(path.read_text()).items():
        (folder / name).write_text(text)
    compile_ = ["arm-none-eabi-gcc", *MACHINE, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Os", "-c"]
    for source in ("model.c", "main.c"):
        subprocess.run([*compile_, "-DMODEL_TEST_VECTOR", "-fdata-sections", source], cwd=folder, check=True)
    subprocess.run(["arm-none-eabi-gcc", *MACHINE, "-Os", "-c", str(ARM / "startup.c")], cwd=folder, check=True)
    link = ["arm-none-eabi-gcc", *MACHINE, "--specs=rdimon.specs", "-T", str(ARM / "board.ld"), "-Wl,-Map=model.map,--gc-sections"]
    subprocess.run([*link, "model.o", "main.o", "startup.o", "-o", "model.elf", "-lm"], cwd=folder, check=True)
    told = (folder / "model.map").read_text().partition("Linker script and memory map")[2]
    sizes: dict[str, int] = {}
    for section, size in re.findall(_SECTION, told, re.MULTILINE):
        sizes[section] = sizes.get(section, 0) + int(size, 16)
    board = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native,arg=model,arg=test"]
    ran = subprocess.run([*board, "-kernel", "model.elf"], cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    said = ran.stdout.strip() or ran.stderr.strip()
    return f"constant data {sizes['rodata']:,} B, code {sizes['text']:,} B, RAM {sizes.get('bss', 0):,} B; returns {ran.returncode}: {said}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="networks as C programs")
    parser.add_argument("--only", default="", help="networks whose names contain this")
    parser.add_argument("--arm", action="store_true", help="build for a Cortex-M4 and run it under QEMU")
    chosen = parser.parse_args()
    arm: bool = chosen.arm
    missing = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if arm and shutil.which(tool) is None]
    if missing:
        raise SystemExit(
            f"{', '.join(missing)} not found; install the Debian packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm"
        )
    torch.set_num_threads(1)
    print("| network | weights-inputs | promised B | file B | code B | arena B | act cost B | row B | max difference | median | ms |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    boards: list[str] = []
    for case in cases(chosen.only):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.c"
            print(measured(case, path), flush=True)
            if arm:
                boards.append(f"Cortex-M4, {case.name} {case.formats}: {on_arm(path)}")
    print(*boards, sep="\n")


if __name__ == "__main__":
    main()
