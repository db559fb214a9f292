"""Language models of plain PyTorch and of transformers go through a search as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.cli import main
from mpsearch.run.finished_run import open_finished
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe

WORDS, CONTEXT = 32, 16


class Decoder(nn.Module):
    """One block, causal; the head is the embedding's own tensor."""

    def __init__(self, words: int = WORDS) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 32)
        self.queries, self.keys, self.values = (nn.Linear(32, 32, bias=False) for _ in range(3))
        self.up, self.down, self.norm = nn.Linear(32, 64), nn.Linear(64, 32), nn.LayerNorm(32)
        self.head = nn.Linear(32, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        x = x + F.scaled_dot_product_attention(self.queries(x), self.keys(x), self.values(x), is_causal=True)
        return self.head(self.norm(x + self.down(F.gelu(self.up(x)))))


def sequences(count: int, seed: int) -> Tensor:
    """Each token mostly follows from the one before it."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(WORDS, (count, CONTEXT + 1), generator=generator)
    for place in range(CONTEXT):
        follows = torch.rand(count, generator=generator) < 0.9
        tokens[:, place + 1] = torch.where(follows, (5 * tokens[:, place] + 3) % WORDS, tokens[:, place + 1])
    return tokens


def dataset(count: int, seed: int) -> TensorDataset:
    tokens = sequences(count, seed)
    return TensorDataset(tokens[:, :-1], tokens[:, 1:])


def taught(model: nn.Module) -> nn.Module:
    tokens, optimizer = sequences(64, 0), torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        Task.language_model().loss(model(tokens[:, :-1]), tokens[:, 1:]).backward()
        optimizer.step()
    return model.eval()


def searched(model: nn.Module, folder: Path, **changes: Any) -> mpsearch.Result:
    arguments: dict[str, Any] = {
        "task": Task.language_model(),
        "budget": "4bit",
        "space": {"name": "few", "weights": [2, 4, 8]},
        "signals": ("fisher",),
        "images": 16,
        "effort": "quick",
        "evaluate": "ptq",
        "trials": 2,
        "epochs": 0,
        "recipe": Recipe(optimizer="adamw", lr=1e-3, batch_size=16, precision="float32"),
        "run_dir": folder,
        "device": "cpu",
        "progress": False,
    }
    return mpsearch.search(model, dataset(32, 1), dataset(32, 2), **{**arguments, **changes})


def test_a_decoder_is_searched_by_perplexity_and_its_file_predicts_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = taught(Decoder())
    result = searched(model, tmp_path)
    summary, validation = result.summary, dataset(32, 2)
    assert summary.metric == "perplexity"
    meter = Task.language_model().meter()
    with torch.no_grad():
        meter.add(result.model(validation.tensors[0]), validation.tensors[1])
    assert meter.value() == pytest.approx(summary.winner.score.metric)
    assert meter.value() == pytest.approx(summary.reference.scores["validation"].metric, rel=0.1)
    assert meter.value() < WORDS / 4
    tied = next(layer for layer in summary.layers if layer.name == "embedding")
    assert tied.aliases == ("head.weight",)
    assert sum(layer.weights for layer in summary.layers) == sum(each.numel() for each in model.parameters() if each.dim() > 1)


def test_hugging_faces_models_are_searched_unmodified(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(vocab_size=WORDS, max_position_embeddings=CONTEXT, tie_word_embeddings=True, **sizes)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = searched(model, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.config.use_cache
    assert len(result.summary.layers) == 8
    tied = result.summary.layers[0]
    assert (tied.aliases, tied.channels, tied.axes) == (("lm_head.weight",), WORDS, (0,))
    assert {group.reason for group in result.summary.unquantized} == {"normalisation"}
    logits = result.model(dataset(4, 3).tensors[0]).logits
    assert logits.dtype == torch.float32


def test_gpt_2_with_its_conv1d_is_quantized_by_output_channel(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=WORDS, n_positions=CONTEXT, n_embd=32, n_layer=1, n_head=2))
    result = searched(model, tmp_path, methods=("gptq",))
    layers = {layer.name: layer for layer in result.summary.layers}
    shape = layers["transformer.h.0.mlp.c_fc"]
    assert (shape.weight_shape, shape.channels, shape.axes) == ((32, 128), 128, (1,))
    assert sum(layer.weights for layer in layers.values()) == sum(tensor.numel() for tensor in model.parameters() if tensor.dim() > 1)


def reader_of_bytes() -> nn.Module:
    """For a study's `model.factory`: always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Decoder(256)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.txt"
    file.write_text("".join(f"{number} times {number} is {number * number}.\n" for number in range(120)))
    return file


def test_a_model_of_bytes_is_studied_on_a_text_from_the_command_line(tmp_path: Path, corpus: Path) -> None:
    options = [
        "--model",
        f"{__name__}:reader_of_bytes",
        "--data",
        f"text:{corpus}",
        "--budget",
        "4bit",
        "--space",
        str(tmp_path / "space.yaml"),
    ]
    (tmp_path / "space.yaml").write_text("name: groups\nweights: [2g32, 4g32, 8g32]\nactivations: [float]\n")
    settings = ["tokenizer=bytes", f"context={CONTEXT}", "windows=24"]
    options += [word for setting in settings for word in ("--set", f"data.options.{setting}")]
    code = main(
        ["study", "language_model", *options, "--trials", "2", "--images", "8", "--device", "cpu", "--out", str(tmp_path / "run"), "-q"]
    )
    assert code == 0
    summary = open_finished(tmp_path / "run").summary
    assert summary.metric == "perplexity"
    assert {str(choice.weight.granularity) for choice in summary.winner.allocation.values()} == {"32"}
    assert summary.winner.costs["bits"] <= 4
    assert summary.test["winner"].metric > 1


def test_a_tokenizer_with_more_words_than_the_model_is_refused(tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.GPT2Config(vocab_size=20, n_positions=CONTEXT, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "model")
    settings = ["--set", "data.options.tokenizer=bytes", "--set", f"data.options.context={CONTEXT}"]
    code = main(
        [
            "study",
            "language_model",
            "--model",
            f"hf:{tmp_path}/model",
            "--data",
            f"text:{corpus}",
            *settings,
            "--out",
            str(tmp_path / "run"),
        ]
    )
    assert code == 2
    assert "the tokenizer does not fit: the text has the token 116, but the model has 20 words" in " ".join(capsys.readouterr().err.split())
