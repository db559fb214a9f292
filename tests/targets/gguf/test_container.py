"""The frame of a GGUF file: read as the package `gguf` reads it, and forged frames are one line."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.errors import ArtifactError
from mpsearch.targets.gguf.container import DIGEST, Container, digest_of


def written(path: Path) -> Path:
    """A small file with every type of value, sealed as ours are."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string(DIGEST, "0" * 32)
    writer.add_string("mpsearch.format", "some")
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "bc"])
    writer.add_array("tokenizer.ggml.token_type", [1, 2, 3])
    writer.add_bool("one", True)
    writer.add_float32("two", 0.5)
    writer.add_uint64("three", 2**40)
    writer.add_tensor("a.weight", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("b.weight", np.arange(68, dtype=np.uint8).reshape(2, 34), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sealed(path, path.read_bytes())


def sealed(path: Path, content: bytes) -> Path:
    """With a right digest, as a forger would write it."""
    start = content.find(DIGEST.encode()) + len(DIGEST) + 12
    right = digest_of(content, content[start : start + 32]).encode()
    path.write_bytes(content[:start] + right + content[start + 32 :])
    return path


def test_tensors_and_texts_are_where_gguf_finds_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gguf")
    found, theirs = Container.read(path), gguf.GGUFReader(path)
    assert found.ours["format"] == "some"
    assert found.size == path.stat().st_size
    assert {name: each.start for name, each in found.tensors.items()} == {each.name: each.data_offset for each in theirs.tensors}
    assert found.tensors["a.weight"].shape == (3, 4)
    assert found.bytes_of("a.weight", 48) == np.arange(12, dtype="<f4").tobytes()
    with pytest.raises(ArtifactError, match=r"lacks the tensor 'c.weight'"):
        found.bytes_of("c.weight", 1)
    with pytest.raises(ArtifactError, match=r"lacks the tensor 'b.weight'"):
        found.bytes_of("b.weight", 10**9)


def test_a_change_anywhere_is_found_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gguf")
    whole = path.read_bytes()
    for position in range(0, len(whole), 37):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ArtifactError):
            Container.read(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_forged_lengths_are_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Right digests over numbers that no sound file has: read, or refused by an error of ours, without much memory."""
    path = written(tmp_path_factory.mktemp("forged") / "a.gguf")
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(4, len(whole) - 9))
    whole[position : position + 8] = struct.pack("<Q", data.draw(st.sampled_from([0, 1, 2**31, 2**40, 2**63, 2**64 - 1])))
    try:
        sealed(path, bytes(whole))
    except ValueError:  # its digest was overwritten, so that nobody can seal it
        path.write_bytes(whole)
    with suppress(ArtifactError):
        Container.read(path)


def test_files_of_others_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("a.weight", np.zeros(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArtifactError, match=r"was not written by mpsearch \(it lacks the key mpsearch.digest\)"):
        Container.read(path)
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"truncated or no GGUF file"):
        Container.read(path)
    with pytest.raises(ArtifactError, match=r"no artifact at"):
        Container.read(tmp_path / "none.gguf")
