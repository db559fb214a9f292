"""What quantization adds to a training step: ResNet-20, 32×32, batch 128, every layer at w4a4, forward, backward and SGD step.

    python benchmarks/training_step.py              # eager
    python benchmarks/training_step.py --compiled   # also torch.compile of the whole network (about a minute more)

Medians over alternating repetitions in one process; the ratios count, the milliseconds depend on the machine. "plain" is the memory layout
torch defaults to, "channels last" the one mpsearch trains in.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.models import build_model
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace

BATCH = 128


def quantized(model: nn.Module, images: Tensor) -> nn.Module:
    """The network under LSQ with all layers at w4a4, the image included."""
    space = Space(name="w4a4", weights=(4,), activations=(4,)).resolve(trace(model, images))
    network = Network(model, space, Calibration.fit(model, space, [images]), METHODS["lsq"]())
    network.begin(space.uniform(Choice(4, 4)))
    return network.model


def stepper(model: nn.Module, images: Tensor, labels: Tensor, *, compiled: bool) -> Callable[[], None]:
    """One training step."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss: Tensor = nn.functional.cross_entropy(forward(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true", help="also measure torch.compile")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
    layouts = {"plain": torch.contiguous_format, "channels last": torch.channels_last}
    steps: dict[str, Callable[[], None]] = {}
    for compiled in (False, True) if arguments.compiled else (False,):
        for layout, memory_format in layouts.items():
            if compiled and layout == "plain":
                continue
            for kind in ("float", "w4a4"):
                model = build_model("resnet20_cifar")
                model = (quantized(model, images) if kind == "w4a4" else model).to(memory_format=memory_format)
                x = images.contiguous(memory_format=memory_format)
                steps[f"{'compiled' if compiled else 'eager'}, {layout}, {kind}"] = stepper(model, x, labels, compiled=compiled)
    started = time.perf_counter()
    for step in steps.values():
        step()
        step()
    warm = time.perf_counter() - started
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    table = Table(title=f"training step, ResNet-20 32x32, batch {BATCH}, {arguments.threads} threads, median of {arguments.repeats}")
    for column in ("step", "ms", "over eager plain float", "over float of the same kind"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, median in medians.items():
        own = medians[name.replace("w4a4", "float")]
        table.add_row(name, f"{median * 1e3:.0f}", f"{median / medians['eager, plain, float']:.2f}", f"{median / own:.2f}")
    Console().print(table)
    Console().print(f"warm-up (compilation included): {warm:.0f} s")


if __name__ == "__main__":
    main()
