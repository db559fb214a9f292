"""Small causal language models of transformers, with weights that are large enough for their answers to differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

__all__ = ["KINDS", "WORDS", "causal", "llama"]

WORDS, CONTEXT = 96, 16
KINDS = ("llama", "mistral", "qwen2", "qwen3")


def causal(kind: str, *, tied: bool, **changes: object) -> nn.Module:
    """Two blocks, 256 wide; 4 heads of queries, 2 of keys."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.AutoConfig.for_model(
        kind, **{"vocab_size": WORDS, "max_position_embeddings": 64, "head_dim": 64, "tie_word_embeddings": tied, **sizes, **changes}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = transformers.AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            parameter.data = parameter.data * 4 if parameter.dim() > 1 else parameter.data + 0.1 * torch.randn_like(parameter)
    return model


def llama() -> tuple[nn.Module, Tensor]:
    """One with a tied head, and a batch of tokens."""
    return causal("llama", tied=True), torch.randint(WORDS, (12, CONTEXT), generator=torch.Generator().manual_seed(1))
