"""Settings of modules that training under quantization cannot keep, and what takes their place on our copy of the network.

| setting | why | in its place |
|---|---|---|
| `Embedding(max_norm=…)` | each pass rewrites the weight in place, which a quantized weight does not allow | all rows are scaled once |
| `Embedding(sparse=True)` | sparse gradients, which AdamW does not take | dense gradients |
| `TransformerEncoder(enable_nested_tensor=True)` | nested tensors, whose values hooks cannot read | padded tensors |
| `config.use_cache` of a Hugging Face model | keys and values of every pass are returned, for text that nobody generates | none are kept |
| parameters in `bfloat16`, `float16` | rounding is measured from float32 | float32, by `mpsearch.network.half` |

The network's outputs stay the same; padded positions of a `TransformerEncoder` are computed rather than left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from mpsearch.network.half import half_of

__all__ = ["apply_workarounds", "make_dense", "workarounds"]

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class _Workaround:
    """One row of the table.

    Args:
        needed: whether a module has the setting.
        apply: changes it in place.
        said: what is done, for a line that begins with the module's name.
    """

    needed: Callable[[nn.Module], bool]
    apply: Callable[[nn.Module], None]
    said: str


def _bake_max_norm(module: nn.Module) -> None:
    assert isinstance(module, _EMBEDDINGS)
    assert module.max_norm is not None
    with torch.no_grad():
        rows = torch.arange(module.num_embeddings, device=module.weight.device)
        torch.embedding_renorm_(module.weight, rows, module.max_norm, module.norm_type)  # as the first forward pass of each row does
    module.max_norm = None


def make_dense(model: nn.Module) -> None:
    """Let all embeddings have dense gradients, in place."""
    for module in model.modules():
        if isinstance(module, _EMBEDDINGS):
            module.sparse = False


def _pad(module: nn.Module) -> None:
    assert isinstance(module, nn.TransformerEncoder)
    module.enable_nested_tensor = module.use_nested_tensor = False


def _keeps_a_cache(module: nn.Module) -> bool:
    """Whether it is a whole model of Hugging Face's that returns keys and values; its parts have the same configuration."""
    return hasattr(module, "prepare_inputs_for_generation") and bool(getattr(getattr(module, "config", None), "use_cache", False))


def _keep_no_cache(module: nn.Module) -> None:
    module.config.use_cache = False  # type: ignore[union-attr]


_ALL = (
    _Workaround(
        lambda module: isinstance(module, _EMBEDDINGS) and module.max_norm is not None,
        _bake_max_norm,
        "max_norm is applied to all rows once, since quantized rows cannot be scaled at each pass",
    ),
    _Workaround(
        lambda module: isinstance(module, _EMBEDDINGS) and module.sparse,
        make_dense,
        "its gradients are dense, since the optimizers take no sparse ones",
    ),
    _Workaround(
        lambda module: isinstance(module, nn.TransformerEncoder) and bool(module.enable_nested_tensor),
        _pad,
        "padded positions are computed rather than packed into nested tensors, whose values cannot be observed",
    ),
    _Workaround(_keeps_a_cache, _keep_no_cache, "keys and values of a pass are not kept, since nothing is generated"),
)


def _needed(model: nn.Module) -> Iterator[tuple[str, nn.Module, _Workaround]]:
    for name, module in model.named_modules():
        yield from ((name, module, one) for one in _ALL if one.needed(module))


def workarounds(model: nn.Module) -> tuple[str, ...]:
    """One sentence for each change that `apply_workarounds` would make; the model is not changed."""
    names: dict[str, list[str]] = {}
    for name, _, one in _needed(model):
        names.setdefault(one.said, []).append(name or "the network")
    half = [f"{' and '.join(kinds)} parameters are computed in float32" for kinds in [half_of(model)] if kinds]
    return (*(f"{', '.join(held)}: {said}" for said, held in names.items()), *half)


def apply_workarounds(model: nn.Module) -> None:
    """Make the changes of the table, in place."""
    for _, module, one in list(_needed(model)):
        one.apply(module)
