"""SmolLM2-135M: bits a weight against perplexity and KL divergence, ours and uniform groups under the same calibration.

    python benchmarks/large/smollm2.py smollm2 --out docs/results/smollm2.jsonl           # a folder of `smollm2_folder.py`
    python benchmarks/large/smollm2.py smollm2 --out docs/results/smollm2.jsonl --report  # the table alone

Every contestant has the same moments, the same compensated rounding (`mpsearch.numbers.blocked`) on float inputs, and the same rounding of
the embedding, which is the head as well; only which layer gets which format differs. Nothing is trained. Bits a weight are all bytes of
codes and of half-precision scales (in float32 here) over all weights that are multiplied or looked up. Calibration and signal read
docstrings of Python's standard library, a draw of modules for each seed; perplexity and divergence are of its language reference
(`pydoc_data.topics`), in windows of 512 tokens, of every position.

The reference was itself stored in 4 bits by groups of 32 with a zero point, at 5.85 bits a weight with its embedding, so a format of
that kind would reproduce it for nothing; none is on the menus. The divergence is the one from that reference.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import pydoc_data.topics
import random
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from mpsearch.allocate.solve import solve
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.core.table import Table
from mpsearch.network.canonical import canonical
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.network.trace import trace
from mpsearch.signals.base import SignalInputs
from mpsearch.signals.direct.fisher import fisher
from mpsearch.tasks.task import Task

TASK = Task.language_model()
MENU = tuple(map(NumberFormat.parse, ("2g64", "3g64", "4g64")))
EMBEDDING = tuple(map(NumberFormat.parse, ("2g64", "3g64", "4g64", "6g64")))
UNIFORM = tuple(map(NumberFormat.parse, ("3g64", "2g64", "2g32", "3g32")))
BUDGETS = (3.25, 3.0, 2.5, 3.5)
WINDOW, SIGNAL_WINDOW, BATCH_TOKENS = 512, 128, 1024


def docstrings(seed: int) -> Iterator[str]:
    """Docstrings of the standard library's modules, in an order drawn by the seed."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    random.Random(seed).shuffle(files)
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    for file in files:
        tree = ast.parse(file.read_bytes())
        yield from (text for node in ast.walk(tree) if isinstance(node, kinds) and (text := ast.get_docstring(node)) and len(text) > 200)


def windows(texts: Iterator[str], tokenizer: Any, count: int, length: int) -> Tensor:
    """`[count, length + 1]` tokens of the texts, one after the other."""
    tokens: list[int] = []
    for text in texts:
        tokens += tokenizer(text + "\n\n")["input_ids"]
        if len(tokens) >= count * (length + 1):
            break
    return torch.tensor(tokens[: count * (length + 1)]).reshape(count, length + 1)


def batches(tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
    size = max(BATCH_TOKENS // tokens.shape[1], 1)
    return [(part[:, :-1], part[:, 1:]) for part in (tokens[begin : begin + size] for begin in range(0, len(tokens), size))]


def topics() -> Iterator[str]:
    return (pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))


def resolved(model: nn.Module, tokens: Tensor, layers: Sequence[NumberFormat], embedding: Sequence[NumberFormat]) -> ResolvedSpace:
    space = Space(name="groups", weights=tuple(layers), layers={"model.embed_tokens": LayerMenu(weights=tuple(embedding))})
    return space.resolve(trace(model, tokens))


def bits_table(space: ResolvedSpace) -> Table:
    """Bits of codes and scales over all weights: what a packed file's layers take, but for its header."""
    total = sum(layer.weights for layer in space.layers)

    def bits(layer: Any, format: NumberFormat) -> float:
        assert isinstance(format.granularity, int)
        rows = layer.weights // format.granularity
        return 8 * (format.code_bytes(rows, format.granularity) + 2 * format.scale_count(rows)) / total

    values = [
        [bits(layer, choice.weight) if choice in menu else math.nan for choice in space.choices]
        for layer, menu in zip(space.layers, space.menus, strict=True)
    ]
    return space.table("stored", "bit", torch.tensor(values, dtype=torch.float64).numpy())


@torch.no_grad()
def score(reference: Sequence[Tensor], quantized: nn.Module, tokens: Tensor) -> dict[str, float]:
    """Perplexity, and KL divergence by token from the reference's logits by batch."""
    meter, apart = TASK.meter(), 0.0
    for (inputs, targets), wanted in zip(batches(tokens), reference, strict=True):
        outputs = quantized(inputs).logits
        meter.add(outputs, targets)
        apart += float(TASK.divergence(wanted, outputs).sum())
    return {"perplexity": meter.value(), "kl": apart / len(tokens)}


@torch.no_grad()
def assembled(model: nn.Module, quantized: nn.Module, calibration: CompensatedCalibration, allocation: Mapping[str, Any]) -> nn.Module:
    """The second network with the weights of an allocation."""
    for name, choice in allocation.items():
        quantized.get_submodule(name).weight.copy_(calibration.weight(name, choice.weight))  # type: ignore[operator]
    return quantized


def run(folder: Path, out: Path, seed: int, calibration_windows: int, signal_windows: int, scored_windows: int) -> None:
    began = time.monotonic()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = canonical(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)).requires_grad_(False)
    quantized = canonical(model).requires_grad_(False)
    calibrating = windows(docstrings(seed), tokenizer, calibration_windows, WINDOW)
    signalling = windows(docstrings(seed + 1000), tokenizer, signal_windows, SIGNAL_WINDOW)
    scored = windows(topics(), tokenizer, scored_windows, WINDOW)

    def write(name: str, **found: Any) -> None:
        row = {"contestant": name, "seed": seed, "seconds": round(time.monotonic() - began, 1), **found}
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)

    with torch.no_grad():
        reference = [model(inputs).logits for inputs, _ in batches(scored)]
    write("reference", bits=32.0, **score(reference, model, scored))
    space = resolved(model, calibrating[:1, :-1], MENU, EMBEDDING)
    calibration = CompensatedCalibration.fit(model, space, [inputs for inputs, _ in batches(calibrating)])
    write("moments", tokens=calibrating.numel())
    table = fisher(SignalInputs(model=model, space=space, calibration=calibration, batches=batches(signalling), task=TASK, seed=seed))
    write("signal", tokens=signalling.numel())
    bits = bits_table(space)
    for budget in BUDGETS:
        solution = solve(space, table, {"stored": bits}, [Budget(cost="stored", limit=budget, text=f"{budget}bit")])
        found = score(reference, assembled(model, quantized, calibration, solution.allocation), scored)
        used = {str(choice.weight): 0 for choice in space.choices}
        for name, choice in solution.allocation.items():
            used[str(choice.weight)] += name != "model.embed_tokens"
        embedding = str(solution.allocation["model.embed_tokens"].weight)
        write("fisher", bits=solution.amounts["stored"], predicted=solution.objective, layers=used, embedding=embedding, **found)
    for format in UNIFORM:
        alike = resolved(model, calibrating[:1, :-1], (format,), (format,))
        rival = calibration if format in MENU else CompensatedCalibration.fit(model, alike, [inputs for inputs, _ in batches(calibrating)])
        allocation = Allocation({name: menu[0] for name, menu in zip(alike.names, alike.menus, strict=True)})
        found = score(reference, assembled(model, quantized, rival, allocation), scored)
        write(f"uniform {format}", bits=bits_table(alike).total(allocation), **found)


def report(file: Path) -> None:
    rows = [row for row in map(json.loads, file.read_text().splitlines()) if "kl" in row]
    print("| bits a weight | contestant | perplexity | KL by token, nats |\n|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["bits"], row["contestant"], row["seed"])):
        print(f"| {row['bits']:.2f} | {row['contestant']} | {row['perplexity']:.2f} | {row['kl']:.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calibration", type=int, default=8, help=f"windows of {WINDOW} tokens")
    parser.add_argument("--signal", type=int, default=32, help=f"windows of {SIGNAL_WINDOW} tokens")
    parser.add_argument("--scored", type=int, default=6, help=f"windows of {WINDOW} tokens")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if not given.report:
        run(given.folder, given.out, given.seed, given.calibration, given.signal, given.scored)
    report(given.out)


if __name__ == "__main__":
    main()
