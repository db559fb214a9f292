"""Every export stands in its table once, also what was not written and what no runtime loads."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.exports_table import table


def row(tool: str, allocation: str, **words: Any) -> dict[str, Any]:
    return {"tool": tool, "allocation": allocation, "format": "ONNX", "weight_bytes": 1000.0, **words}


RAN = {"bytes": 2500, "reported": 0.881, "runtime": 0.88, "differ": 6, "samples": 1000, "median": 0.0074}


def test_rows_are_in_order_and_the_last_one_counts() -> None:
    rows = [row("brevitas", "w4", **RAN), row("mpsearch", "w2", **RAN), row("brevitas", "w4", **{**RAN, "bytes": 1500})]
    assert table(rows).splitlines()[2:] == [
        "| mpsearch | w2 | ONNX | 2,500 | 2.50 | 88.1 | 88.0 | 6 of 1,000 | 7e-03 |",
        "| brevitas | w4 | ONNX | 1,500 | 1.50 | 88.1 | 88.0 | 6 of 1,000 | 7e-03 |",
    ]


def test_what_does_not_run_says_why() -> None:
    rows = [
        row("modelopt", "w2", error="AssertionError: 8 bits | no others"),
        row("modelopt", "w4", bytes=3000, reported=0.5, refused="no such operator"),
        row("brevitas", "w4", bytes=3000, reported=0.5, refused="no such operator", own=0.4, differ=1, samples=100, median=1e-8),
    ]
    assert [line.split(" | ", 5)[5] for line in table(rows).splitlines()[2:]] == [
        "50.0 | does not load: no such operator | - | - |",
        "- | not exported: AssertionError: 8 bits \\| no others | - | - |",
        "50.0 | does not load: no such operator; in the tool's own runtime 40.0 | 1 of 100 | 1e-08 |",
    ]
