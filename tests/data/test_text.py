from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.data import load_data
from mpsearch.data.base import Splits
from mpsearch.data.split import Split

TEXT = "".join(f"line {number}: a cat sat on mat {number * 7 % 10}.\n" for number in range(200))


def loaded(place: Path, **options: Any) -> Splits:
    return load_data(f"text:{place}", **{"tokenizer": "bytes", "context": 16, **options})


def read(split: Split | None) -> tuple[torch.Tensor, torch.Tensor]:
    assert split is not None
    batches = list(split.batches(4))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def text_of(split: Split | None) -> str:
    x, y = read(split)
    return bytes(torch.cat([x, y[:, -1:]], 1).flatten().tolist()).decode()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus.txt").write_text(TEXT)
    return tmp_path / "corpus.txt"


def test_windows_hold_the_text_in_order_and_targets_are_the_next_tokens(corpus: Path) -> None:
    splits = loaded(corpus)
    for split in (splits.train, splits.validation, splits.test):
        x, y = read(split)
        assert x.shape[1] == 16
        assert torch.equal(x[:, 1:], y[:, :-1])
    together = text_of(splits.train) + text_of(splits.validation) + text_of(splits.test)
    assert TEXT.startswith(together)
    assert len(TEXT) - len(together) < 17
    assert splits.task.metric_name == "perplexity"


def test_shares_are_held_out_at_the_end_and_windows_bound_the_training(corpus: Path) -> None:
    every = len(TEXT) // 17
    splits = loaded(corpus, validation=0.2, test=0.1, windows=5)
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (5, int(0.2 * every), int(0.1 * every))
    assert TEXT.startswith(text_of(splits.train))


def test_named_files_are_the_splits(tmp_path: Path) -> None:
    for name, letter in (("train", "a"), ("validation", "b"), ("test", "c")):
        (tmp_path / f"{name}.txt").write_text(letter * 100)
    splits = loaded(tmp_path)
    assert [set(text_of(split)) for split in (splits.train, splits.validation, splits.test)] == [{"a"}, {"b"}, {"c"}]
    (tmp_path / "test.txt").unlink()
    assert loaded(tmp_path).test is None


def test_other_files_of_a_folder_are_one_text_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("b" * 300)
    (tmp_path / "a.txt").write_text("a" * 300)
    (tmp_path / "c.py").write_text("c" * 300)
    splits = loaded(tmp_path)
    assert text_of(splits.train).startswith("a" * 289)
    assert set(text_of(splits.test)) == {"b"}


def test_equal_content_has_equal_fingerprints(corpus: Path, tmp_path: Path) -> None:
    first = loaded(corpus)
    (tmp_path / "moved.txt").write_text(TEXT)
    assert loaded(tmp_path / "moved.txt").fingerprint == first.fingerprint
    assert loaded(corpus, context=8).fingerprint != first.fingerprint
    (tmp_path / "moved.txt").write_text(TEXT.replace("cat", "dog"))
    assert loaded(tmp_path / "moved.txt").fingerprint != first.fingerprint


def test_a_tokenizer_of_a_folder_is_read_without_adding_tokens(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "<unk>": 1, "cat": 2, "sat": 3}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", unk_token="<unk>").save_pretrained(tmp_path / "words")
    x, _ = read(loaded(corpus, tokenizer=str(tmp_path / "words"), context=9).train)
    assert x[0].tolist() == [1, 1, 1, 1, 2, 3, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": None}, r"data\.options\.tokenizer: text needs a tokenizer: the folder of the model, or bytes"),
        ({"tokenizer": 3}, "must be a folder, or bytes, got 3"),
        ({"context": 1}, "whole number of at least 2, got 1"),
        ({"context": True}, "whole number of at least 2, got True"),
        ({"windows": 0}, "whole number of at least 1, got 0"),
        ({"validation": 1.5}, "share between 0 and 1"),
        ({"validation": 0.6, "test": 0.5}, r"test take 1\.1 of the windows"),
        ({"batch": 3}, "'text' has no such option; it has tokenizer, context"),
    ],
)
def test_wrong_options_are_refused(corpus: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(corpus, **options)


def test_what_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1") * 1000)
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "empty").mkdir()
    named = tmp_path / "named"
    named.mkdir()
    (named / "train.txt").write_text(TEXT)
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    (lacking / "train.txt").write_text(TEXT)
    (lacking / "validation.txt").write_text("short")
    for reference, message in (
        ("text", r"needs a file or a folder; write text:FILE"),
        (f"text:{tmp_path}/none.txt", "there is no file or folder"),
        (f"text:{tmp_path}/latin.txt", r"is not in UTF-8 \(byte 0\); convert it"),
        (f"text:{tmp_path}/short.txt", "has 9 tokens, 0 windows of 17, of which validation and test get none; give 170 tokens or more"),
        (f"text:{tmp_path}/empty", r"holds no \.txt, \.md, \.rst file"),
        (f"text:{named}", "a train file but no validation file"),
        (f"text:{lacking}", "the validation text has 5 tokens, and one window takes 17"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            load_data(reference, tokenizer="bytes", context=16)
        assert "\n" not in str(caught.value)


def test_a_text_of_the_length_that_the_message_asks_for_is_enough(tmp_path: Path) -> None:
    (tmp_path / "just.txt").write_text("x" * 170)
    splits = loaded(tmp_path / "just.txt")
    assert (len(splits.train), len(splits.validation)) == (8, 1)


def test_a_folder_without_a_tokenizer_is_refused(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(DataError, match=r"holds no tokenizer that transformers reads .*; give the folder of the model") as caught:
        loaded(corpus, tokenizer=str(tmp_path))
    assert "\n" not in str(caught.value)
