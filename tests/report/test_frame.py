from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.report.frame import trials_frame
from tests.report.summaries import make_summary


def test_without_pandas_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^to_dataframe needs pandas; pip install 'mpsearch\[pandas\]'$"):
        trials_frame(make_summary())


def test_a_row_for_each_trial() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    summary = make_summary()
    failed = replace(summary.trials[0], number=99, scores={}, rung="", status="failed", note="diverged")
    frame = trials_frame(replace(summary, trials=(*summary.trials, failed)))
    assert list(frame.index) == [*(record.number for record in summary.trials), 99]
    for record in summary.trials:
        if not record.scored:
            continue
        row = frame.loc[record.number]
        assert (row["accuracy"], row["loss"], row["size"]) == (record.score.metric, record.score.loss, record.costs["size"])
        assert {layer: row[f"bits.{layer}"] for layer in record.allocation} == record.allocation.to_dict()
        assert row[f"score.{record.rung}"] == record.score.metric
    assert frame.loc[99, "note"] == "diverged"
    assert frame["accuracy"].isna().sum() == 1 + sum(not record.scored for record in summary.trials)


def test_a_run_without_trials_is_an_empty_frame() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    assert trials_frame(replace(make_summary(), trials=())).empty
