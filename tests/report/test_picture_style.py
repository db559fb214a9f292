"""An SVG is text that can be read, and the same file for the same numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib as mpl

from mpsearch.report.picture_style import axes_of, percent_axis, save, styled, titled

SVG = "{http://www.w3.org/2000/svg}"


def drawn(file: Path) -> Path:
    with styled():
        figure, axes = axes_of(400, 200, left=40, right=20, top=60, bottom=40)
        titled(figure, "Title <b>", "line below", left=40)
        axes.plot([0, 1], [0.25, 0.75])
        axes.set_yticks([0.5])
        percent_axis(axes)
        save(figure, file, "what is seen")
    return file


def test_text_is_text_and_the_file_repeats(tmp_path: Path) -> None:
    file = drawn(tmp_path / "a.svg")
    root = ElementTree.fromstring(file.read_text())
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"Title <b>", "line below", "50 %"} <= set(words)
    assert root.findtext(f"{SVG}title") == "what is seen"
    assert root.get("width") == "300pt"  # 400 pixels
    assert drawn(tmp_path / "b.svg").read_bytes() == file.read_bytes()


def test_a_matplotlibrc_in_the_working_directory_has_no_say(tmp_path: Path) -> None:
    with mpl.rc_context({"text.usetex": True, "savefig.pad_inches": 3.0, "axes.facecolor": "black"}):  # as such a file sets
        with styled():
            assert not mpl.rcParams["text.usetex"]
        changed = drawn(tmp_path / "a.svg").read_bytes()
        assert mpl.rcParams["text.usetex"]
    assert changed == drawn(tmp_path / "b.svg").read_bytes()
