"""Tokenizers that llama.cpp knows are carried; others are one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.errors import ModelError
from mpsearch.targets.gguf.tokenizer import tokenizer_of

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")


def written(folder: Path, before: Any = None, normalizer: Any = None) -> Path:
    """A byte-level BPE of some words of a text."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    to_bytes = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=before is None or before.endswith("Digits"))
    steps = [] if before is None else [step_of(before)]
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([*steps, to_bytes]) if steps else to_bytes
    if normalizer is not None:
        made.normalizer = normalizer
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(["the weights of the layers of the network, 1234 of them"] * 4, trainer)
    made.save(str(folder / "tokenizer.json"))
    return folder


def step_of(name: str) -> Any:
    if name == "Digits":
        return tokenizers.pre_tokenizers.Digits(individual_digits=True)
    return tokenizers.pre_tokenizers.Split(tokenizers.Regex(name), "isolated")


LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")


@pytest.mark.parametrize(
    ("before", "name"), [(None, "gpt-2"), ("Digits", "smollm"), (LLAMA_3, "llama-bpe"), (QWEN_2, "qwen2")], ids=lambda each: str(each)[:8]
)
def test_its_tokens_merges_and_splitting_are_those_of_the_folder(before: str | None, name: str, tmp_path: Path) -> None:
    found = tokenizer_of(written(tmp_path, before), 310)
    assert found is not None
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    assert found.splitting == name
    assert {text: number for number, text in enumerate(found.tokens[: len(document["model"]["vocab"])])} == document["model"]["vocab"]
    assert found.types[0] == 3
    assert found.types[1] == 1
    assert (found.tokens[-1], found.types[-1]) == ("[PAD309]", 5)
    assert found.merges[0].split(" ") == list(document["model"]["merges"][0])
    assert not found.begins


def test_whether_texts_begin_with_a_token_is_read_from_the_template(tmp_path: Path) -> None:
    written(tmp_path)
    made = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    made.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    found = tokenizer_of(tmp_path, 310)
    assert found is not None
    assert found.begins
    assert found.chat == "{{ messages }}"


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert tokenizer_of(tmp_path, 10) is None


def test_what_llama_cpp_does_not_split_alike_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"carries byte-level BPE tokenizers that split as GPT-2, .*, not this BPE; use another target"):
        tokenizer_of(written(tmp_path, r"\p{L}+"), 310)
    with pytest.raises(ModelError, match="carries byte-level BPE tokenizers"):
        tokenizer_of(written(tmp_path, normalizer=tokenizers.normalizers.Lowercase()), 310)


def test_more_tokens_than_rows_and_a_damaged_file_are_one_line(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ModelError, match=r"the tokenizer has \d+ tokens, the model's embedding 100 rows"):
        tokenizer_of(tmp_path, 100)
    for text in ("{", "[]", '{"model": 5}', '{"model": {"type": "BPE"}, "pre_tokenizer": null}'):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(ModelError, match=r"tokenizer.json cannot be read \("):
            tokenizer_of(tmp_path, 310)
