"""One `fisher` pass over 512 images against forward-and-backward passes of the same images: the ratio has to stay at or below 3.

    python benchmarks/fisher.py

ResNet-20 on random 32×32 images, batches of 128, 2 threads; both are run in turn in one process and medians compared. Ranges are calibrated
beforehand: they are shared by everything in a study.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import click
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.models import build_model
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.signals import SignalInputs, compute_signal
from mpsearch.tasks.task import Task

TARGET = 3.0
SPACES = {
    "weights 1-8": Space(name="weights", weights=tuple(range(1, 9))),
    "weights 1-8 x activations 2,3,4,8,float": Space(name="both", weights=tuple(range(1, 9)), activations=(2, 3, 4, 8, FLOAT_BITS)),
}


def forward_and_backward(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    model.eval()
    for images, labels in batches:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]


def seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


@click.command()
@click.option("--images", default=512, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--repetitions", default=7, show_default=True)
def main(images: int, batch: int, threads: int, repetitions: int) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_model("resnet20_cifar").eval()
    batches = [(torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))) for _ in range(images // batch)]
    layers = trace(model, batches[0][0])
    runs: dict[str, Callable[[], object]] = {"forward and backward": lambda: forward_and_backward(model, batches)}
    for title, space in SPACES.items():
        resolved = space.resolve(layers)
        calibration = Calibration.fit(model, resolved, [images for images, _ in batches])
        inputs = SignalInputs(model=model, space=resolved, calibration=calibration, batches=batches, task=Task.classification())
        runs[title] = partial(compute_signal, "fisher", inputs)
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {title: [] for title in runs}
    for _ in range(repetitions):
        for title, run in runs.items():
            times[title].append(seconds(run))
    base = statistics.median(times["forward and backward"])
    table = Table(title=f"fisher over {images} images, ResNet-20, batch {batch}, {threads} threads, median of {repetitions}")
    for heading in ("pass", "seconds", "best", "forward and backward passes", f"at most {TARGET:g}"):
        table.add_column(heading, justify="left" if heading == "pass" else "right")
    for title, measured in times.items():
        ratio = statistics.median(measured) / base
        table.add_row(
            title, f"{statistics.median(measured):.3f}", f"{min(measured):.3f}", f"{ratio:.2f}", "yes" if ratio <= TARGET else "NO"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
