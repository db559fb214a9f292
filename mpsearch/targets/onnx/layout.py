"""The layout of `model.onnx`: names in the graph, and what does not depend on the allocation.

| names | of |
|---|---|
| `V…` | values of the network |
| `W…` | the weight of a layer; what belongs to it begins with the same letters, `…B` its bias, `…A` the rounding of its inputs |
| `R…` | other parameters and buffers, numbered as in `rest_of_state` |
| `C…` | constants of the architecture |
| `D…` | digits of all weights, one tensor for each base, and what unpacks them |
| `K… M… N… Z` | constants that layers share |

Numbers in names have as many digits as the largest of their kind needs, so a node takes the same bytes whatever it is joined to. Metadata:
`format`, `model`, `bits`, `formats` (see `mpsearch.targets.description`), `outputs` (JSON: the structure that the network returns, with
names of outputs), `digest`, and `pad`: blanks, since lengths in the file take one to five bytes. So the size of the file is exactly
`overhead + Σ layer_bytes`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["IR_VERSION", "VERSION", "file_digest", "numbered", "output_names", "own_name"]

VERSION = "mpsearch-onnx-1"
"""Value of the metadata key `format`."""

IR_VERSION = 10

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_OURS = re.compile(r"[VWRCDKMNZ][0-9a-zA-Z]*")


def numbered(letter: str, count: int) -> Callable[[int], str]:
    """Names `letter` and a number below `count`, all of one length."""
    width = 1
    while len(_DIGITS) ** width < count:
        width += 1

    def name(number: int) -> str:
        digits = ""
        for _ in range(width):
            number, digit = divmod(number, len(_DIGITS))
            digits = _DIGITS[digit] + digits
        return letter + digits

    return name


def own_name(name: str) -> str:
    """A name of an input or output that none of ours can have."""
    return f"{name}_" if _OURS.fullmatch(name) else name


def output_names(structure: object) -> object:
    """The structure of the outputs with their names in the file: `output`, or the keys and positions that lead to them."""
    return _named(structure, ()) if not isinstance(structure, str) else "output"


def _named(value: object, path: tuple[str, ...]) -> object:
    if isinstance(value, dict):
        return {key: _named(each, (*path, str(key))) for key, each in value.items()}
    if isinstance(value, list):
        return [_named(each, (*path, str(index))) for index, each in enumerate(value)]
    return own_name("_".join(path) if path and not path[0].isdigit() else "_".join(("output", *path)))


def file_digest(metadata: Mapping[str, str], graph: onnx.GraphProto) -> str:
    """32 hexadecimal digits over metadata (without `digest` and `pad`) and graph."""
    state = hashlib.blake2b(digest_size=16)
    for key in sorted(metadata.keys() - {"digest", "pad"}):
        state.update(f"{key}\0{metadata[key]}\0".encode())
    state.update(graph.SerializeToString(deterministic=True))
    return state.hexdigest()
