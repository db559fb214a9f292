"""`distinct_state`: the tensors of a model, each once, although a module or a tensor may stand under several names."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["distinct_state"]


def distinct_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the `state_dict`, each under the first of its names; they are the model's own, not copies."""
    first: dict[int, str] = {}
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        first.setdefault(id(tensor), name)
    return {name: state[name] for name in first.values()}
