from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.config import dump_bits, load_bits
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError


def test_round_trip(tmp_path: Path) -> None:
    allocation = Allocation({"conv1": Choice(8, 8), "fc": Choice(1), "head": Choice(32)})
    file = tmp_path / "bits.yaml"
    file.write_text(dump_bits(allocation))
    assert load_bits(file) == allocation


def test_edited_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "bits.yaml"
    file.write_text("# mine\nconv1: 4\nfc: w2a8\n")
    assert load_bits(file) == Allocation({"conv1": Choice(4), "fc": Choice(2, 8)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv1: 9", r"bits\.yaml: conv1: uniform numbers have 1 to 8 bits, not 9"),
        ("conv1: w4", r"bits\.yaml: conv1: a choice"),
        ("{}", "names no layer"),
        ("a: 4\na: 2", "twice"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bits.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_bits(file)
