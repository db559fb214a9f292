from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpsearch.config.yaml_file import dump_yaml, parse_yaml, read_yaml
from mpsearch.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("no", "no"),
        ("true", True),
        ("1e-3", 0.001),
        ("1.5e2", 150.0),
        ("-.5", -0.5),
        ("3", 3),
        ("1.0.0", "1.0.0"),
    ],
)
def test_scalars_read_as_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(text, label="x")
    assert read == value
    assert type(read) is type(value)


def test_duplicate_key_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^x: line 3, column 1: the key 'a' appears twice$"):
        parse_yaml("a: 1\nb: 2\na: 3\n", label="x")


def test_nested_duplicate_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="'lr' appears twice"):
        parse_yaml("recipe:\n  lr: 1\n  lr: 2\n", label="x")


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.getcwd []", "a: !custom 1", "a: [1", "a: b: c", "\x00"])
def test_tags_and_broken_text_are_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, label="x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1", "just words", "1.5: 2", "true: 2"])
def test_a_file_must_hold_a_mapping_with_text_keys(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="must hold a mapping"):
        read_yaml(file)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["on", "yes", "w4a8", "2MB", "a b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["lr", "a-b", "off"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["x", "y", "no"]), plain, max_size=3))
def test_what_is_dumped_reads_back(content: dict[str, object]) -> None:
    assert parse_yaml(dump_yaml(content), label="x") == content


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "more than 100,000 values, aliases written out"),
        ("a: &a [*a]", "an alias stands for something that holds it"),
        ("a: &a {b: {c: *a}}", "an alias stands for something that holds it"),
        ("[" * 3000, "nested more than 50 deep"),
        ("a: " + "{b: " * 3000, "nested more than 50 deep"),
        ("a: " + "9" * 5000, "a number of 5,000 characters"),
        ("!!int ''", "this cannot be read as int"),
        ("a: !!float word", "this cannot be read as float"),
        ("a: !!map [1]", "expected a mapping node, but found sequence"),
        ("a: !!timestamp 2000-13-45", "could not determine a constructor"),
        ("a: !!binary aGk=", "could not determine a constructor"),
        ('a: "\\ud800"', "half a surrogate pair is no character"),
        ("a" * 1_000_001, "1,000,001 characters, where at most 1,000,000 are read"),
    ],
    ids=range(13),
)
def test_what_is_made_to_harm_is_one_quick_line(text: str, problem: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_yaml(text, label="x")
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["2000-13-45", "2000-01-01", "1:30:30", "0x1f", "010", "1_000", "="])
def test_what_only_yaml_1_1_knows_is_text(text: str) -> None:
    assert parse_yaml(text, label="x") == text


def test_aliases_and_merges_of_ordinary_size_are_read() -> None:
    read = parse_yaml("base: &base {a: 1, b: [2]}\nother: {<<: *base, c: *base}", label="x")
    assert read == {"base": {"a": 1, "b": [2]}, "other": {"a": 1, "b": [2], "c": {"a": 1, "b": [2]}}}


def test_layers_of_a_sequential_need_no_quotes(tmp_path: Path) -> None:
    file = tmp_path / "bits.yaml"
    file.write_text("0: w4a8\n'2': w2\n")
    assert read_yaml(file) == {"0": "w4a8", "2": "w2"}


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    pipe, large = tmp_path / "pipe.yaml", tmp_path / "large.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"pipe\.yaml: cannot be read: no regular file"):
        read_yaml(pipe)
    with large.open("wb") as stream:
        stream.truncate(2**32)
    with pytest.raises(ConfigError, match=r"large\.yaml: 4,294,967,296 B, where at most 1,000,000 characters are read"):
        read_yaml(large)
