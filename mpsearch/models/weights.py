"""`load_weights`: weights from a file, matched key by key; code in the file is never executed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.files import is_file

__all__ = ["load_weights"]

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PARALLEL = "module."
_SHOWN = 5


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy all parameters and buffers from a file into the model.

    Args:
        model: changed in place.
        path: a safetensors file, or a state dict saved by `torch.save`, at the top or under `state_dict`; names may start with `module.`.

    Raises:
        ModelError: the file is missing, cannot be read, has no state dict, or its keys do not match the model's.
    """
    file = Path(path)
    state = _without_prefix(_read(file))
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    # Old files lack BatchNorm's batch counter, which only training from scratch reads.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = sorted(name for name in state if name not in own)
    shapes = [
        f"{name} ({_shape(state[name])} in the file, {_shape(value)} in the model)"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    problems = [_some("missing", missing), _some("unexpected", unexpected), _some("of another shape", shapes)]
    if any(problems):
        raise ModelError(
            f"the weights in '{file}' do not match the model; {'; '.join(filter(None, problems))}; give the file of this architecture"
        )
    model.load_state_dict({**own, **state})


def _read(file: Path) -> dict[str, Tensor]:
    if not is_file(file):
        raise ModelError(f"there is no weight file '{file}'; give a safetensors file or a saved state dict")
    try:
        with file.open("rb") as stream:
            # A safetensors file starts with eight bytes, the length of its header, and the header is JSON.
            safe = file.suffix == ".safetensors" or stream.read(9)[8:] == b"{"
        if not safe:
            _check_stored(file)
        content: Any = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ModelError(f"the weight file '{file}' is not a whole safetensors file ({_first_line(error)}); copy it again") from error
    except Exception as error:  # torch.load raises all kinds of errors on damaged bytes
        # On a pickle that needs code, its message advises to run that code.
        reason = "" if isinstance(error, UnpicklingError) else f" ({_first_line(error)})"
        raise ModelError(
            f"the weight file '{file}' is damaged or holds more than tensors{reason}; no code in it was run; "
            "save it with torch.save(model.state_dict(), FILE)"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"the weight file '{file}' holds no state dict; save it with torch.save(model.state_dict(), FILE)")
    return {str(name): value for name, value in content.items()}


def _check_stored(file: Path) -> None:
    """Check that an archive is not compressed: `torch.save` never does that, and a few kilobytes could become many gigabytes.

    Raises:
        ValueError: it is compressed.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its archive is compressed, which torch.save never does")


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return state


def _some(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}" if names else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:120] if lines else type(error).__name__
