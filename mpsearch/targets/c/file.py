"""The comment at the head of a C file, which says what its arrays mean, and reading it back.

    /* A network written by mpsearch; format=mpsearch-c-1
    digest=…      BLAKE2b of the whole text but this line
    model=…       as in a packed file: compressed JSON
    bits=…        as in a packed file
    formats=…     as in a packed file
    apart=…       compressed JSON: what no program reads
    */

The arrays `codes`, `scales`, `exponents`, `biases` and `act_steps` are the tensors of a packed file, see `mpsearch.targets.packed.layout`.
`floats` has those tensors of the `state_dict` that the program reads; the others stand in `apart`, so that they take no memory.
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import is_file
from mpsearch.targets.c.source import TYPES
from mpsearch.targets.description import Description, decompress
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.file import PackedFile, Tensors

__all__ = ["VERSION", "defined", "headed", "read_file"]

VERSION = "mpsearch-c-1"

_HEAD = f"/* A network written by mpsearch; format={VERSION}\n"
_WIDTH = 132
_FIELDS = ("model", "bits", "formats", "apart")


def headed(metadata: Mapping[str, str], text: str) -> str:
    """The whole file: its comment and its program."""
    lines = "".join(f"{name}={_wrapped(metadata[name])}\n" for name in _FIELDS) + "*/\n" + text
    return f"{_HEAD}digest={_digest(lines)}\n{lines}"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDTH, break_on_hyphens=False, drop_whitespace=False)) if text else ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def defined(text: str, name: str) -> int:
    """The value of a macro.

    Raises:
        ValueError: the text does not define it.
    """
    found = re.search(rf"^#define {name} (\d+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"there is no {name}")
    return int(found[1])


def checked_text(path: Path) -> str:
    """The text of a file whose digest is right.

    Raises:
        ArtifactError: the file is missing, or is no C file of mpsearch, or was changed.
    """
    if not is_file(path):
        raise ArtifactError(f"no artifact at {path}; give the path of a model.c that 'mpsearch study --target c' wrote")
    try:
        text = path.read_bytes().decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read as C of mpsearch ({error}); export it again") from error
    if not text.startswith(_HEAD):
        raise ArtifactError(f"{path} is no C file of mpsearch (its first line lacks format={VERSION}); give one that mpsearch wrote")
    found, _, rest = text[len(_HEAD) :].partition("\n")
    if found != f"digest={_digest(rest)}":
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    return text


def read_file(path: Path) -> PackedFile:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or is no C file of mpsearch.
    """
    text = checked_text(path)
    try:
        head, _, program = text[len(_HEAD) :].partition("*/\n")
        fields = re.findall(r"^(\w+)=((?:.|\n)*?)(?=\n(?:digest|model|bits|formats|apart)=|\n\Z)", head, re.MULTILINE)
        metadata = {name: value.replace("\n", "") for name, value in fields}
        apart = decompress(metadata["apart"])
        tensors = {name: _array(program, name) for name in layout.TENSORS}
        tensors["floats"] = _floats(tensors["floats"], apart["floats"])
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, (dtype, shape, data) in apart["others"].items():
            tensors[name], shapes[name] = base64.b85decode(data), (str(dtype), tuple(shape))
        return PackedFile(description=Description.read(metadata), tensors=Tensors.held(tensors), shapes=shapes)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error


def _array(program: str, name: str) -> bytes:
    kind, dtype = TYPES[name]
    found = re.search(rf"^static const {kind} {name}\[\d+\] = {{\n([^}}]*)\n}};", program, re.MULTILINE)
    if found is None:
        return b""
    words = [word.strip() for word in found[1].replace("\n", "").rstrip(",").split(",")]
    if kind != "float":
        return np.array([int(word) for word in words], dtype=dtype).tobytes()
    return np.array([float(word.removesuffix("f") if "INF" not in word else word.lower()) for word in words], dtype=dtype).tobytes()


def _floats(held: bytes, order: Any) -> bytes:
    """All float32 tensors outside the layers, in the order of the `state_dict`: numbers of bytes in the array, or their bytes."""
    found, at = b"", {int(first): int(size) for first, size in order["held"]}
    for entry in order["all"]:
        if isinstance(entry, str):
            found += base64.b85decode(entry)
        else:
            found += held[int(entry) : int(entry) + at[int(entry)]]
    return found
