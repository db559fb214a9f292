"""The examples of CONTRIBUTING.md as a package of its own: installed by pip, found by its entry points, used, and held to the contracts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
EXAMPLE = re.compile(r"^## Add a (\w+)\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REGISTERED = re.compile(r"(\w+)S\.register\(\"(\w+)\"\)")
CONTRACTS = """
from mpsearch.costs import COSTS
from mpsearch.signals import SIGNALS
from mpsearch.testing import CostContract, MethodContract, SignalContract, TargetContract
from stranger.method import PulledStep
from stranger.target import Nibbles

class TestMethod(MethodContract):
    method = PulledStep()

class TestSignal(SignalContract):
    signal = SIGNALS["relative_error"]

class TestCost(CostContract):
    cost = COSTS["traffic"]

class TestTarget(TargetContract):
    target = Nibbles()
"""
SEARCH = """
import torch, mpsearch
from torch import nn
from torch.utils.data import TensorDataset
torch.manual_seed(0)
x = torch.randn(96, 6)
y = (x.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
mpsearch.search(
    model, TensorDataset(x[:64], y[:64]), TensorDataset(x[64:], y[64:]), budget=["6bit", "traffic:1500bit"],
    methods=["pulled_step"], signals=["relative_error"], target="nibbles", trials=2,
    epochs=1, effort="quick", run_dir="run", device="cpu", progress=False,
)
"""


def package(folder: Path, name: str, modules: Mapping[str, str], entries: Mapping[str, Mapping[str, str]]) -> Path:
    """A source tree that pip can install: group → name → module."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    for module, source in modules.items():
        (folder / name / f"{module}.py").write_text(source, encoding="utf-8")
    groups = [
        f'[project.entry-points."{group}"]\n' + "".join(f'{key} = "{name}.{entries[group][key]}"\n' for key in entries[group])
        for group in entries
    ]
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{name}"\nversion = "1.2"\n' + "".join(groups),
        encoding="utf-8",
    )
    return folder


def installed(source: Path, target: Path) -> dict[str, str]:
    """The environment of a process that sees the package as pip has installed it."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(target),
        str(source),
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)]), "COLUMNS": "200"}


def _mpsearch(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mpsearch", *arguments], env=env, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def examples() -> dict[str, str]:
    return dict(EXAMPLE.findall(GUIDE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def environment(examples: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("stranger")
    entries = {f"mpsearch.{kind}s": {REGISTERED.findall(source)[0][1]: kind} for kind, source in examples.items()}
    return installed(package(folder / "source", "stranger", examples, entries), folder / "site")


def test_the_guide_is_short_and_shows_each_kind(examples: dict[str, str]) -> None:
    assert GUIDE.read_text(encoding="utf-8").count("\n") <= 60
    assert list(examples) == ["method", "signal", "cost", "target"]


def test_the_list_names_what_a_package_brings(environment: dict[str, str], tmp_path: Path) -> None:
    done = _mpsearch("list", "methods", "signals", "costs", "targets", env=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert {"pulled_step", "relative_error", "traffic", "nibbles"} <= set(done.stdout.split())
    assert done.stderr == ""


def test_a_search_uses_all_four(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH], env=environment, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["tables"][0]["name"] == "relative_error"
    assert summary["artifact"] == "model.nibbles"
    assert (tmp_path / "run" / "model.nibbles").stat().st_size == summary["winner"]["costs"]["size"] == summary["artifact_bytes"]
    assert set(summary["winner"]["allocation"].values()) <= {"w4af", "w8af"}
    assert summary["winner"]["costs"]["traffic"] <= 1500
    assert "pulled_step" in (tmp_path / "run" / "study.yaml").read_text(encoding="utf-8")


def test_all_four_keep_the_contracts_that_others_may_import(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(CONTRACTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 20


BROKEN = {
    "raises": ("raise RuntimeError('no GPU here\\nsecond line')", "RuntimeError: no GPU here"),
    "taken": ("from mpsearch.methods import METHODS\nMETHODS.register('lsq')(int)", "method 'lsq' is registered twice"),
    "empty": ("", "'broken.empty' registers no method of that name"),
}


def test_a_broken_plugin_is_one_line_that_names_its_package(tmp_path: Path) -> None:
    modules = {name: source for name, (source, _) in BROKEN.items()}
    source = package(tmp_path / "source", "broken", modules, {"mpsearch.methods": {name: name for name in BROKEN}})
    environment = installed(source, tmp_path / "site")
    listed = _mpsearch("list", "methods", env=environment, cwd=tmp_path)
    assert listed.returncode == 0
    assert "lsq" in listed.stdout.split()
    lines = listed.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for line, name in zip(lines, sorted(BROKEN), strict=True):
        assert line.startswith(f"method '{name}' of the package broken 1.2 could not be loaded")
        assert BROKEN[name][1] in line
    refused = _mpsearch("study", "--methods", "raises", "--budget", "2MB", env=environment, cwd=tmp_path)
    assert refused.returncode == 2
    assert "no GPU here" in refused.stderr
    assert "package broken 1.2" in refused.stderr
    assert "Traceback" not in refused.stderr
