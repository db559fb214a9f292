"""`Architecture`: what llama.cpp is told of a network: its kind and sizes, the names of its tensors, the order of rows.

Networks are those of Hugging Face's `transformers`, told by `config.model_type`. In the files of `llama` the rows of queries and keys have
another order: ggml rotates neighbours, `transformers` rotates place i with i + d/2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mpsearch.core.errors import ModelError

__all__ = ["Architecture", "architecture_of"]

_KINDS = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""`config.model_type` → architecture of llama.cpp."""

_ROTATES_NEIGHBOURS = ("llama",)

_OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_INSIDE = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network as llama.cpp knows it.

    Args:
        kind: value of `general.architecture`.
        sizes: key, without the architecture's prefix, → whole number or float.
        heads: of queries and of keys.
    """

    kind: str
    sizes: Mapping[str, int | float]
    heads: tuple[int, int]

    def name(self, tensor: str) -> str:
        """Name in the file of a tensor of the `state_dict`.

        Raises:
            ModelError: llama.cpp knows no such tensor.
        """
        stem, _, end = tensor.rpartition(".")
        if stem in _OUTSIDE and end == "weight":
            return f"{_OUTSIDE[stem]}.weight"
        match = _BLOCK.fullmatch(tensor)
        if match is None or match[2] not in _INSIDE:
            raise ModelError(f"target 'gguf': llama.cpp's '{self.kind}' has no place for '{tensor}'; use another target")
        return f"blk.{match[1]}.{_INSIDE[match[2]]}.{match[3]}"

    def order(self, tensor: str, rows: int) -> NDArray[np.intp]:
        """Row of the file → row of the network's tensor, `[rows]`."""
        found = np.arange(rows)
        which = next((place for place, each in enumerate((".q_proj.", ".k_proj.")) if each in tensor), None)
        if which is None or self.kind not in _ROTATES_NEIGHBOURS:
            return found
        return found.reshape(self.heads[which], 2, -1).swapaxes(1, 2).reshape(-1)


def architecture_of(model: nn.Module) -> Architecture:
    """The architecture of a causal language model of `transformers`.

    Raises:
        ModelError: it is none that this target knows, or has a setting that the file cannot express.
    """
    config: Any = getattr(model, "config", None)
    type = getattr(config, "model_type", None)
    if type not in _KINDS or not hasattr(model, "lm_head"):
        raise ModelError(
            f"target 'gguf' holds causal language models of transformers ({', '.join(_KINDS)}), not {type or model.__class__.__name__}; "
            "use another target"
        )
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    rotation = str(rope.get("rope_type", rope.get("type", "default")))
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", type == "mistral") else None
    unknown = {
        f"rope_type {rotation}": rotation != "default",
        f"a sliding window of {window}": window is not None and window < config.max_position_embeddings,
        f"the activation {config.hidden_act}": config.hidden_act != "silu",
        "partly rotated heads": float(rope.get("partial_rotary_factor", 1.0)) != 1.0,
    }
    for what, present in unknown.items():
        if present:
            raise ModelError(f"target 'gguf': the model has {what}, which this file does not express yet; use another target")
    heads = int(config.num_attention_heads)
    shared = int(config.num_key_value_heads or heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    sizes: dict[str, int | float] = {
        "vocab_size": int(config.vocab_size),
        "context_length": int(config.max_position_embeddings),
        "embedding_length": int(config.hidden_size),
        "block_count": int(config.num_hidden_layers),
        "feed_forward_length": int(config.intermediate_size),
        "attention.head_count": heads,
        "attention.head_count_kv": shared,
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": width,
        "rope.freq_base": float(rope.get("rope_theta", getattr(config, "rope_theta", 10000.0))),
    }
    return Architecture(kind=_KINDS[type], sizes=sizes, heads=(heads, shared))
