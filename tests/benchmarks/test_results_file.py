from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_file import append, known, latest, read

ROWS = st.lists(st.dictionaries(st.sampled_from(["task", "metric", "note"]), st.integers() | st.text(max_size=4)), max_size=3)


@given(rows=ROWS)
def test_what_is_added_is_read_back_in_order(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    file = tmp_path_factory.mktemp("results") / "folder" / "rows.jsonl"
    for row in rows:
        append(file, row)
    assert read(file) == rows


def test_a_line_cut_off_by_a_kill_costs_that_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    append(file, {"seed": 0})
    with file.open("a") as stream:
        stream.write('{"seed": 1, "met')
    append(file, {"seed": 2})
    assert read(file) == [{"seed": 0}, {"seed": 2}]


def test_keys_that_a_row_lacks_are_none() -> None:
    assert known([{"a": 1, "b": 2}, {"a": 3}], ("a", "b")) == {(1, 2), (3, None)}


def test_what_was_measured_again_counts_once() -> None:
    rows = [{"seed": 0, "status": "failed"}, {"seed": 1, "status": "done"}, {"seed": 0, "status": "done"}]
    assert sorted(latest(rows, ("seed",)), key=lambda row: row["seed"]) == [{"seed": 0, "status": "done"}, {"seed": 1, "status": "done"}]
