"""Archives as zip readers see them, of a length that the number in them does not change."""

from __future__ import annotations

import io
import zipfile

import pytest

from mpsearch.targets.pt2.archive import archive, stored, with_number


@pytest.mark.parametrize("number", [0, 7, 123_456_789_012])
def test_contents_come_back_and_the_length_is_always_the_same(number: int) -> None:
    pieces = (b'{"a": ' * 50, b', "b": ' * 3, b"}" * 90)
    written = archive({"plain": stored(b"abc"), "folder/text": with_number(pieces, number)})
    with zipfile.ZipFile(io.BytesIO(written)) as held:
        assert held.testzip() is None
        assert held.read("plain") == b"abc"
        assert held.read("folder/text") == f"{number:>12}".encode().join(pieces)
        assert held.getinfo("folder/text").compress_size < 150
    assert len(written) == len(archive({"plain": stored(b"abc"), "folder/text": with_number(pieces, 1)}))
