from __future__ import annotations

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


@pytest.mark.parametrize("text", ["", "- 1", "just words", "1: 2"])
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
