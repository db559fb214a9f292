"""What lies in the files of an offline run, which `wandb sync` would send: records of the wandb protocol in blocks of a LevelDB log."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb", reason="wandb is not installed")

from mpsearch.loggers.wandb import WeightsAndBiases
from mpsearch.testing.logger_contract import logged_begin, logged_summary

pytestmark = pytest.mark.filterwarnings("ignore")  # of wandb's own code
BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: after a header of 7 bytes, fragments of (checksum, length, kind, content)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def rows(file: Path) -> list[dict[str, Any]]:
    """The history."""
    found = [record.history for record in records(file) if record.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in found]


def summary_of(file: Path) -> dict[str, Any]:
    found = [record.summary for record in records(file) if record.WhichOneof("record_type") == "summary"]
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for each in found for item in each.update}


def test_trials_epochs_and_summary_lie_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    summary = logged_summary()
    logger = WeightsAndBiases("mine")
    logger.on_begin(logged_begin(tmp_path))
    for record in summary.trials:
        logger.on_trial(record)
    for point in summary.winner.curve:
        logger.on_epoch("winner", point)
    logger.on_end(summary)
    logger.close()
    wandb.teardown()  # its own process writes behind
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert file.name == "run-0123456789ab.wandb"
    history = rows(file)
    trials = {row["trial/number"]: row for row in history if "trial/number" in row}
    assert {number: row.get("trial/accuracy") for number, row in trials.items()} == {
        record.number: record.score.metric if record.scored else None for record in summary.trials
    }
    assert [row["bits/conv1"] for row in trials.values()] == [record.allocation["conv1"].weight.bits for record in summary.trials]
    assert trials[0]["trial/origin"] == "milp:fisher"
    epochs = {row["retraining/winner/epoch"]: row for row in history if "retraining/winner/epoch" in row}
    assert {epoch: row["retraining/winner/loss"] for epoch, row in epochs.items()} == {p["epoch"]: p["loss"] for p in summary.winner.curve}
    assert summary_of(file)["summary/file bytes"] == summary.artifact_bytes
