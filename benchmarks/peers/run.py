"""Peers beside mpsearch on CIFAR-10, ResNet-20, post-training: each peer in a virtual environment of its own, made here.

    python benchmarks/peers/run.py --data DIR --weights FILE --environments DIR --out DIR            (everything, then the table)
    python benchmarks/peers/run.py --out DIR --table                                                  (the table again)

| step | file in --out |
|---|---|
| the same 512 calibration images for everybody, the test split, the weights | `exchange/` |
| the peers' rows | `mct.json`, `modelopt.json` |
| ours, full menu and {2, 4, 8}; our bits calibrated by blocks and plainly; the peers' bits calibrated by ours | `ours.json` |

An environment takes some 5 GB and minutes; it is kept. A peer that does not install or breaks off is named, and the others go on. AIMET is
not among them: its search goes by an accuracy drop and cannot be asked for a size. Labels of the calibration images are handed over since
ModelOpt's gradients need them; mpsearch reads none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mpsearch.core.progress import Silent
from mpsearch.data import load_data

PEERS = {
    "mct": ["model-compression-toolkit", "torch", "torchvision"],
    "modelopt": ["nvidia-modelopt", "torch", "torchvision", "requests", "huggingface_hub"],
}
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
BITS = [4.0, 3.5, 3.0, 2.5, 2.1]
HERE = Path(__file__).parent


def write_exchange(folder: Path, data: str, weights: str, bits: list[float]) -> None:
    """What the peers' runners read: 512 images drawn as mpsearch draws its own, the test split as bytes, the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"size": 32, "mean": MEAN, "std": STD, "augment": "crop-flip"}
    splits = load_data(f"imagefolder:{data}", seed=0, progress=Silent(), **options)
    inputs, targets = zip(*splits.train.take(512, 0).batches(512), strict=True)
    torch.save({"inputs": torch.cat(inputs), "targets": torch.cat(targets)}, folder / "calibration.pt")
    test: Any = splits.test
    torch.save({"inputs": test.x[test.rows], "targets": test.y[test.rows]}, folder / "test.pt")
    torch.save(load_file(weights), folder / "weights.pt")
    asked = {"bits": bits, "mean": MEAN, "std": STD, "repository": str(HERE.parents[1].resolve())}
    (folder / "asked.json").write_text(json.dumps(asked))


def environment(folder: Path, packages: list[str]) -> Path:
    """The interpreter of a virtual environment with the packages; made once."""
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.write_text("\n".join(packages))
    return python


def run_peer(name: str, environments: Path, exchange: Path, out: Path) -> None:
    """One peer's rows into `out`."""
    python = environment(environments / name, PEERS[name])
    rows = exchange / "rows.json"
    rows.unlink(missing_ok=True)
    try:
        subprocess.run([python, HERE / "runners" / f"{name}.py", exchange], check=True)
    finally:
        if rows.exists():
            out.write_text(rows.read_text())


def ours(asked: argparse.Namespace, *words: str) -> None:
    """One call of `ours.py`."""
    base = [sys.executable, HERE / "ours.py", "--data", asked.data, "--weights", asked.weights, "--out", asked.out / "ours.json"]
    subprocess.run([*base, "--trials", str(asked.trials), "--bits", *map(str, asked.bits), *words], check=True)


def table(out: Path) -> str:
    """Markdown: a line for each source, menu and calibration; a column for each mean number of bits."""
    rows: list[dict[str, Any]] = [row for file in sorted(out.glob("*.json")) for row in json.loads(file.read_text())]
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        menu = "" if row.get("menu") is None else " {" + ", ".join(map(str, row["menu"])) + "}"
        activations = "float" if row["act_bits"] == 32 else str(row["act_bits"])
        label = f"{row['source']}{menu} | {row.get('method', 'its own')} | {activations}"
        lines.setdefault(label, {})[row["asked_bits"]] = row["test"]
    columns = sorted({bits for line in lines.values() for bits in line}, reverse=True)
    head = [
        "| bits chosen by | calibrated by | activations | " + " | ".join(f"{bits:g}" for bits in columns) + " |",
        "|---" * (3 + len(columns)) + "|",
    ]
    body = [
        f"| {label} | " + " | ".join(f"{100 * line[bits]:.2f}" if bits in line else "-" for bits in columns) + " |"
        for label, line in lines.items()
    ]
    return "\n".join([*head, *body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--weights")
    parser.add_argument("--environments", type=Path, help="where the peers' virtual environments are kept")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--bits", type=float, nargs="+", default=BITS)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--table", action="store_true", help="only print the table of the files in --out")
    asked = parser.parse_args()
    if not asked.table:
        if None in (asked.data, asked.weights, asked.environments):
            parser.error("--data, --weights and --environments are needed to run")
        asked.out.mkdir(parents=True, exist_ok=True)
        write_exchange(asked.out / "exchange", asked.data, asked.weights, asked.bits)
        for name in asked.peers:
            try:
                run_peer(name, asked.environments, asked.out / "exchange", asked.out / f"{name}.json")
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"{name} broke off: {error}", file=sys.stderr)
        ours(asked)
        ours(asked, "--menu", "2", "4", "8")
        ours(asked, "--method", "brecq", "--given", str(asked.out / "ours.json"), "--source", "mpsearch")
        ours(asked, "--method", "lsq", "--given", str(asked.out / "ours.json"), "--source", "mpsearch")
        for name in asked.peers:
            if (asked.out / f"{name}.json").exists():
                ours(asked, "--method", "gptq", "--given", str(asked.out / f"{name}.json"))
    print(table(asked.out))


if __name__ == "__main__":
    main()
