from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mpsearch.core.errors import ModelError
from mpsearch.models import build_model
from mpsearch.models.hugging_face import folder_of, load_folder


def saved(place: Path, **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).to(changes.pop("dtype", torch.float32))
    model.save_pretrained(place, **changes)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_folder_is_loaded_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    model = saved(tmp_path, dtype=dtype)
    loaded = build_model(f"hf:{tmp_path}")
    assert not loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.float())


def test_shards_are_put_together_and_a_missing_one_is_named(tmp_path: Path) -> None:
    model = saved(tmp_path, max_shard_size="5KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert all(torch.equal(a, b) for a, b in zip(load_folder(tmp_path, {}).parameters(), model.parameters(), strict=True))
    shards[1].unlink()
    with pytest.raises(ModelError, match=rf"1 of {len(shards)} shards are missing, the first '{shards[1].name}'; add them"):
        load_folder(tmp_path, {})


def test_weights_that_the_files_lack_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if name.endswith("c_fc.weight"))
    del tensors[lost]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"the files lack 1 weights of the model, the first '.*c_fc\.weight'; save the whole model again"):
        load_folder(tmp_path, {})


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(ModelError, match="cannot be loaded by transformers") as caught:
        load_folder(tmp_path, {})
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_of_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder; models are not downloaded"):
        build_model(f"hf:{tmp_path}/none")
    with pytest.raises(ModelError, match=r"the folder has no config\.json"):
        build_model(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"):
        build_model(f"hf:{tmp_path}")
    for content in ("{", "[]", json.dumps({"weight_map": 3})):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(ModelError, match=r"index\.json cannot be read"):
            build_model(f"hf:{tmp_path}")
    with pytest.raises(ModelError, match="takes no options, got layers"):
        build_model(f"hf:{tmp_path}", {"layers": 3})


def test_only_hf_references_name_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert folder_of("hf:a/b:c") == "a/b:c"
    assert folder_of("module:hf") is None
    monkeypatch.setenv("HERE", str(tmp_path))
    with pytest.raises(ModelError, match=r"the folder has no config\.json"):
        build_model("hf:$HERE")
