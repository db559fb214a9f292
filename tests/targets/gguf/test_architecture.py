"""What llama.cpp is told of a network, and networks that it is told nothing of."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.targets.gguf.architecture import architecture_of
from tests.language_models import KINDS, WORDS, causal


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_every_tensor_has_a_name_of_its_own(kind: str, tied: bool) -> None:
    model = causal(kind, tied=tied)
    found = architecture_of(model)
    names = [name for name in model.state_dict() if not (tied and name == "lm_head.weight")]
    assert len({found.name(name) for name in names}) == len(names)
    assert found.name("model.layers.1.mlp.down_proj.weight") == "blk.1.ffn_down.weight"
    assert found.sizes["vocab_size"] == WORDS
    assert found.sizes["attention.head_count_kv"] == 2
    assert found.sizes["rope.dimension_count"] == 64


def test_rows_of_queries_and_keys_are_in_pairs_in_files_of_llama_alone() -> None:
    llama, qwen = architecture_of(causal("llama", tied=True)), architecture_of(causal("qwen2", tied=True))
    queries, values = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"
    assert llama.order(queries, 256)[:5].tolist() == [0, 32, 1, 33, 2]
    assert sorted(llama.order(queries, 256)) == list(range(256))
    assert np.array_equal(llama.order(values, 32), np.arange(32))
    assert np.array_equal(qwen.order(queries, 256), np.arange(256))


def test_no_place_for_a_tensor_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"llama.cpp's 'llama' has no place for 'model.adapter.weight'; use another target"):
        architecture_of(causal("llama", tied=True)).name("model.adapter.weight")


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "rope_type linear"),
        ("llama", {"hidden_act": "gelu"}, "the activation gelu"),
        ("mistral", {"sliding_window": 8}, "a sliding window of 8"),
    ],
)
def test_settings_that_the_file_does_not_express_are_refused(kind: str, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=rf"the model has {said}, .*; use another target"):
        architecture_of(causal(kind, tied=True, **changes))


def test_other_networks_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"causal language models of transformers \(llama, .*\), not Linear; use another target"):
        architecture_of(nn.Linear(2, 2))
