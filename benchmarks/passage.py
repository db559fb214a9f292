"""Which files one budget, one weight, one record and one choice pass through, from the call of `mpsearch.search` to the file on disk.

    python benchmarks/passage.py

A small search runs under a profiler. A value passes a file where a function of that file is called with it, on its own or in a list, tuple
or mapping. The way turns back where the next file stands on a higher floor than the one before; a file's floor is one above the highest it
imports. The script needs no more of the package than `mpsearch.search`, so that it also reads older versions: put them on PYTHONPATH.
"""

from __future__ import annotations

import ast
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch

PACKAGE = Path(mpsearch.__file__).parent
WEIGHT = (13, 7)
"""Shape of one weight; nothing else has as many elements."""


def is_a(name: str) -> Callable[[Any], bool]:
    """Whether a value is an instance of the class of that name."""
    return lambda value: type(value).__name__ == name


def is_weight(value: Any) -> bool:
    """Whether a value holds the numbers of the one weight, as a tensor or an array."""
    numel = getattr(value, "numel", None)
    size = numel() if callable(numel) else getattr(value, "size", 0)
    return isinstance(size, int) and size == WEIGHT[0] * WEIGHT[1]


WANTED: dict[str, Callable[[Any], bool]] = {
    "budget": is_a("Budget"),
    "weight": is_weight,
    "record": is_a("Record"),
    "choice": is_a("Choice"),
}


@cache
def floor(file: Path) -> int:
    """One above the highest file it imports."""
    return 1 + max((floor(other) for other in imported(file)), default=0)


@cache
def imported(file: Path) -> tuple[Path, ...]:
    """Files of the package that are imported when this one is."""
    found: list[Path] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mpsearch."):
            path = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            candidates = [path.with_suffix(".py"), *(path / f"{alias.name}.py" for alias in node.names), path / "__init__.py"]
            found += [each for each in candidates if each.exists() and each != file][:1]
    return tuple(found)


def within(value: Any) -> Iterator[Any]:
    """The value and, of a small container, what it holds."""
    yield value
    if isinstance(value, list | tuple) and len(value) < 64:
        yield from value
    elif isinstance(value, dict) and len(value) < 64:
        yield from value.values()


def ways(work: Callable[[], object]) -> dict[str, list[Path]]:
    """Kind of value → files in the order in which it comes to them, each change of file once."""
    found: dict[str, list[Path]] = {kind: [] for kind in WANTED}
    files: dict[str, Path | None] = {}

    def called(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        name = frame.f_code.co_filename
        if name not in files:
            path = Path(name)
            files[name] = path if path.is_relative_to(PACKAGE) and path.name != "__init__.py" else None
        file = files[name]
        if file is None or frame.f_code.co_name.startswith("<"):
            return
        arguments = [
            frame.f_locals.get(key) for key in frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
        ]
        for kind, wanted in WANTED.items():
            if (not found[kind] or found[kind][-1] != file) and any(wanted(value) for argument in arguments for value in within(argument)):
                found[kind].append(file)

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def small_search() -> None:
    """Two layers, two trials, one epoch."""
    torch.manual_seed(0)
    x = torch.randn(64, 7)
    data = TensorDataset(x, (x.sum(1) > 0).long())
    model = nn.Sequential(nn.Linear(7, 13), nn.ReLU(), nn.Linear(13, 2)).eval()
    with tempfile.TemporaryDirectory() as folder:
        mpsearch.search(
            model,
            data,
            data,
            budget="3bit",
            signals=["fisher"],
            trials=2,
            epochs=1,
            effort="quick",
            run_dir=Path(folder) / "run",
            device="cpu",
            progress=False,
        )


def main() -> None:
    """Print a table."""
    small_search()  # what is imported late is imported now
    print("| value | files | turns back | files, in the order in which it first comes to them |")
    print("|---|---|---|---|")
    for kind, way in ways(small_search).items():
        first = list(dict.fromkeys(way))
        back = sum(floor(after) > floor(before) for before, after in pairwise(first))
        print(f"| {kind} | {len(first)} | {back} | {', '.join(f'`{file.relative_to(PACKAGE)}`' for file in first)} |")


if __name__ == "__main__":
    main()
