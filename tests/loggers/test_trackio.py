"""What Trackio's own interface finds in its database; in a process of its own, since Trackio reads its folder when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trackio", reason="trackio is not installed")

from mpsearch.testing.logger_contract import logged_summary

WRITE = """
import sys
from pathlib import Path
from mpsearch.loggers.trackio import Trackio
from mpsearch.testing.logger_contract import logged_begin, logged_summary
summary, first = logged_summary(), sys.argv[1] == "first"
logger = Trackio()
logger.on_begin(logged_begin(Path("run")))
for record in summary.trials[:2] if first else summary.trials[2:]:
    logger.on_trial(record)
if not first:
    for point in summary.winner.curve:
        logger.on_epoch("winner", point)
    logger.on_end(summary)
logger.close()
"""
READ = """
import json
from trackio.sqlite_storage import SQLiteStorage
run, = SQLiteStorage.get_runs("mpsearch")
names = ["trial/accuracy", "bits/conv1", "retraining/winner/loss", "summary/file bytes"]
rows = SQLiteStorage.get_logs("mpsearch", run)
print("FOUND" + json.dumps({name: {row["step"]: row[name] for row in rows if name in row} for name in names}))
"""


def test_a_run_that_was_interrupted_is_one_run_in_the_database(tmp_path: Path) -> None:
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for part in ("first", "second"):
        assert python(WRITE, part) == "", "standard output is for results"
    found = json.loads(python(READ).partition("FOUND")[2])
    summary = logged_summary()
    assert found["trial/accuracy"] == {str(record.number): record.score.metric for record in summary.trials if record.scored}
    assert found["bits/conv1"] == {str(record.number): record.allocation["conv1"].weight.bits for record in summary.trials}
    assert found["retraining/winner/loss"] == {str(point["epoch"]): point["loss"] for point in summary.winner.curve}
    assert found["summary/file bytes"] == {"0": summary.artifact_bytes}
