"""A row is a search, a repeated command skips what is there, a refusal is told, and the table says all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from results_file import Row, append, read
from torch import nn

from benchmarks.zoo.__main__ import SHARES, run
from benchmarks.zoo.case import Case, Rival, Samples, load_package
from benchmarks.zoo.measure import float_bytes
from benchmarks.zoo.networks import NETWORKS, Network
from benchmarks.zoo.table import loss, table
from mpsearch.tasks.task import Task


def tiny() -> Case:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 3)).eval()
    splits = []
    for _ in range(3):
        x = torch.randn(48, 16, generator=generator)
        with torch.no_grad():
            splits.append(Samples([x], model(x)))
    return Case(
        model=model,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        task=Task.custom(
            loss=lambda outputs, wanted: F.mse_loss(outputs, wanted),
            metric=lambda outputs, wanted: (outputs - wanted).square().mean(1),
            metric_name="squared distance",
        ),
        gap="distance",
        epochs=0,
        trials=1,
        images=32,
        signals=("fisher",),
        methods=("lsq",),
        rivals=[Rival(name="itself", model=model, bytes=float_bytes(model))],
    )


def test_rows_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "zoo.jsonl"
    networks = {"pnet": Network(title="tiny", build=tiny)}
    run(out, ["pnet"], 60.0, networks)
    rows = read(out)
    done = [row for row in rows if row["status"] == "done"]
    assert [row["share"] for row in done] == list(SHARES)
    assert [row["found"] for row in rows if row["status"] == "rival"] == [0.0]
    for row in done:
        assert row["bytes"] <= row["share"] * row["float_bytes"]
        assert row["found"] > row["float"] == 0.0
        assert row["bits"] < 8
    assert done[0]["found"] < done[1]["found"]  # fewer bytes, more distance
    monkeypatch.setattr("benchmarks.zoo.__main__.measure", lambda job, case: pytest.fail("measured again"))
    run(out, ["pnet"], 60.0, networks)
    assert read(out) == rows


def test_a_refusal_is_a_row(tmp_path: Path) -> None:
    def not_finite() -> Case:
        case = tiny()
        model = nn.Sequential(nn.Linear(16, 3)).eval()
        model[0].weight.data[:] = torch.nan
        return Case(**{**vars(case), "model": model, "rivals": ()})

    out = tmp_path / "zoo.jsonl"
    run(out, ["pnet"], 60.0, {"pnet": Network(title="tiny", build=not_finite)})
    assert {row["status"] for row in read(out)} == {"refused"}
    assert "refused: " in table(read(out))


def row(**fields: object) -> Row:
    return {
        "network": "rnet",
        "share": 0.25,
        "trained": False,
        "float_bytes": 1000,
        "metric": "accuracy",
        "gap": "share",
        "status": "done",
        "float": 0.8,
        "found": 0.6,
        "bytes": 250,
        "uniform": None,
        "unquantized": [{"reason": "bias", "bytes": 25}],
    } | fields


def test_losses_are_shares_of_the_float_metric() -> None:
    assert loss(row(), 0.6) == pytest.approx(0.25)
    assert loss(row(gap="error", float=2.0), 2.5) == pytest.approx(0.25)
    assert loss(row(gap="distance", float=0.0), 0.1) is None


def test_the_table_tells_calibrated_and_trained_apart(tmp_path: Path) -> None:
    out = tmp_path / "zoo.jsonl"
    append(out, row())
    append(out, row(trained=True, found=0.8, uniform=0.7, uniform_bits="w6af", uniform_bytes=240))
    text = table(read(out))
    (line,) = [line for line in text.splitlines() if line.startswith("| MTCNN R-Net")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["MTCNN R-Net, accuracy", "0.8", "25% of 1,000 B"]
    assert cells[3:5] == ["**0.6** (+25.00 % lost), 250 B", "none fits"]
    assert cells[5:7] == ["**0.8** (+0.00 % lost), 250 B", "0.7 (w6af, 240 B)"]
    assert cells[-1] == "25 B, 10.0%"


def test_every_network_has_a_title() -> None:
    assert len({network.title for network in NETWORKS.values()}) == len(NETWORKS)


def test_a_missing_package_is_one_line() -> None:
    with pytest.raises(SystemExit, match="'no_such_package_at_all' is not installed"):
        load_package("no_such_package_at_all")
