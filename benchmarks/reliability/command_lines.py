"""Mutations of command lines: options of `study` with values that nobody means.

The run directory of every line holds another program's file, so that a line that is read to its end is refused before work starts.
Lines run in a temporary folder, where a mutated name may leave a file.

python -m benchmarks.reliability.command_lines --mutations 100000 --seed 0 --out docs/results/reliability/command_lines.json
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from random import Random

from benchmarks.reliability.mutation import TOKENS, difference, mutated_text
from benchmarks.reliability.verdict import Verdicts, fuzz_main
from mpsearch.cli import main as command
from mpsearch.core.errors import MpsearchError

__all__ = ["fuzz"]

SOUND = {
    "--budget": ("2MB", "1.5MiB", "3.2bit", "act:64KB", "1.2GBOPs", "5ms", "1MB..2MB"),
    "--keep-points": ("4",),
    "--log": ("tensorboard", "wandb,mlflow"),
    "--runtime": ("onnxruntime", "openvino"),
    "--effort": ("quick", "normal", "thorough"),
    "--space": ("weights-only", "weights-activations"),
    "--target": ("packed", "onnx-qdq"),
    "--hardware": ("t4",),
    "--signals": ("fisher", "fisher,measured", "mix"),
    "--methods": ("lsq", "lsq,ste", "all"),
    "--images": ("64",),
    "--evaluate": ("ptq", "qat", "supernet"),
    "--trials": ("4",),
    "--timeout": ("90s", "5min", "2h", "30"),
    "--epochs": ("0", "3"),
    "--compile": ("auto", "on", "off"),
    "--model": ("resnet18_small", "nowhere:model"),
    "--weights": ("missing.pt",),
    "--data": ("digits", "imagefolder:nowhere"),
    "--device": ("cpu", "auto", "cuda:7"),
    "--seed": ("0", "3"),
    "--set": (
        "recipe.lr=0.01", "space.weights=[2,4]", "signals.names=[fisher]", "search.rungs=[{name: ptq, epochs: 0}]", "methods=[lsq, ste]",
        "methods.lsq.grid=half", "target_settings.opset=18", "budgets=[2MB]", "model.options={classes: 10}", "space.pins={fc: w8}",
    ),
    "--storage": ("sqlite:///nowhere/trials.db", "journal:///nowhere/trials.log", "nonsense"),
}  # fmt: skip


def line(random: Random) -> tuple[list[str], str]:
    """Arguments of one command line, and what was changed."""
    arguments, changes = ["study", random.choice(("digits_resnet18", "digits_resnet18", "cifar10_resnet20"))], []
    if random.random() < 0.05:
        arguments[1] = random.choice(TOKENS)
    for option in random.sample(sorted(SOUND), random.randint(1, 4)):
        sound = random.choice(SOUND[option])
        value = random.choice(TOKENS) if random.random() < 0.3 else mutated_text(sound, random)
        value = value.replace("\0", "0")  # no argument of a process can hold it
        arguments += [option, value] if random.random() < 0.5 else [f"{option}={value}"]
        changes.append(f"{option} {difference(sound, value)}")
    return arguments, "; ".join(changes)


def run(arguments: list[str]) -> None:
    """Run the command line in this process; a code other than 0 is raised as an error with its message."""
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = command(arguments)
    if code:
        raise MpsearchError(said.getvalue().strip())


def fuzz(mutations: int, seed: int) -> Verdicts:
    """Run mutated command lines."""
    random, verdicts = Random(seed), Verdicts()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere, contextlib.chdir(elsewhere):
        (Path(folder) / "notes.txt").write_text("another program's", encoding="utf-8")
        tail = ["--run-dir", folder, "--quiet"]
        for warm in (["study", *tail], ["study", "--storage", "sqlite:///nowhere/x.db", *tail]):
            with contextlib.suppress(MpsearchError):
                run(warm)
        for number in range(mutations):
            arguments, changes = line(random)
            verdicts.judge(lambda: run([*arguments, *tail]), lambda: changes)  # noqa: B023 - called at once
            if number % 5000 == 4999:
                print(f"{number + 1} of {mutations}: {dict(verdicts.counts)}", file=sys.stderr)
    return verdicts


if __name__ == "__main__":
    sys.exit(fuzz_main(__doc__, "mutated command lines", fuzz))
