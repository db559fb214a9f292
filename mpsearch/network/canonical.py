"""`canonical`: a copy of the user's model for quantization: unwrapped, with every weight a plain parameter, over the same memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mpsearch.core.errors import ModelError
from mpsearch.network.half import HALVES, in_float32
from mpsearch.network.modes import evaluating
from mpsearch.network.state import sharing_copy
from mpsearch.network.workarounds import apply_workarounds

__all__ = ["canonical"]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_RECOMPUTED = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


def canonical(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, in float32, with plain tensors for reparametrized weights (weight and spectral norm, pruning masks).

    All other weights lie in the memory of the user's model, so nobody may write to them: whoever trains makes a copy.

    Settings that training under quantization cannot keep are replaced, see `mpsearch.network.workarounds`.

    Args:
        model: float network, possibly under `torch.compile`, `DataParallel` or `DistributedDataParallel`; not changed.

    Raises:
        ModelError: the model is scripted, not initialised, complex or in float64, or cannot be copied.
    """
    while True:
        if isinstance(model, _WRAPPERS):
            model = model.module
        elif isinstance(model, torch._dynamo.OptimizedModule):
            model = model._orig_mod
        else:
            break
    _check(model)
    copied = in_float32(evaluating(_copy(model)))
    for module in copied.modules():
        _remove_reparametrizations(module)
    apply_workarounds(copied)
    return copied


def _check(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a scripted or traced model cannot be quantized; give the Python module that it was made from")
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ModelError(f"the model's '{name}' has no shape yet; run a batch through the model first")
        if parameter.is_complex():
            raise ModelError(
                f"the model's '{name}' is {parameter.dtype}, and complex weights cannot be trained here; store its real and imaginary part "
                "as two float32 parameters, and join them in forward by torch.complex"
            )
        if parameter.dtype not in (torch.float32, *HALVES):
            raise ModelError(f"the model's '{name}' is {parameter.dtype}; quantization starts from float32, so give model.float()")


def _copy(model: nn.Module) -> nn.Module:
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, _RECOMPUTED):  # the tensor of the last forward has a graph and cannot be copied
                name = hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else hook.name
                value = getattr(module, name)
                if isinstance(value, Tensor):
                    setattr(module, name, value.detach())
    rewritten = {
        f"{name}.weight".lstrip(".") for name, module in model.named_modules() if getattr(module, "max_norm", None) is not None
    }  # the workaround scales rows in place
    try:
        return sharing_copy(model, rewritten)
    except Exception as error:
        raise ModelError(f"the model cannot be copied ({type(error).__name__}: {error}); let copy.deepcopy(model) work") from error


def _remove_reparametrizations(module: nn.Module) -> None:
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
    if parametrize.is_parametrized(module):
        # torch's own removal would change the class that the copy shares with the user's module
        weights = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, weight in weights.items():
            setattr(module, name, nn.Parameter(weight))  # an assignment, which recurrent modules follow
