"""`load` and `from_pretrained`: a network from its file, or from a folder that holds one."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mpsearch.core.errors import ArtifactError
from mpsearch.models import is_registered
from mpsearch.models.described import build_described
from mpsearch.run.pretrained import pretrained_artifact
from mpsearch.targets import Artifact, read_artifact

__all__ = ["from_pretrained", "load"]


def load(path: str | Path, model: nn.Module | str | None = None) -> nn.Module:
    """The quantized network in an artifact: a plain, frozen module in evaluation mode on the CPU.

    Its logits are bit-identical to those of the network that was scored. Nothing in the file is executed: a name of mpsearch's own models
    is built from the registry, any other architecture must be given.

    Args:
        path: `model.safetensors` of a run.
        model: the float architecture (its weights do not matter), or `"package.module:factory"`; not needed for a registered model.

    Raises:
        ArtifactError: missing, truncated, tampered with, or not fitting the model.
        ModelError: the factory does not give a module.
    """
    return _installed(Path(path), read_artifact(Path(path)), model, "load")


def from_pretrained(folder: str | Path, model: nn.Module | str | None = None) -> nn.Module:
    """The quantized network in a folder of `Result.save_pretrained`, as `load` gives it, once the digest in `config.json` is checked.

    Args:
        folder: the folder; or `"owner/name"` of a repository on the Hugging Face Hub, which the package huggingface_hub fetches.
        model: the float architecture, see `load`.

    Raises:
        ArtifactError: no such folder, another library's, a damaged one, or one that does not fit the model.
        ConfigError: huggingface_hub is needed and not installed.
    """
    path, artifact = pretrained_artifact(folder)
    return _installed(path, artifact, model, "from_pretrained")


def _installed(path: Path, artifact: Artifact, model: nn.Module | str | None, asked: str) -> nn.Module:
    if model is None:
        if not is_registered(artifact.model):
            named = f"'{artifact.model}'" if artifact.model else "a module that was handed in"
            raise ArtifactError(
                f"{path} was made from {named}, which mpsearch does not build by itself; call {asked}(path, model=…) with that architecture"
            )
        model = build_described(artifact.model, artifact.options, artifact.bits)
    elif isinstance(model, str):
        model = build_described(model, artifact.options, artifact.bits)
    return artifact.install(model).cpu()
