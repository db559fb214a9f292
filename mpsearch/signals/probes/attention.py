"""Per-sample products of the projections of `nn.MultiheadAttention`, in one pass through attention for all of its weights and widths.

    q = x W_qᵀ, k = x W_kᵀ, v = x W_vᵀ      c = attention(q, k, v)      y = c W_oᵀ

The output is linear in W_o, so its product is exact. Of the other projections it is that of the linear change, `⟨δW, Σ_t g_t x_tᵀ⟩` with g
the gradient at q, k or v: attention is differentiated once, where the exact change would take another attention for every width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Projection", "projections"]

_ARGUMENTS = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A multiplication by some rows of a weight.

    Args:
        parameter: name of the weight, relative to the module.
        rows: of the weight.
        x: `[N, T, I]`.
        g: `[N, T, O]`, gradient at the product.
    """

    parameter: str
    rows: slice
    x: Tensor
    g: Tensor


def projections(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], g: Tensor, axis: int, samples: int
) -> list[Projection] | None:
    """All projections of one call; None where attention is computed otherwise than here: a subclass, additional keys, a single sequence.

    Args:
        module: the called module, in evaluation mode.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        g: gradient of the summed per-sample losses with respect to the output.
        axis: sample axis of the output.
        samples: N.
    """
    given = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
    if not _is_literal(module, given, g, axis):
        return None
    attention: Any = module
    first = attention.batch_first
    inputs = [given[name].detach() if first else given[name].detach().transpose(0, 1) for name in _ARGUMENTS[:3]]
    g = g if first else g.transpose(0, 1)
    weights = list(_weights(attention))
    with torch.no_grad():
        heads = [
            _heads(F.linear(x, weight[rows], bias), attention.num_heads) for x, (_, rows, weight, bias) in zip(inputs, weights, strict=True)
        ]
        slope = _heads(g @ attention.out_proj.weight, attention.num_heads)
        mask = _mask(given, attention.num_heads, heads[0])
    with torch.enable_grad():
        q, k, v = (head.requires_grad_() for head in heads)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        slopes = torch.autograd.grad(context, (q, k, v), slope)
    found = [("out_proj.weight", slice(0, len(attention.out_proj.weight)), _merged(context.detach()), g)]
    found += [(name, rows, x, _merged(each)) for (name, rows, _, _), x, each in zip(weights, inputs, slopes, strict=True)]
    return [Projection(parameter=name, rows=rows, x=_by_sample(x, samples), g=_by_sample(each, samples)) for name, rows, x, each in found]


def _is_literal(module: nn.Module, given: Mapping[str, Any], g: Tensor, axis: int) -> bool:
    return (
        isinstance(module, nn.MultiheadAttention)
        and type(module).forward is nn.MultiheadAttention.forward
        and not module.training
        and module.bias_k is None
        and not module.add_zero_attn
        and g.dim() == 3
        and all(isinstance(given.get(name), Tensor) and given[name].dim() == 3 for name in _ARGUMENTS[:3])
        and axis == (0 if module.batch_first else 1)
    )


def _weights(attention: Any) -> Iterator[tuple[str, slice, Tensor, Tensor | None]]:
    """Name, rows, weight and bias of the projections of query, key and value."""
    width = attention.embed_dim
    biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    for number, (letter, bias) in enumerate(zip("qkv", biases, strict=True)):
        if attention.in_proj_weight is not None:
            yield "in_proj_weight", slice(number * width, (number + 1) * width), attention.in_proj_weight, bias
        else:
            yield f"{letter}_proj_weight", slice(0, width), getattr(attention, f"{letter}_proj_weight"), bias


def _heads(x: Tensor, heads: int) -> Tensor:
    """`[B, T, E]` → `[B, H, T, E/H]`."""
    return x.view(len(x), x.shape[1], heads, -1).transpose(1, 2)


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _by_sample(x: Tensor, samples: int) -> Tensor:
    """`[B, T, E]` → `[N, T, E]`, where several sequences belong to a sample."""
    return x.reshape(samples, -1, x.shape[2])


def _mask(given: Mapping[str, Any], heads: int, query: Tensor) -> Tensor | None:
    """What is added to the scores, `[B or 1, H or 1, T, S]`."""
    masks = []
    if given.get("attn_mask") is not None:
        mask = _additive(given["attn_mask"], query.dtype)
        masks.append(mask.view(-1, heads, *mask.shape[1:]) if mask.dim() == 3 else mask)
    if given.get("key_padding_mask") is not None:
        masks.append(_additive(given["key_padding_mask"], query.dtype)[:, None, None, :])
    return sum(masks[1:], masks[0]) if masks else None


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf")) if mask.dtype == torch.bool else mask
