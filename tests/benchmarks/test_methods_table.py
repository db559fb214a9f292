from pathlib import Path

import pytest
from methods_markdown import compare, mean_and_spread, write_between_markers
from methods_table import CLOSE, cells

from mpsearch.core.number_format import FLOAT_BITS


def row(method: str, metric: float, seed: int = 0, weight_bits: int = 2, task: str = "cifar", **other: object) -> dict[str, object]:
    return {
        "task": task,
        "method": method,
        "weight_bits": weight_bits,
        "act_bits": FLOAT_BITS,
        "seed": seed,
        "epochs": 3,
        "metric": metric,
        "float": 0.9,
        "calibrated": {"validation": metric},
        "status": "done",
    } | other


def test_a_run_cut_short_has_seed_0_of_everything() -> None:
    found = cells(["digits", "cifar"], ["ste", "lsq"], None, [])
    seeds = [cell.seed for cell in found]
    assert seeds == sorted(seeds)
    assert len(found) == len(set(found)) == 2 * (3 * 4 * 2 + 3)
    assert {(cell.task, cell.weight_bits) for cell in found[:4]} == {("digits", 2), ("cifar", 2)}


def test_close_calls_get_a_second_seed_beside_the_reference() -> None:
    rows = [row("ste", 0.88), row("lsq", 0.88 + CLOSE / 2), row("alq", 0.88 + 2 * CLOSE)]
    second = [cell.method for cell in cells(["cifar"], ["ste", "lsq", "alq"], None, rows) if cell.seed == 1]
    assert second == ["ste", "lsq"]


def test_nothing_close_no_second_seed() -> None:
    rows = [row("ste", 0.88), row("lsq", 0.88 + 2 * CLOSE)]
    assert {cell.seed for cell in cells(["cifar"], ["ste", "lsq"], None, rows)} == {0}


def test_differences_are_taken_at_the_seeds_that_both_have() -> None:
    rows = [row("ste", 0.80), row("ste", 0.90, seed=1), row("lsq", 0.91, seed=1)]
    line = next(line for line in compare(rows).splitlines() if line.startswith("| `lsq`"))
    assert line == "| `lsq` | 91.00 | +1.00 | 1 |"


def test_failures_are_told_and_not_averaged() -> None:
    text = compare([row("ste", 0.8), row("lsq", 0.0, status="failed", reason="TrainingDiverged: NaN")])
    assert "cifar lsq w2af, seed 0: TrainingDiverged: NaN" in text
    assert "`lsq` |" not in text


def test_the_spread_is_that_of_a_sample() -> None:
    assert mean_and_spread([0.5]) == "50.00"
    assert mean_and_spread([0.4, 0.6]) == "50.00 ± 14.14"


def test_a_page_keeps_what_is_around_its_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- methods -->\nold\n<!-- /methods -->\nafter\n")
    for _ in range(2):
        write_between_markers(page, "methods", "new")
    assert page.read_text() == "before\n<!-- methods -->\nnew\n<!-- /methods -->\nafter\n"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="needs the markers"):
        write_between_markers(page, "methods", "new")
    assert page.read_text() == "nothing"
