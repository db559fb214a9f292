"""Every row of a comparison stands in its table once."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers.table import label, lines, read, table

FULL = [1, 2, 3, 4, 5, 6, 7, 8]
KEPT = Path(__file__).parents[3] / "docs" / "results" / "peers"


def row(source: str, bits: float, test: float, **words: object) -> dict[str, object]:
    return {"source": source, "asked_bits": bits, "act_bits": 8, "menu": FULL, "test": test, "method": "gptq", **words}


def test_rows_of_several_files_meet_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([row("mct", 4, 0.5, menu=[2, 4, 8])]))
    (tmp_path / "b.json").write_text(json.dumps([row("mpsearch", 4.0, 0.89), row("mpsearch", 2.5, 0.8801)]))
    assert table(read(tmp_path)).splitlines()[2:] == [
        "| mpsearch {1, 2, 3, 4, 5, 6, 7, 8} | gptq | 8 | 89.00 | 88.01 |",
        "| mct {2, 4, 8} | gptq | 8 | 50.00 | - |",
    ]


def test_draws_of_images_meet_in_one_cell(tmp_path: Path) -> None:
    for folder, metric in ((tmp_path, 0.85), (tmp_path / "seed1", 0.87), (tmp_path / "seed2", 0.89)):
        folder.mkdir(exist_ok=True)
        (folder / "ours.json").write_text(json.dumps([row("mpsearch", 4, metric)]))
    rows = read(tmp_path)
    assert table(rows).splitlines()[2] == "| mpsearch {1, 2, 3, 4, 5, 6, 7, 8} | gptq | 8 | 87.00 ± 2.00 |"


def test_what_was_trained_or_set_otherwise_has_its_own_line() -> None:
    rows = [
        row("mpsearch", 4, 0.8),
        row("mpsearch", 4, 0.9, epochs=3, train_images=10_000),
        row("mpsearch", 4, 0.7, settings={"iterations": 9}),
        row("mpsearch", 4, 0.6, act_bits=32),
    ]
    assert len({label(each) for each in rows}) == len(lines(rows)) == len(rows)
    assert label(rows[1]).endswith("gptq, then 3 epochs of 10,000 images | 8")


def test_rows_that_are_kept_meet_their_budgets() -> None:
    rows = [each for each in read(KEPT) if "mean_bits" in each]
    assert rows
    assert all(each["mean_bits"] <= each["asked_bits"] + 1e-9 for each in rows)
