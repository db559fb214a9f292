"""One command draws every SVG of docs/, and no page shows another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.pictures.__main__ import PICTURES

ROOT = Path(__file__).parents[3]


def test_names_are_the_svgs_of_docs_and_of_the_pages() -> None:
    assert {file.stem for file in (ROOT / "docs").glob("*.svg")} == set(PICTURES)
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"!\[[^\]]*\]\((?:docs/)?(\w+)\.svg\)", page.read_text())}
    assert shown == set(PICTURES)


def test_some_are_drawn_where_asked_and_unknown_names_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.pictures"]
    subprocess.run([*command, "size", "--out", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    assert [file.name for file in tmp_path.iterdir()] == ["size.svg"]
    refused = subprocess.run([*command, "sizes"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "no picture is called sizes; there are front, size, tabular, peers" in refused.stderr
