"""`text:FILE` and `text:DIR`: a corpus as windows of tokens, each with the tokens that follow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.core.extras import needs
from mpsearch.core.files import is_file
from mpsearch.core.progress import Progress
from mpsearch.data import DATA
from mpsearch.data.base import Splits
from mpsearch.data.fingerprint import content_digest
from mpsearch.data.source import DataSource, option_error, require_fraction
from mpsearch.data.token_split import TokenSplit
from mpsearch.tasks.task import Task

__all__ = ["BYTES", "Text"]

BYTES = "bytes"
"""The tokenizer of models that read bytes: no folder, 256 tokens."""

_PARTS = ("train", "validation", "test")
_SUFFIXES = (".txt", ".md", ".rst")


@DATA.register("text")
@dataclass(frozen=True, kw_only=True)
class Text(DataSource):
    """Tokens int64 `[N, context]`, targets the tokens one further; windows do not overlap.

    A folder with files named `train`, `validation` and `test` (`.txt`, `.md` or `.rst`; the last may be missing) is split as they are. All
    other files of these kinds, in the order of their names, or the one file, are one text, of which the end is held out: nothing of it
    precedes what is trained on.

    Args:
        tokenizer: folder with a Hugging Face tokenizer, such as the model's; or `bytes`.
        context: tokens of a window.
        validation: share of the windows held out for trials.
        test: share held out for the final figures.
        windows: largest number of training windows, the first ones; all if not given.
    """

    description: ClassVar[str] = "text:FILE or text:DIR of .txt, .md, .rst in UTF-8, by the tokenizer of the model's folder"
    paper: ClassVar[str] = ""

    tokenizer: str | None = None
    context: int = 512
    validation: float = 0.1
    test: float = 0.1
    windows: int | None = None

    def __post_init__(self) -> None:
        require_fraction("validation", self.validation)
        require_fraction("test", self.test)
        if self.validation + self.test >= 1:
            raise option_error("validation", f"and test take {self.validation + self.test:g} of the windows; leave some for training")
        for name, least in (("context", 2), ("windows", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise option_error(name, f"must be a whole number of at least {least}, got {value!r}")
        if self.tokenizer is not None and not isinstance(self.tokenizer, str):
            raise option_error("tokenizer", f"must be a folder, or {BYTES}, got {self.tokenizer!r}")

    def load(self, path: str | None, *, seed: int, progress: Progress) -> Splits:
        """Read and tokenize the text; the seed is not used. See `DataSource`."""
        if not path:
            raise DataError("text needs a file or a folder; write text:FILE or text:DIR")
        files = _files(Path(path).expanduser())
        encode = self._encoder()
        tokens = {name: torch.cat([encode(file) for file in part]) for name, part in files.items()}
        windows = {name: _windows(part, self.context) for name, part in tokens.items()}
        if "all" in windows:
            windows = self._cut(path, len(tokens["all"]), windows["all"])
        for name, part in windows.items():
            if not len(part):
                raise DataError(
                    f"text:{path}: the {name} text has {len(tokens[name])} tokens, and one window takes {self.context + 1}; "
                    "give more text, or lower data.options.context"
                )
        windows["train"] = windows["train"][: self.windows]
        splits = {name: TokenSplit(part[:, :-1], part[:, 1:]) for name, part in windows.items()}
        return Splits(
            name=f"text:{path}",
            train=splits["train"],
            validation=splits["validation"],
            test=splits.get("test"),
            task=Task.language_model(),
            fingerprint=content_digest([*astuple(self)[1:], *(item for pair in sorted(windows.items()) for item in pair)]),
        )

    def _cut(self, path: str, tokens: int, windows: Tensor) -> dict[str, Tensor]:
        held = {name: int(len(windows) * getattr(self, name)) for name in ("validation", "test")}
        least = math.ceil(1 / min(self.validation, self.test))
        if not all(held.values()):
            raise DataError(
                f"text:{path} has {tokens} tokens, {len(windows)} windows of {self.context + 1}, of which validation and test get none; "
                f"give {least * (self.context + 1)} tokens or more, or lower data.options.context"
            )
        train = len(windows) - sum(held.values())
        return dict(zip(_PARTS, torch.split(windows, [train, held["validation"], held["test"]]), strict=True))

    def _encoder(self) -> Callable[[Path], Tensor]:
        if self.tokenizer is None:
            raise option_error("tokenizer", f"text needs a tokenizer: the folder of the model, or {BYTES} for a model that reads bytes")
        if self.tokenizer == BYTES:
            return lambda file: torch.frombuffer(bytearray(_read(file).encode()), dtype=torch.uint8).long()
        needs("the tokenizer of a folder", "hf", "transformers")
        from transformers import AutoTokenizer

        folder = Path(os.path.expandvars(self.tokenizer)).expanduser()
        try:
            found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the library has no class of its own for what a folder lacks
            raise DataError(
                f"data.options.tokenizer: '{folder}' holds no tokenizer that transformers reads "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); give the folder of the model"
            ) from error
        return lambda file: torch.tensor(found(_read(file), add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.int64)


def _files(place: Path) -> dict[str, list[Path]]:
    """Files by part, or all of them under `all`."""
    if is_file(place):
        return {"all": [place]}
    if not place.is_dir():
        raise DataError(f"text: there is no file or folder '{place}'; write text:FILE or text:DIR")
    files = sorted(file for file in place.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    if not files:
        raise DataError(f"text: the folder '{place}' holds no {', '.join(_SUFFIXES)} file; put the text there")
    named = {part: [file for file in files if file.stem == part] for part in _PARTS}
    if not named["train"]:
        return {"all": files}
    if not named["validation"]:
        raise DataError(f"text: the folder '{place}' holds a train file but no validation file; add one, or rename the first")
    return {part: found for part, found in named.items() if found}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"text: '{file}' is not in UTF-8 (byte {error.start}); convert it") from error
    except OSError as error:
        raise DataError(f"text: '{file}' cannot be read ({error.strerror}); check its rights") from error


def _windows(tokens: Tensor, context: int) -> Tensor:
    """`[N, context + 1]`: the last token of a window is only predicted."""
    count = len(tokens) // (context + 1)
    return tokens[: count * (context + 1)].reshape(count, context + 1)
