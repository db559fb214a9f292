"""What peers export, beside our files: bytes on disk, whether ONNX Runtime runs it, and whether it answers as the tool reported.

    export PYTHONPATH=benchmarks
    python benchmarks/peers/exports.py --data DIR --weights FILE --environments DIR --work DIR --out docs/results/peers/exports.jsonl
    python benchmarks/peers/exports.py … --tools brevitas                                                          (one of them)
    python benchmarks/peers/exports_table.py docs/results/peers/exports.jsonl --write docs/peers.md                (the table again)

CIFAR-10, ResNet-20, three allocations that all tools get alike, inputs of layers at 8 bits: every weight at 4 bits (`w4`); at 2 bits, and 8
in the first and last layer (`w2`); and the mixed one of {2, 4, 8} at a mean of 3 bits that our search found (`mixed`, from
`docs/results/peers/ours.json`). Every tool calibrates on the same training images in its own way, without training, and exports to what it
exports to. `reported` is top-1 of the quantized model in the tool on a part of the test split, `runtime` that of the exported file in a
default session of ONNX Runtime on the same images. A tool that does not install, and a file that is not written or does not load, is a row
with the reason. A tool of which a file is there is not run again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch
from exports_ours import VERSION, our_files
from exports_table import table
from results_file import Row, append, known, read
from run import HERE, MEAN, STD, environment
from safetensors.torch import load_file
from torch import Tensor

from mpsearch.core.progress import Silent
from mpsearch.data import load_data
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact

ONNX = ["onnx", "onnxscript", "onnxruntime"]
TOOLS = {
    "mct": ("export_mct.py", ["model-compression-toolkit", "torch", "torchvision", *ONNX, "onnxruntime-extensions"]),
    "modelopt": ("export_modelopt.py", ["nvidia-modelopt[onnx]", "torch", "requests", "huggingface_hub", *ONNX]),
    "aimet": ("export_aimet.py", ["aimet-torch", "torch", "torchvision", *ONNX]),
    "brevitas": ("export_brevitas.py", ["brevitas", "qonnx", "onnxoptimizer", "torch", *ONNX]),
}
"""Runner, and what it needs."""

BATCH = 250


def allocations() -> dict[str, dict[str, int]]:
    """Name → weight bits by layer."""
    kept = json.loads((HERE.parents[1] / "docs" / "results" / "peers" / "ours.json").read_text())
    rows = [
        row for row in kept if row["source"] == "mpsearch" and row["menu"] == [2, 4, 8] and row["asked_bits"] == 3 and row["act_bits"] == 8
    ]
    mixed = rows[0]["bits"]
    ends = (next(iter(mixed)), list(mixed)[-1])
    return {"w4": dict.fromkeys(mixed, 4), "w2": {name: 8 if name in ends else 2 for name in mixed}, "mixed": mixed}


def write_exchange(folder: Path, asked: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """What the runners read, and from it the test images as the network takes them, with their targets."""
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"size": 32, "mean": MEAN, "std": STD, "augment": "crop-flip"}
    splits = load_data(f"imagefolder:{asked.data}", seed=0, progress=Silent(), **options)
    inputs, targets = zip(*splits.train.take(asked.calibration, 0).batches(512), strict=True)
    torch.save({"inputs": torch.cat(inputs), "targets": torch.cat(targets)}, folder / "calibration.pt")
    test: Any = splits.test.take(asked.test, 0) if splits.test is not None else None
    pixels, labels = test.x[test.rows], test.y[test.rows]
    torch.save({"inputs": pixels, "targets": labels}, folder / "test.pt")
    torch.save(load_file(asked.weights), folder / "weights.pt")
    plain = {"mean": MEAN, "std": STD, "repository": str(HERE.parents[1].resolve()), "allocations": allocations()}
    (folder / "asked.json").write_text(json.dumps(plain))
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std, labels


def run_tool(name: str, asked: argparse.Namespace) -> list[Row]:
    """A tool's rows: what it wrote and reported, or why it did not."""
    runner, packages = TOOLS[name]
    rows = asked.work / f"{name}.json"
    rows.unlink(missing_ok=True)
    try:
        python = environment(asked.environments / name, packages, asked.constraints)
        subprocess.run([python, "-W", "ignore", HERE / "runners" / runner, asked.work, rows], check=True)
    except (subprocess.CalledProcessError, OSError) as error:
        return [{"tool": name, "allocation": "-", "format": "-", "error": f"it does not install or run ({type(error).__name__})"}]
    found: list[Row] = json.loads(rows.read_text())
    return found


def sessions() -> dict[str, str]:
    """The runtime that files are run in."""
    return {"onnxruntime": importlib.metadata.version("onnxruntime")}


def in_runtime(file: Path, images: Tensor) -> Tensor:
    """Logits of the file in a default session of ONNX Runtime; ours in the one that the file names."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    for key, value in (QdqArtifact.read(file).settings() if file.name == "model.qdq.onnx" else {}).items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    free = not isinstance(given.shape[0], int)
    found = [session.run(None, {given.name: each.numpy()})[0] for each in torch.split(images, BATCH if free else given.shape[0])]
    return torch.cat([torch.from_numpy(each) for each in found])


def measured(row: Row, reported: Tensor, own: Tensor | None, images: Tensor, labels: Tensor) -> Row:
    """The row of a file with its bytes and what a runtime makes of it."""
    file = Path(row.pop("file"))
    row["bytes"] = sum(each.stat().st_size for each in file.parent.rglob("*") if each.is_file())
    row["files"] = sorted(str(each.relative_to(file.parent)) for each in file.parent.rglob("*") if each.is_file())
    row["reported"] = float((reported.argmax(1) == labels).float().mean())
    try:
        found = in_runtime(file, images)
        row["runtime"] = float((found.argmax(1) == labels).float().mean())
    except Exception as error:  # its classes are private
        row["refused"] = _told(error)
        if own is None:
            return row
        found, reported, labels = own, reported[: len(own)], labels[: len(own)]
        row["own"] = float((found.argmax(1) == labels).float().mean())
    apart = (found - reported).abs().amax(1) / reported.abs().max()
    differ = int((found.argmax(1) != reported.argmax(1)).sum())
    return row | {"differ": differ, "samples": len(labels), "median": float(apart.median()), "most": float(apart.max())}


def _told(error: Exception) -> str:
    """What a runtime says, in a line and without the place of the file."""
    text = " ".join(str(error).split())
    return text.rpartition("failed:")[2].strip()[:200] or type(error).__name__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with train/ and test/")
    parser.add_argument("--weights", required=True, type=Path, help="of the float ResNet-20")
    parser.add_argument("--environments", required=True, type=Path, help="where the tools' virtual environments are kept")
    parser.add_argument("--constraints", type=Path, help="a file of pins for pip")
    parser.add_argument("--work", required=True, type=Path, help="where tools find what is asked of them and write their files")
    parser.add_argument("--out", required=True, type=Path, help="JSON lines")
    parser.add_argument("--tools", nargs="*", default=["mpsearch", *TOOLS], choices=["mpsearch", *TOOLS])
    parser.add_argument("--calibration", type=int, default=256, help="training images that the tools calibrate on")
    parser.add_argument("--test", type=int, default=1000, help="test images")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = write_exchange(asked.work, asked)
    layers = load_file(asked.weights)
    sizes = {name: layers[f"{name}.weight"].numel() for name in allocations()["w4"]}
    weight_bytes = {name: sum(sizes[layer] * bits for layer, bits in chosen.items()) / 8 for name, chosen in allocations().items()}
    done = known([row for row in read(asked.out) if "error" not in row], ("tool",))

    def keep(row: Row, reported: Tensor | None = None, own: Tensor | None = None) -> None:
        words = {**row, "weight_bytes": weight_bytes.get(row["allocation"]), **sessions(), "run": date.today().isoformat()}
        append(asked.out, words if reported is None else measured(words, reported, own, images, labels))

    for tool in asked.tools:
        if (tool,) in done:
            print(f"{tool}: its rows are there", file=sys.stderr)
        elif tool == "mpsearch":
            for name, target, path, reported in our_files(asked, allocations(), images, asked.work / "exports"):
                keep({"tool": tool, "version": VERSION, "allocation": name, "format": target, "file": str(path)}, reported)
        else:
            for row in run_tool(tool, asked):
                beside = [Path(row["file"]).parent.with_suffix(end) for end in (".reported", ".own")] if "file" in row else []
                held = [torch.load(each) if each.exists() else None for each in beside]
                keep(row, *held)
    print(table(read(asked.out)))


if __name__ == "__main__":
    main()
