"""A file of mixed blocks of SmolLM2-135M in llama.cpp: bytes, tokens, perplexity there and in torch.

    pip install 'mpsearch[hf,gguf]' llama-cpp-python
    python benchmarks/large/gguf_in_llama_cpp.py smollm2                 # a folder of `smollm2_folder.py`

Layers take the formats in turn, rounded to the nearest: what is compared is what two programs compute of one file, not how good it is.
Text is Python's language reference (`pydoc_data.topics`).
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import llama_cpp
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from mpsearch.core.allocation import Allocation
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.targets.gguf import Gguf
from mpsearch.tasks.outputs import prediction_of
from mpsearch.tasks.task import Task

TASK = Task.language_model()


def perplexity(logits: Tensor, tokens: Tensor) -> float:
    meter = TASK.meter()
    meter.add(logits[:, :-1], tokens[:, 1:])
    return meter.value()


def written(model: nn.Module, tokens: Tensor, formats: list[NumberFormat], path: Path) -> tuple[nn.Module, int]:
    """The network of the formats in torch, and the bytes of its file."""
    space = Space(name="ggml", weights=tuple(formats), activations=(FLOAT,)).resolve(trace(model, tokens[:1]))
    network = Network(model, space, Calibration.fit(model, space, []), Lsq(), shares=True)
    menus = zip(space.names, space.menus, strict=True)
    network.begin(Allocation({name: menu[row % len(menu)] for row, (name, menu) in enumerate(menus)}))
    parts = bake(network)
    size = Gguf().writer(Blueprint.of(model, tokens, space, stores=[Lsq().stores])).write(path, parts)
    return install(model, space.layers, parts), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--formats", nargs="+", default=["4g32", "5g32", "8g32"])
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--context", type=int, default=256)
    given = parser.parse_args()
    tokenizer: Any = AutoTokenizer.from_pretrained(given.folder)
    text = "\n\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))[: 16 * given.windows * given.context]
    ids: list[int] = tokenizer(text)["input_ids"]
    tokens = torch.tensor(ids[: given.windows * given.context]).reshape(given.windows, given.context)
    model = canonical(AutoModelForCausalLM.from_pretrained(given.folder, dtype=torch.float32)).requires_grad_(False)
    with TemporaryDirectory() as place, torch.no_grad():
        path = Path(place) / "model.gguf"
        ours, size = written(model, tokens, [NumberFormat.parse(each) for each in given.formats], path)
        running = Gguf().read(path).executed()
        assert running is not None
        began = time.monotonic()
        theirs = prediction_of(call(running, tokens))
        seconds = time.monotonic() - began
        there = llama_cpp.Llama(str(path), vocab_only=True, verbose=False).tokenize(text.encode(), add_bos=False)
        scored = prediction_of(call(ours, tokens))
        apart = float(TASK.divergence(scored, theirs).mean())
        print("| | float | torch, of the file | llama.cpp, of the file |\n|---|---|---|---|")
        figures = [perplexity(each, tokens) for each in (prediction_of(call(model, tokens)), scored, theirs)]
        print("| perplexity | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
        print(f"\n{size:,} B; {tokens.numel()} tokens in windows of {given.context}, {seconds:.0f} s in llama.cpp;")
        print(f"KL divergence of llama.cpp from torch {apart:.4f} nats a token; {len(ids)} tokens of the text alike: {there == ids}")


if __name__ == "__main__":
    main()
