"""What TensorBoard's own reader finds in the event files."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mpsearch.loggers.tensorboard import TensorBoard
from mpsearch.testing.logger_contract import logged_begin, logged_summary


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def test_trials_epochs_and_summary_can_be_read_back(tmp_path: Path) -> None:
    summary = logged_summary()
    logger = TensorBoard()
    logger.on_begin(logged_begin(tmp_path))
    for record in summary.trials:
        logger.on_trial(record)
    for point in summary.winner.curve:
        logger.on_epoch("winner", point)
    logger.on_end(summary)
    logger.close()
    events = read(tmp_path / "tensorboard")
    scored = {record.number: record for record in summary.trials if record.scored}
    for tag, expected in (
        ("trial/accuracy", {number: record.score.metric for number, record in scored.items()}),
        ("trial/size", {record.number: record.costs["size"] for record in summary.trials}),
        ("bits/conv1", {record.number: record.allocation["conv1"].weight.bits for record in summary.trials}),
        ("retraining/winner/loss", {point["epoch"]: point["loss"] for point in summary.winner.curve}),
        ("summary/file bytes", {0: summary.artifact_bytes}),
    ):
        assert {event.step: event.value for event in events.Scalars(tag)} == pytest.approx(expected)
    texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("trial/bits/text_summary")]
    assert "    conv1: w2a8" in texts[0]


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    logger = TensorBoard(str(tmp_path / "mine"))
    logger.on_begin(logged_begin(tmp_path))
    logger.close()
    assert list((tmp_path / "mine").iterdir())
    assert not (tmp_path / "tensorboard").exists()
