"""Mutations of packed files: raw damage, and forgeries whose digest is right.

A forgery changes what the file says (the model's name and options, layers, formats) or holds, and signs it again, as an attacker would.
Each file is loaded and, if that is not refused, run on one image.

python -m benchmarks.reliability.artifacts --mutations 100000 --seed 0 --out docs/results/reliability/artifacts.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import deserialize, safe_open

import mpsearch
from benchmarks.reliability.mutation import TOKENS, mutated_bytes, mutated_text
from benchmarks.reliability.verdict import Verdicts, fuzz_main, limited_memory
from mpsearch.cli import main as command
from mpsearch.run.evaluate import check_numbers
from mpsearch.targets.description import compress, decompress
from mpsearch.targets.packed import layout

__all__ = ["fuzz", "sound"]

MODEL, OPTIONS = "resnet20_cifar", {"depth": 8, "classes": 10, "in_channels": 1}
ROOM = 64 * 2**20
"""Bytes that a load may take beside ten times the file: PyTorch's own."""
VALUES: tuple[Any, ...] = (
    0, -1, 1, 2, 8, 10**6, 4_000_000, 120_002, 2**31, 2**63, 10**30, 0.5, -1e308, True, None, "", "a", "/etc/passwd",
    [], [1], {}, {"a": 1}, "x" * 5000,
)  # fmt: skip
NAMES = ("weights", "reference", "depth", "classes", "in_channels", "self", "build", "device", "__class__", "")


def sound(folder: Path, space: str) -> bytes:
    """A sound artifact of a ResNet-8 on the digits, 3 bits a weight, made through the front door."""
    settings = {"model.options": json.dumps(OPTIONS), "float_recipe.epochs": "1", "signals.names": "[fisher]"}
    code = command(
        [
            "study",
            "--model",
            MODEL,
            "--data",
            "digits",
            "--budget",
            "3bit",
            "--space",
            space,
            "--trials",
            "1",
            "--epochs",
            "0",
            "--effort",
            "quick",
        ]
        + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        + ["--run-dir", str(folder), "--quiet"]
    )
    if code:
        raise SystemExit(code)
    return (folder / "model.safetensors").read_bytes()


def forged(data: bytes, path: Path, random: Random) -> str:
    """Write a forgery of `data` to `path`; returns what was changed."""
    path.write_bytes(data)
    with safe_open(str(path), framework="np") as file:
        metadata: dict[str, str] = file.metadata()
    tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    plain = decompress(metadata["model"])
    kind = random.randrange(6)
    if kind == 0:
        plain["model"] = random.choice((*TOKENS, "resnet18_small", "torchvision/resnet50", "torchvision/vit_b_16", MODEL.upper()))
        changed = f"model {plain['model']!r:.80}"
    elif kind == 1:
        name, value = random.choice(NAMES), random.choice(VALUES)
        plain["options"] = {**(OPTIONS if random.random() < 0.7 else {}), name: value}
        changed = f"options {plain['options']!r:.200}"
    elif kind == 2:
        text = mutated_text(json.dumps(plain), random)
        try:
            plain = json.loads(text)
        except ValueError:
            plain = {"model": text}
        changed = f"description {json.dumps(plain)!r:.300}"
    elif kind == 3:
        key = random.choice(("bits", "formats"))
        metadata[key] = mutated_text(metadata[key], random)
        changed = f"{key} {metadata[key]!r:.200}"
    elif kind == 4:
        name = random.choice(sorted(tensors))
        tensors[name]["data"] = bytearray(mutated_bytes(bytes(tensors[name]["data"]), random, 64))
        width = max(1, len(tensors[name]["data"]) and _width(tensors[name]["dtype"]))
        tensors[name]["data"] = tensors[name]["data"][: len(tensors[name]["data"]) // width * width]
        tensors[name]["shape"] = [len(tensors[name]["data"]) // width]
        changed = f"tensor {name}"
    else:
        name = random.choice(sorted(tensors))
        filler = random.choice((b"\xff", b"\x7f", b"\x00\x7c", b"\x00\x00\x80\x7f", b"\x00\xfe"))
        size = len(tensors[name]["data"])
        tensors[name]["data"] = bytearray((filler * size)[:size])
        changed = f"tensor {name} filled with {filler.hex()}"
    _sign(path, plain, metadata, tensors)
    return changed


def _width(dtype: str) -> int:
    return {"U8": 1, "I8": 1, "BOOL": 1, "F16": 2, "F32": 4, "I64": 8}[dtype]


def _sign(path: Path, plain: Any, metadata: dict[str, str], tensors: Mapping[str, Any]) -> None:
    metadata["model"] = compress(plain)
    signable = {key: text.encode("utf-8", "replace").decode() for key, text in metadata.items()}  # half a surrogate pair has no bytes
    metadata["digest"] = layout.file_digest(signable, {name: bytes(entry["data"]) for name, entry in tensors.items()})
    entries: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for name, entry in tensors.items():
        end = position + len(entry["data"])
        entries[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "data_offsets": [position, end]}
        position = end
    header = json.dumps(entries).encode("utf-8", "replace")
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"".join(bytes(entry["data"]) for entry in tensors.values()))


def load_and_run(path: Path) -> None:
    """Load the file as anyone would, and run it on one image.

    Raises:
        MpsearchError: it was refused; an answer that is no number counts as refused, since `mpsearch evaluate` refuses it.
    """
    with limited_memory(ROOM + 10 * path.stat().st_size), torch.no_grad():
        answer = mpsearch.load(path)(torch.zeros(1, 1, 8, 8))
    check_numbers(path, answer.sum().item())


def fuzz(mutations: int, seed: int) -> Verdicts:
    """Load mutated files, half of them forged."""
    random, verdicts = Random(seed), Verdicts()
    with tempfile.TemporaryDirectory() as folder:
        files = [sound(Path(folder) / space, space) for space in ("weights-only", "weights-activations")]
        path = Path(folder) / "mutated.safetensors"
        for data in files:
            path.write_bytes(data)
            load_and_run(path)
        for number in range(mutations):
            data = files[number % len(files)]
            if random.random() < 0.5:
                changed = forged(data, path, random)
            else:
                path.write_bytes(mutated_bytes(data, random, int.from_bytes(data[:8], "little") + 8))
                changed = f"raw bytes, mutation {number}"
            verdicts.judge(lambda: load_and_run(path), lambda: changed)  # noqa: B023 - called at once
            if number % 5000 == 4999:
                print(f"{number + 1} of {mutations}: {dict(verdicts.counts)}", file=sys.stderr)
    return verdicts


if __name__ == "__main__":
    sys.exit(fuzz_main(__doc__, "mutated artifacts", fuzz))
