"""Peers beside mpsearch on CIFAR-10, ResNet-20, post-training: each peer in a virtual environment of its own, made here.

    python benchmarks/peers/run.py --data DIR --weights FILE --environments DIR --out DIR            (everything, then the table)
    python benchmarks/peers/table.py DIR                                                             (the table again)
    python benchmarks/peers/run.py … --bits 3 --activations 8 --gradient --train-bits --trials 1 --images 200 --signals fisher      (a look)

| step | file in --out |
|---|---|
| the same 512 calibration images for everybody, the test split, the weights | `exchange/` |
| the peers' rows | `mct.json`, `modelopt.json`, `aimet.json` |
| ours, full menu and {2, 4, 8}; those bits calibrated plainly, by blocks, and trained; the peers' bits by our calibration | `ours.json` |
| all of it with activations at 8 bits and without backpropagation, for further draws of images | the same in `seed1/`, `seed2/` |

A row that is there is not run again, so a run that was cut short goes on, and files of `docs/results/peers` may be put into --out first. An
environment takes 1 to 6 GB and minutes; it is kept. `--constraints` hands pip a file of pins, such as `torch==2.13.0`. A peer that does not
install or breaks off is named, and the others go on. Labels of the calibration images are handed over since ModelOpt's gradients need them;
mpsearch reads none.
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
from table import read, table

from mpsearch.core.progress import Silent
from mpsearch.data import load_data

PEERS = {
    "mct": ("sony_mct.py", ["model-compression-toolkit", "torch", "torchvision"]),
    "modelopt": ("nvidia_modelopt.py", ["nvidia-modelopt", "torch", "requests", "huggingface_hub"]),
    "aimet": ("qualcomm_aimet.py", ["aimet-torch", "torch", "torchvision"]),
}
"""Runner, and what it needs; some of it the peers do not declare."""
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
BITS = [4.0, 3.5, 3.0, 2.5, 2.1]
HERE = Path(__file__).parent


def folder_of(asked: argparse.Namespace, seed: int) -> Path:
    """Where the rows of one draw of images are kept."""
    out: Path = asked.out
    return out / f"seed{seed}" if seed else out


def write_exchange(folder: Path, asked: argparse.Namespace, seed: int) -> None:
    """What the peers' runners read: 512 images drawn as mpsearch draws its own, the test split as bytes, the weights, what is wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    for kept in folder.glob("*.pth"):  # what a peer keeps between sizes was made of the images that are about to be written again
        kept.unlink()
    options: dict[str, Any] = {"size": 32, "mean": MEAN, "std": STD, "augment": "crop-flip"}
    splits = load_data(f"imagefolder:{asked.data}", seed=seed, progress=Silent(), **options)
    inputs, targets = zip(*splits.train.take(512, seed).batches(512), strict=True)
    torch.save({"inputs": torch.cat(inputs), "targets": torch.cat(targets)}, folder / "calibration.pt")
    test: Any = splits.test
    torch.save({"inputs": test.x[test.rows], "targets": test.y[test.rows]}, folder / "test.pt")
    torch.save(load_file(asked.weights), folder / "weights.pt")
    wanted = {"bits": asked.bits, "activations": asked.activations, "gradient": asked.gradient, "epochs": asked.gradient_epochs}
    wanted |= {"activations": [8], "gradient": []} if seed else {}
    plain = {**wanted, "mean": MEAN, "std": STD, "repository": str(HERE.parents[1].resolve())}
    (folder / "asked.json").write_text(json.dumps(plain))


def environment(folder: Path, packages: list[str], constraints: Path | None) -> Path:
    """The interpreter of a virtual environment with the packages; made once."""
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True)
        pins = ["--constraint", str(constraints)] if constraints else []
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins, *packages], check=True)
        done.write_text("\n".join(packages))
    return python


def run_peer(name: str, asked: argparse.Namespace, folder: Path) -> None:
    """One peer's rows, into its file."""
    runner, packages = PEERS[name]
    python = environment(asked.environments / name, packages, asked.constraints)
    subprocess.run([python, "-W", "ignore", HERE / "runners" / runner, folder / "exchange", folder / f"{name}.json"], check=True)


def run_ours(asked: argparse.Namespace, seed: int) -> None:
    """Our rows: searched, then calibrated otherwise; the peers' bits calibrated by us; of the first draw of images then trained."""
    folder = folder_of(asked, seed)
    own, source = folder / "ours.json", ("--source", "mpsearch")

    def call(*words: Any, bits: list[float]) -> None:
        base = [sys.executable, HERE / "ours.py", "--data", asked.data, "--weights", asked.weights, "--out", own, "--seed", str(seed)]
        if bits:
            subprocess.run([*base, "--bits", *map(str, bits), *map(str, words)], check=True)

    search = ("--trials", asked.trials, "--images", asked.images, "--signals", *asked.signals)
    call(*search, bits=asked.bits)
    call(*search, "--menu", 2, 4, 8, bits=asked.bits)
    for act_bits in [8] if seed else asked.activations:
        for name in asked.peers:
            if (folder / f"{name}.json").exists():
                for method in ("gptq", "lsq") if act_bits == 8 else ("gptq",):
                    given = ("--given", folder / f"{name}.json", "--given-act-bits", act_bits, "--act-bits", act_bits)
                    call(*given, "--method", method, bits=asked.bits)
        if act_bits != 8:
            call("--given", own, *source, "--act-bits", act_bits, bits=asked.bits)
    call("--given", own, *source, "--method", "lsq", bits=asked.bits)
    if seed:
        return
    call("--given", own, *source, "--method", "brecq", bits=asked.gradient)
    call("--given", own, *source, "--epochs", asked.epochs, "--train-images", asked.train_images, bits=asked.train_bits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--environments", required=True, type=Path, help="where the peers' virtual environments are kept")
    parser.add_argument("--constraints", type=Path, help="a file of pins for pip")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--bits", type=float, nargs="+", default=BITS)
    parser.add_argument("--activations", type=int, nargs="+", default=[8, 32], help="bits; 32: float")
    parser.add_argument("--gradient", type=float, nargs="*", default=[2.5], help="mean bits at which tiers with backpropagation run")
    parser.add_argument("--gradient-epochs", type=int, default=40, help="of MCT's gradient-based tier")
    parser.add_argument("--train-bits", type=float, nargs="*", default=[2.5, 2.1], help="mean bits at which ours is trained")
    parser.add_argument("--epochs", type=int, default=4, help="of that training; eight minutes of one core each time")
    parser.add_argument("--train-images", type=int, default=50_000, help="of it; at most what is not held out")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--images", type=int, default=1000, help="held-out training images that our trials are scored on")
    parser.add_argument("--signals", nargs="+", default=["fisher", "measured"])
    parser.add_argument("--seeds", type=int, default=3, help="draws of images; all but the first without backpropagation")
    asked = parser.parse_args()
    for seed in range(asked.seeds):
        folder = folder_of(asked, seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_exchange(folder / "exchange", asked, seed)
        for name in asked.peers:
            try:
                run_peer(name, asked, folder)
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"{name} broke off: {error}", file=sys.stderr)
        run_ours(asked, seed)
    print(table(read(asked.out)))


if __name__ == "__main__":
    main()
