"""`LlamaCpp`: a GGUF file in llama.cpp, by the package `llama-cpp-python`, called like the network it was made from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError, DataError

__all__ = ["LlamaCpp", "installed"]

_PACKAGE = "llama_cpp"


def installed() -> bool:
    """Whether llama.cpp is there."""
    return importlib.util.find_spec(_PACKAGE) is not None


class LlamaCpp(nn.Module):
    """The network as llama.cpp computes it, on the CPU; it rounds the inputs of its products to 8 bits in groups of 32.

    Args:
        path: of the file.
        threads: of llama.cpp.

    Raises:
        ArtifactError: llama.cpp refuses the file.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        super().__init__()
        import llama_cpp

        self._path, self._threads = path, threads
        self._context = 0
        self._opened: Any = None
        self._library: Any = llama_cpp
        self._open(8)

    def _open(self, context: int) -> None:
        """Load the file with room for so many tokens, unless it is."""
        if context <= self._context:
            return
        try:
            self._opened = self._library.Llama(
                str(self._path), n_ctx=context, n_batch=context, n_threads=self._threads, logits_all=True, verbose=False, seed=0
            )
        except (ValueError, RuntimeError, AssertionError) as error:
            raise ArtifactError(f"llama.cpp refuses {self._path} ({error}); use --target packed, and tell us about the network") from error
        self._context = context

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> dict[str, Tensor]:
        """Tokens int64 `[N, T]` → `logits` float32 `[N, T, V]`.

        Raises:
            DataError: some tokens are masked, or llama.cpp cannot take them.
        """
        if attention_mask is not None and not bool(attention_mask.all()):
            raise DataError("llama.cpp takes whole windows of text; give windows of one length without padding")
        self._open(input_ids.shape[1])
        return {"logits": torch.stack([self._logits(row.tolist()) for row in input_ids.cpu()])}

    def _logits(self, tokens: list[int]) -> Tensor:
        self._opened.reset()
        try:
            self._opened.eval(tokens)
        except (RuntimeError, ValueError) as error:
            raise DataError(f"llama.cpp cannot compute {len(tokens)} tokens ({error})") from error
        return torch.from_numpy(np.array(self._opened.scores[: len(tokens)], dtype=np.float32))
