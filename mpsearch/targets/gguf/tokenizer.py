"""`Tokenizer`: the tokenizer of a Hugging Face folder as a GGUF file carries it: byte-level BPE whose splitting llama.cpp knows by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsearch.core.errors import ModelError
from mpsearch.core.files import is_file

__all__ = ["Tokenizer", "tokenizer_of"]

_FILE, _SETTINGS, _CHAT = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
"""Types of tokens in llama.cpp."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERNS = {_WORDS.replace("NUMBERS", r"\p{N}{1,3}"): "llama-bpe", _WORDS.replace("NUMBERS", r"\p{N}"): "qwen2"}
"""Regular expression of a split → llama.cpp's name for it."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A byte-level BPE.

    Args:
        splitting: llama.cpp's name for how text is split before merging.
        tokens: texts, one for each row of the embedding.
        types: of the tokens.
        merges: two texts and a blank between them, in order.
        begins: whether every text begins with the first of the special tokens.
        chat: template of a conversation; may be empty.
    """

    splitting: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    begins: bool
    chat: str


def tokenizer_of(folder: Path, rows: int) -> Tokenizer | None:
    """The tokenizer of a folder; None if the folder has none.

    Args:
        folder: that the model was loaded from.
        rows: of its embedding.

    Raises:
        ModelError: the tokenizer cannot be read, is of another kind, or has more tokens than the embedding has rows.
    """
    if not is_file(folder / _FILE):
        return None
    try:
        document = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8")) if is_file(folder / _SETTINGS) else {}
        return _read(document, _chat(folder, settings), rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / _FILE} cannot be read ({type(error).__name__}: {error}); save the tokenizer again by save_pretrained"
        ) from error


def _read(document: Mapping[str, Any], chat: str, rows: int) -> Tokenizer:
    model = document["model"]
    splitting = _splitting(document["pre_tokenizer"])
    if model["type"] != "BPE" or model.get("byte_fallback") or document.get("normalizer") not in (None, {"type": "NFC"}) or not splitting:
        raise ModelError(
            f"target 'gguf' carries byte-level BPE tokenizers that split as GPT-2, SmolLM, Llama 3 or Qwen 2, not this {model['type']}; "
            "use another target"
        )
    texts = {int(number): text for text, number in model["vocab"].items()}
    types = dict.fromkeys(texts, _NORMAL)
    for added in document.get("added_tokens", ()):
        texts[int(added["id"])] = added["content"]
        types[int(added["id"])] = _CONTROL if added["special"] else _USER_DEFINED
    if texts and max(texts) >= rows:
        raise ModelError(
            f"target 'gguf': the tokenizer has {max(texts) + 1} tokens, the model's embedding {rows} rows; give its own tokenizer"
        )
    merges = tuple(each if isinstance(each, str) else " ".join(each) for each in model["merges"])
    return Tokenizer(
        splitting=splitting,
        tokens=tuple(texts.get(number, f"[PAD{number}]") for number in range(rows)),
        types=tuple(types.get(number, _UNUSED) for number in range(rows)),
        merges=merges,
        begins=_begins(document.get("post_processor")),
        chat=chat,
    )


def _splitting(given: Any) -> str:
    """llama.cpp's name for a splitting; "" if it has none."""
    steps = list(given["pretokenizers"]) if given["type"] == "Sequence" else [given]
    *before, last = steps
    if last["type"] != "ByteLevel" or last.get("add_prefix_space"):
        return ""
    if last.get("use_regex", True):
        digits = [{"type": "Digits", "individual_digits": True}]
        return {0: "gpt-2"}.get(len(before), "smollm" if before == digits else "")
    if len(before) != 1 or before[0]["type"] != "Split" or before[0].get("invert") or before[0]["behavior"] != "Isolated":
        return ""
    return _PATTERNS.get(before[0]["pattern"].get("Regex", ""), "")


def _begins(processor: Any) -> bool:
    steps = [] if processor is None else processor["processors"] if processor["type"] == "Sequence" else [processor]
    return any("SpecialToken" in part for step in steps for part in step.get("single", ())[:1])


def _chat(folder: Path, settings: Mapping[str, Any]) -> str:
    if is_file(folder / _CHAT):
        return (folder / _CHAT).read_text(encoding="utf-8")
    template = settings.get("chat_template", "")
    return template if isinstance(template, str) else ""
