"""A file as it is read for a network that is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from mpsearch.core.errors import ArtifactError
from mpsearch.targets.gguf import Gguf
from tests.language_models import causal
from tests.targets.gguf.files import written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    written(causal("llama", tied=True), path)
    return path


@pytest.mark.parametrize(
    "other",
    [
        lambda: causal("llama", tied=True, intermediate_size=256),
        lambda: causal("llama", tied=True, vocab_size=128),
        lambda: causal("llama", tied=True, num_hidden_layers=1),
        lambda: causal("qwen3", tied=True),
        lambda: nn.Linear(2, 2),
    ],
    ids=["wider", "more words", "fewer blocks", "another kind", "no language model"],
)
def test_another_network_is_one_line(other: object, file: Path) -> None:
    assert callable(other)
    with pytest.raises(ArtifactError, match=r"give the model it was made from"):
        Gguf().read(file).parts(other())


def test_its_formats_are_known_before_any_network_is_built(file: Path) -> None:
    artifact = Gguf().read(file)
    assert {str(choice.weight) for choice in artifact.allocation.values()} == {"h2k", "3k", "4kz", "4g32", "5g32", "5kz", "6k", "8g32", "f"}
    assert artifact.bits == 8 * file.stat().st_size
