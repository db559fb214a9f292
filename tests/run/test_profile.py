"""Latencies that are measured here: complete, resumable, refused where they do not belong, and a budget that the search keeps."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpsearch.allocate.solve import solve
from mpsearch.config import StudyConfig
from mpsearch.config.hardware import load_hardware
from mpsearch.config.latency_profile import dump_latency_profile
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Silent
from mpsearch.costs.latency_profile import LatencyProfile
from mpsearch.report.wording import latency_sentence
from mpsearch.run import profile, run_study, sensitivities
from mpsearch.run.setup import build_setup
from tests.run.tiny import tiny_study

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on this machine")

FEW = {"name": "few", "weights": [4, 8], "activations": [8, "float"]}
QUICK = {"repeats": 5, "networks": 20}


class Lines(Silent):
    """Remembers lines, and stops at a layer as Ctrl-C does."""

    def __init__(self, stop: str = "") -> None:
        self.lines: list[str] = []
        self.layers: list[str] = []
        self._stop = stop

    @contextmanager
    def phase(self, title: str, total: float = 1) -> Iterator[Lines]:
        yield self

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        if text == self._stop != "":
            raise KeyboardInterrupt
        self.layers += [text] if text else []

    def say(self, text: str) -> None:
        self.lines.append(text)


def study(**changes: Any) -> StudyConfig:
    return tiny_study(**{"space": FEW, "target": "c", **changes})


def held(path: Path) -> LatencyProfile:
    found = load_hardware(path)
    assert isinstance(found, LatencyProfile)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured in two calls, the first of which was interrupted at the second layer."""
    path = tmp_path_factory.mktemp("profile") / "c.yaml"
    with pytest.raises(KeyboardInterrupt):
        profile(study(), path, Lines(stop="3"), **QUICK)
    assert [name for name, cells in held(path).cells.items() if cells] == ["1"]
    assert held(path).check is None
    again = Lines()
    profile(study(), path, again, **QUICK)
    assert again.layers == ["3", "5"]
    assert f"{path}: goes on after 4 times of layers and 0 whole networks" in again.lines
    return path


def test_every_layer_has_a_time_in_every_choice(file: Path) -> None:
    found = held(file)
    assert found.layers == ("1", "3", "5")
    assert all(sorted(map(str, found.cells[name])) == ["w4a8", "w4af", "w8a8", "w8af"] for name in found.layers)
    assert found.unmeasured == {}
    assert (found.target, found.threads, found.batch, found.repeats, found.calls) == ("c", 1, 1, 5, 3.0)
    assert found.runtime.endswith("-O2")
    assert found.check is not None
    assert found.check.networks == len({network.choices for network in found.networks}) == 20
    assert math.isfinite(found.check.median)
    assert found.pace is not None
    assert found.call is not None
    assert found.call.median < found.pace.median


def test_a_finished_profile_is_not_measured_again(file: Path) -> None:
    again, before = Lines(), held(file)
    after = profile(study(), file, again, **QUICK)
    assert again.layers == []
    for name in before.layers:
        for choice, timing in before.cells[name].items():
            assert after.cells[name][choice].median == pytest.approx(timing.median, rel=1e-4)


@pytest.mark.slow
def test_further_choices_are_added(file: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(file, tmp_path / "more.yaml"))
    wider = profile(study(space={**FEW, "weights": [4, 8, 2], "activations": ["float"]}), path, Lines(), **QUICK)
    assert all(len(cells) == 5 for cells in wider.cells.values())


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"batch": 2}, r"holds a profile with another batch \(1, not 2\); give another --out"),
        ({"model": {"factory": "tests.run.tiny:digits_net", "options": {"width": 8}}}, {}, "holds a profile with another network"),
        ({}, {"threads": 10_000}, "--runtime-threads 10000: this machine has"),
        ({"target": "packed"}, {}, "target 'packed' has no runtime in which latency is measured; use onnx, onnx-qdq or c"),
        ({}, {"batch": 100_000}, "--batch 100000: the study's data give"),
    ],
)
def test_what_does_not_belong_to_the_file_or_the_machine_is_refused(
    file: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=message):
        profile(study(**changes), file, Silent(), **{**QUICK, **settings})
    assert file.read_bytes() == before


def test_a_c_program_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    with pytest.raises(ConfigError, match="the C program has one thread, not 2; leave --runtime-threads out"):
        profile(study(), tmp_path / "p.yaml", Silent(), threads=2)


@pytest.mark.parametrize(
    ("target", "message"), [("c", "no C compiler found .* install one"), ("onnx-qdq", r"needs onnxruntime; pip install 'mpsearch\[onnx\]'")]
)
def test_what_is_not_installed_is_a_line_with_the_cure(target: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        profile(study(target=target), tmp_path / "p.yaml", Silent())
    assert list(tmp_path.iterdir()) == []


def test_another_network_is_refused_and_another_machine_told(file: Path, tmp_path: Path) -> None:
    other = {"factory": "tests.run.tiny:digits_net", "options": {"width": 8}}
    with pytest.raises(ConfigError, match="this latency profile is of another network"):
        build_setup(study(hardware=str(file), model=other), Silent())
    moved = tmp_path / "moved.yaml"
    moved.write_text(dump_latency_profile(replace(held(file), processor="Another", cores=77)), encoding="utf-8")
    said = Lines()
    build_setup(study(hardware=str(moved), model={"factory": "tests.run.tiny:digits_net"}, float_recipe={"epochs": 1}), said)
    assert any("another processor (Another; here: " in line for line in said.lines)
    assert any("another number of cores (77; here: " in line for line in said.lines)


def test_choices_without_a_time_leave_the_menus_by_name(file: Path) -> None:
    said = Lines()
    setup = build_setup(study(hardware=str(file), space={**FEW, "weights": [2, 4, 8]}), said)
    assert all(str(choice)[:2] != "w2" for menu in setup.problem.space.menus for choice in menu)
    assert any("no latency was measured, so it is left out: not in the profile: w2a8 (1, 3, 5)" in line for line in said.lines)


def test_size_and_latency_together_are_met_as_brute_force_meets_them(file: Path) -> None:
    config = study(hardware=str(file))
    space, tables = sensitivities(config)
    costs = build_setup(config, Silent()).problem.costs
    everything = [Allocation(dict(zip(space.names, picks, strict=True))) for picks in itertools.product(*space.menus)]
    assert len(everything) == 64
    sizes, times = (sorted(costs[name].total(each) for each in everything) for name in ("size", "latency"))
    met = 0
    for bytes_, seconds in itertools.product(sizes[::13], times[::13]):
        budgets = [Budget("size", bytes_, f"{bytes_}B"), Budget("latency", seconds, f"{seconds}s")]
        fitting = [each for each in everything if all(costs[b.cost].total(each) <= b.limit for b in budgets)]
        if not fitting:
            continue
        best = min(tables[0].total(each) for each in fitting)
        found = solve(space, tables[0], costs, budgets).allocation
        assert all(costs[b.cost].total(found) <= b.limit for b in budgets)
        assert tables[0].total(found) == pytest.approx(best, rel=1e-9)
        met += len(fitting) < len(everything)
    assert met >= 5


def test_the_winner_is_measured_as_a_whole_network(file: Path, tmp_path: Path) -> None:
    config = study(hardware=str(file), budgets=["1s", "6bit"])
    summary = run_study(config, tmp_path / "run", "mpsearch study", Silent())
    assert summary.latency is not None
    assert 0 < summary.latency.low <= summary.latency.median <= summary.latency.high
    assert summary.latency.place == held(file).place
    sentence = latency_sentence(summary)
    assert sentence.startswith("Latency: model.c measured ")
    assert "budget 1s (met); predicted " in sentence
    assert sentence in (tmp_path / "run" / "front.html").read_text(encoding="utf-8").replace("&#x27;", "'")
    assert run_study(config, tmp_path / "run", "mpsearch study", Silent()).latency == summary.latency


def test_a_file_for_another_target_is_not_said_to_be_measured(file: Path, tmp_path: Path) -> None:
    config = study(hardware=str(file), target="packed", budgets=["6bit"])
    summary = run_study(config, tmp_path / "run", "mpsearch study", Silent())
    assert summary.latency is None
    assert latency_sentence(summary) == ""
    assert any("was not measured: the profile is of target c, and model.safetensors is for packed" in line for line in summary.skipped)


@pytest.mark.slow
def test_onnx_runtime_with_a_batch_and_a_space_of_a_few_networks(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    said, space = Lines(), {"name": "two", "weights": [8], "activations": [8, "float"], "pins": {"5": "w8af"}}
    found = profile(study(space=space, target="onnx-qdq"), tmp_path / "qdq.yaml", said, repeats=3, networks=20, batch=4)
    assert {name: len(cells) for name, cells in found.cells.items()} == {"1": 2, "3": 2, "5": 1}
    assert len(found.networks) == 4
    assert "this space has only 4 allocations to measure as whole networks" in said.lines
    assert found.runtime.startswith("onnxruntime ")
    assert "followed by that and by a layer that reads one position" in " ".join(found.how.split())
    assert found.seconds("5", Choice(8)) is not None


def test_a_target_is_measured_with_its_settings(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, space = {"factory": "tests.run.tiny:residual_net"}, {"name": "two", "weights": [8], "activations": [8, "float"]}
    config = study(model=model, space=space, target="onnx-qdq", target_settings={"vnni": True})
    found = profile(config, tmp_path / "qdq.yaml", Silent(), repeats=3, networks=20, batch=1)
    assert found.runtime.endswith(", 8-bit weights as with VNNI")
    assert set(found.cells) == {"stem", "first", "last"}
    assert not found.unmeasured
