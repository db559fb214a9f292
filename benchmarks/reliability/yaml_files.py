"""Mutations of every kind of YAML file: studies, spaces, hardware profiles, allocations.

python -m benchmarks.reliability.yaml_files --mutations 100000 --seed 0 --out docs/results/reliability/yaml.json
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.reliability.mutation import difference, mutated_text
from benchmarks.reliability.verdict import Verdicts, fuzz_main
from mpsearch.config import load_study
from mpsearch.config.bits import load_bits
from mpsearch.config.hardware import load_hardware
from mpsearch.config.space import read_space

__all__ = ["fuzz"]

ROOT = Path(__file__).parents[2]
Reader = Callable[[Path], object]
BITS = "conv1: w8a8\nlayer1.0.conv1: w2a4\nlayer1.0.conv2: w4g64a8\n'0': wta8\nfc: 4\n"


def sound() -> list[tuple[str, str, Reader]]:
    """(kind, text, reader) of sound files."""

    def hardware(path: Path) -> object:
        return load_hardware(str(path))

    files: list[tuple[str, str, Reader]]
    files = [("study", path.read_text(encoding="utf-8"), load_study) for path in sorted((ROOT / "studies").glob("*.yaml"))]
    files += [("space", path.read_text(encoding="utf-8"), read_space) for path in sorted((ROOT / "spaces").glob("*.yaml"))]
    folder = ROOT / "mpsearch" / "hardware"
    files += [("hardware", path.read_text(encoding="utf-8"), hardware) for path in sorted(folder.glob("*.yaml"))]
    return [*files, ("bits", BITS, load_bits)]


def fuzz(mutations: int, seed: int) -> Verdicts:
    """Read mutated files."""
    random, files, verdicts = Random(seed), sound(), Verdicts()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.yaml"
        for _, text, reader in files:  # what is imported at first use is no matter of a mutation
            path.write_text(text, encoding="utf-8")
            reader(path)
        for number in range(mutations):
            kind, text, reader = files[number % len(files)]
            mutated = mutated_text(text, random)
            path.write_bytes(mutated.encode("utf-8", "surrogatepass"))
            verdicts.judge(lambda: reader(path), lambda: f"{kind}: {difference(text, mutated)}")  # noqa: B023 - called at once
            if number % 5000 == 4999:
                print(f"{number + 1} of {mutations}: {dict(verdicts.counts)}", file=sys.stderr)
    return verdicts


if __name__ == "__main__":
    sys.exit(fuzz_main(__doc__, "mutated YAML files", fuzz))
