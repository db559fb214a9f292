"""`load_weights`: weights from a file, matched key by key; code in the file is never executed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_SHOWN = 5
_DEEPEST = 3
"""Levels of mappings in a checkpoint that are looked into, such as `checkpoint["ema"]["state_dict"]`."""
_INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What `torch.compile`, FSDP and activation checkpointing insert into names, at any place."""
_HOLDERS = frozenset({"module", "model", "net", "network"})
"""Names under which trainers hold the one network that they train, beside their own losses and counters."""
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class _Fit:
    """One set of tensors of a file, read as the weights of a model.

    Args:
        place: keys that lead to it in the file.
        prefix: what all the model's names begin with there.
        state: the model's name → tensor.
        missing: names that are not there.
        unexpected: names there that the model does not have.
        shapes: what has another shape.
        beside: names that do not begin with the prefix.
    """

    place: tuple[str, ...]
    prefix: str
    state: Mapping[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    shapes: list[str]
    beside: list[str]

    @property
    def whole(self) -> bool:
        """Whether it has all that the model needs."""
        return not (self.missing or self.unexpected or self.shapes)

    @property
    def loads(self) -> bool:
        """Whether it is certainly the weights of this model."""
        return self.whole and (not self.beside or set(self.prefix.removesuffix(".").split(".")) <= _HOLDERS)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy all parameters and buffers from a file into the model.

    Args:
        model: changed in place.
        path: a safetensors file, or a state dict saved by `torch.save`, at the top or inside a checkpoint, such as under `state_dict` or
            `ema`. All names may have a common prefix, such as `module.`, and what `torch.compile` inserts; beside names that begin with
            `module.`, `model.`, `net.` or `network.`, those of a trainer's other parts are left out.

    Raises:
        ModelError: the file is missing, cannot be read, has no state dict, has several that fit, or its keys do not match the model's.
    """
    file = Path(path)
    own = {_unprefixed(name): (name, value) for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = [fit for place, state in _state_dicts(file, _read(file)) for fit in _fits(place, state, own)]
    loading = [fit for fit in found if fit.loads]
    if not loading:
        raise ModelError(f"the weights in '{file}' do not match the model; {_mismatch(found, file)}")
    first, others = loading[0], loading[1:]
    for other in others:
        if any(name not in other.state or not torch.equal(value, other.state[name]) for name, value in first.state.items()):
            raise ModelError(
                f"the file '{file}' holds several weights of this model, {' and '.join(_called(fit) for fit in loading)}; "
                f"save the wanted ones alone: {_saved(other, file)}"
            )
    model.load_state_dict({name: first.state.get(key, value) for key, (name, value) in own.items()})


def _state_dicts(file: Path, content: Any) -> list[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """(place, tensors) of every mapping in the file that holds tensors alone."""

    def within(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
        if not isinstance(value, Mapping):
            return
        if value and all(isinstance(each, Tensor) for each in value.values()):
            yield place, {_unprefixed(str(name)): each for name, each in value.items()}
        elif len(place) < _DEEPEST:
            for name, each in value.items():
                yield from within(each, (*place, str(name)))

    found = list(within(content, ()))
    if not found:
        holds = f" but {', '.join(map(str, list(content)[:_SHOWN]))}" if isinstance(content, Mapping) and content else ""
        raise ModelError(f"the weight file '{file}' holds no state dict{holds}; save it with torch.save(model.state_dict(), FILE)")
    return found


def _fits(place: tuple[str, ...], state: Mapping[str, Tensor], own: Mapping[str, tuple[str, Tensor]]) -> Iterator[_Fit]:
    """The tensors read as the model's under every prefix that the model's first name has there; without a prefix always."""
    needed = [name for name in own if not name.endswith(_COUNTER)]  # old files lack BatchNorm's batch counter, which only training reads
    last = needed[0] if needed else ""
    prefixes = {"": None, **{name.removesuffix(last): None for name in state if last and name.endswith(f".{last}")}}
    for prefix in prefixes:
        inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        yield _Fit(
            place=place,
            prefix=prefix,
            state=inside,
            missing=[own[name][0] for name in needed if name not in inside],
            unexpected=sorted(name for name in inside if name not in own),
            shapes=[
                f"{name} ({_shape(inside[key])} in the file, {_shape(value)} in the model)"
                for key, (name, value) in own.items()
                if key in inside and inside[key].shape != value.shape
            ],
            # the counter of torch.optim.swa_utils.AveragedModel stands beside `module.`
            beside=sorted(name for name in state if not name.startswith(prefix) and name != "n_averaged"),
        )


def _mismatch(found: Sequence[_Fit], file: Path) -> str:
    """What does not match, and what to do, for the set of tensors that comes closest."""
    whole = [fit for fit in found if fit.whole]
    if whole:
        return (
            f"it holds all the names of the model as {' and '.join(_called(fit) for fit in whole)}, but others beside it "
            f"({_listed(whole[0].beside)}); save the wanted ones alone: {_saved(whole[0], file)}"
        )
    best = min(found, key=lambda fit: (len(fit.missing) + len(fit.shapes), len(fit.unexpected)))
    problems = [_some("missing", best.missing), _some("unexpected", best.unexpected), _some("of another shape", best.shapes)]
    where = f"; what was compared is {_called(best)}" if best.place or best.prefix else ""
    return f"{'; '.join(filter(None, problems))}{where}; give the file of this architecture"


def _called(fit: _Fit) -> str:
    keys = "".join(f"[{key!r}]" for key in fit.place)
    return " ".join(filter(None, [f"the entry {keys}" if keys else "", f"names that begin with '{fit.prefix}'" if fit.prefix else ""]))


def _saved(fit: _Fit, file: Path) -> str:
    keys = "".join(f"[{key!r}]" for key in fit.place)
    load = "safetensors.torch.load_file(FILE)" if file.suffix == ".safetensors" else "torch.load(FILE, weights_only=True)"
    source = f"{load}{keys}"
    if fit.prefix:
        source = f"{{k.removeprefix({fit.prefix!r}): v for k, v in {source}.items() if k.startswith({fit.prefix!r})}}"
    return f"torch.save({source}, NEW)"


def _unprefixed(name: str) -> str:
    for inserted in _INSERTED:
        name = name.replace(inserted, "")
    return name


def _read(file: Path) -> Any:
    if not is_file(file):
        raise ModelError(f"there is no weight file '{file}'; give a safetensors file or a saved state dict")
    try:
        with file.open("rb") as stream:
            # A safetensors file starts with eight bytes, the length of its header, and the header is JSON.
            safe = file.suffix == ".safetensors" or stream.read(9)[8:] == b"{"
        if not safe:
            _check_stored(file)
        return load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ModelError(f"the weight file '{file}' is not a whole safetensors file ({_first_line(error)}); copy it again") from error
    except Exception as error:  # torch.load raises all kinds of errors on damaged bytes
        # On a pickle that needs code, its message advises to run that code.
        reason = "" if isinstance(error, UnpicklingError) else f" ({_first_line(error)})"
        raise ModelError(
            f"the weight file '{file}' is damaged or holds more than tensors{reason}; no code in it was run; "
            "save it with torch.save(model.state_dict(), FILE)"
        ) from error


def _check_stored(file: Path) -> None:
    """Check that an archive is not compressed: `torch.save` never does that, and a few kilobytes could become many gigabytes.

    Raises:
        ValueError: it is compressed.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its archive is compressed, which torch.save never does")


def _some(what: str, names: list[str]) -> str:
    return f"{what}: {_listed(names)}" if names else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:120] if lines else type(error).__name__
