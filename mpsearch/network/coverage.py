"""`coverage_notes`: refuses a network of which no file could hold all; says what is left to its constructor, and what is not counted."""

from __future__ import annotations

from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.network.survey import Survey

__all__ = ["coverage_notes"]

_NAMED = 3


def coverage_notes(survey: Survey) -> tuple[str, ...]:
    """Sentences about what the survey found outside of the `state_dict`, and about multiplications that are not counted.

    A trainable tensor outside the `state_dict` is refused: the file would load into another network. One that needs no gradient may be a
    constant that the constructor makes again, which nothing here can tell; it is named.

    Raises:
        ModelError: the forward pass uses a trainable parameter that is in no `state_dict`.
    """
    trained = [place for place, tensor in survey.strangers.items() if place and tensor.requires_grad]
    if trained:
        others = f" (and {len(trained) - 1} more)" if len(trained) > 1 else ""
        raise ModelError(
            f"the forward pass uses '{trained[0]}'{others}, which is not in the model's state_dict, so no file would hold it; "
            "put modules into nn.ModuleList or nn.ModuleDict, parameters into nn.ParameterList, other tensors into register_buffer"
        )
    notes = []
    constants = [
        place or "a parameter that no module holds"
        for place, tensor in survey.strangers.items()
        if isinstance(tensor, nn.Parameter) or (tensor.is_floating_point() and tensor.numel() > 1)
    ]
    if constants:
        notes.append(
            f"The file does not hold {_listed(constants)}, which the forward pass uses but no state_dict has: "
            "the model's constructor must make the same values again, or register_buffer must register them."
        )
    if survey.uncounted:
        notes.append(
            f"Not all multiplications by {_listed(survey.uncounted)} are counted, so MACs, BOPs and latency are lower bounds: "
            "a function that multiplies by it does not show how often."
        )
    return tuple(notes)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
