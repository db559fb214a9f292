"""`mpsearch doctor`: checks of the machine, each with what was found and how to fix it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Check", "examine"]

_PYTHONS = ((3, 11), (3, 14))
_FREE_BYTES = 2 * 10**9
_BROKEN = (ImportError, OSError, RuntimeError, AttributeError)
"""Errors of an installation that does not fit together."""
_REINSTALL = "python -m pip install --force-reinstall torch torchvision   (both from the same index)"


@dataclass(frozen=True)
class Check:
    """The result of one check: its name, status, what was found, and how to fix it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    cure: str = ""


def examine(folder: Path | None = None) -> tuple[Check, ...]:
    """Run all checks; none raises.

    Args:
        folder: folder that runs would be written to; the working directory if not given.
    """
    place = folder or Path.cwd()
    return (_python(), _torch(), _torchvision(), _device(), _compiler(), _disk(place), _writable(place), _storage())


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return Check("Python", "ok", found)
    return Check("Python", "fail", found, "make the virtual environment with Python 3.11, 3.12, 3.13 or 3.14")


def _torch() -> Check:
    try:
        torch = importlib.import_module("torch")
        total = float((torch.ones(8) @ torch.ones(8)).item())
    except _BROKEN as error:
        return Check("torch", "fail", _first_line(error), _REINSTALL)
    if total == 8.0:
        return Check("torch", "ok", str(torch.__version__))
    return Check("torch", "fail", str(torch.__version__), _REINSTALL)


def _torchvision() -> Check:
    try:
        torch = importlib.import_module("torch")
        torchvision = importlib.import_module("torchvision")
        # A build for another torch may import and yet lack its compiled operators.
        kept = torch.ops.torchvision.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
        found = f"{torchvision.__version__}, its operators answer ({len(kept)} box kept of 1)"
    except _BROKEN as error:
        return Check("torchvision", "fail", f"does not work with this torch: {_first_line(error)}", _REINSTALL)
    wanted = _torch_wanted_by_torchvision()
    have = str(torch.__version__).partition("+")[0]
    if wanted and have != wanted:
        return Check("torchvision", "warn", f"{found}, but was built for torch {wanted}, not {have}", _REINSTALL)
    return Check("torchvision", "ok", found)


def _torch_wanted_by_torchvision() -> str:
    try:
        requirements = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    exact = [text.partition("==")[2] for text in requirements if text.replace(" ", "").startswith("torch==")]
    return exact[0].partition(";")[0].strip(" )") if exact else ""


def _device() -> Check:
    try:
        torch = importlib.import_module("torch")
        threads = f"{torch.get_num_threads()} CPU threads of {os.cpu_count()} cores"
        if not torch.cuda.is_available():
            cure = "for a GPU: install its driver and a CUDA build of torch" if shutil.which("nvidia-smi") else ""
            return Check("device", "warn" if cure else "ok", f"{threads}, no CUDA", cure)
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        torch.ones(8, device="cuda").sum().item()
    except _BROKEN as error:
        return Check("device", "fail", _first_line(error), "run with --device cpu, or repair the GPU driver")
    return Check("device", "ok", f"{threads}, CUDA: {names}")


def _compiler() -> Check:
    wanted = os.environ.get("CXX") or ("cl" if os.name == "nt" else "g++")
    found = next((path for name in (wanted, "g++", "clang++") if (path := shutil.which(name))), None)
    if found:
        return Check("C++ compiler", "ok", found)
    return Check(
        "C++ compiler", "warn", "none", "install g++ or clang++ to let torch.compile speed training up; without it training is eager"
    )


def _disk(place: Path) -> Check:
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("disk", "fail", _first_line(error), "run in a folder that exists, or give --run-dir")
    found = f"{free / 1e9:.1f} GB free in {place}"
    if free >= _FREE_BYTES:
        return Check("disk", "ok", found)
    return Check("disk", "warn", found, f"free {_FREE_BYTES / 1e9:.0f} GB, or give --run-dir on another disk")


def _writable(place: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
    except OSError as error:
        return Check("folder", "fail", f"{place}: {_first_line(error)}", "run in a folder you may write to, or give --run-dir")
    return Check("folder", "ok", f"{place} can be written")


def _storage() -> Check:
    try:
        optuna = importlib.import_module("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with tempfile.TemporaryDirectory() as folder:
            study = optuna.create_study(storage=f"sqlite:///{folder}/doctor.db", study_name="doctor")
            study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=2)
            trials = len(optuna.load_study(storage=f"sqlite:///{folder}/doctor.db", study_name="doctor").trials)
    except Exception as error:  # storage backends raise errors of their own; to the user they all mean the same
        return Check(
            "storage", "fail", _first_line(error), "python -m pip install --upgrade optuna sqlalchemy; check that TMPDIR can be written"
        )
    return Check("storage", "ok" if trials == 2 else "fail", f"Optuna {optuna.__version__} on SQLite, {trials} trials written and read")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
