"""`c`: one C99 translation unit with packed weights, for microcontrollers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.layer import Layer
from mpsearch.core.nested import leaves
from mpsearch.core.number_format import NumberFormat
from mpsearch.targets import TARGETS
from mpsearch.targets.base import Target
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.c.file import checked_text, defined, read_file
from mpsearch.targets.c.folder import companions
from mpsearch.targets.c.program import CompiledModel, compiler_version
from mpsearch.targets.c.write import CWriter
from mpsearch.targets.packed.artifact import PackedArtifact

__all__ = ["C"]


@TARGETS.register("c")
class C(Target):
    """One C99 file without allocation or dependencies: weights packed at their bits, one static arena, `model_run(input, output)`.

    Bytes are those of the file's constant data, which lie in flash; the code, some kilobytes that depend on the compiler, is not counted.
    """

    name: ClassVar[str] = "c"
    description: ClassVar[str] = "one C99 file for microcontrollers: weights packed in flash, integer arithmetic, no malloc"
    file: ClassVar[str] = "model.c"
    place: ClassVar[str] = "in flash"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Inputs on powers of two, and superblocks."""
        if weight.in_superblocks:
            return "no C function unpacks superblocks"
        if activation.kind == "power_of_two":
            return f"no C function reads inputs of the format '{activation}'; uniform ones are possible"
        return ""

    def writer(self, blueprint: Blueprint) -> CWriter:
        """What writes the network of a blueprint.

        Raises:
            ModelError: no C function computes one of its operators, inputs or outputs.
            ConfigError: the packages of the extra `onnx` are not installed.
        """
        return CWriter(blueprint)

    def read(self, path: Path) -> PackedArtifact:
        """Read and check a file."""
        return PackedArtifact(read_file(path))

    def companions(self, path: Path) -> Mapping[str, str]:
        """Header, example program, test vector and Makefile."""
        return companions(checked_text(path))

    def deployed_bytes(self, path: Path) -> int:
        """Bytes of the file's constant data.

        Raises:
            ArtifactError: it is no C file of mpsearch.
        """
        try:
            return defined(checked_text(path), "MODEL_FLASH")
        except ValueError as error:
            raise ArtifactError(f"{path} does not tell its size ({error}); export it again") from error

    def timed_in(self, threads: int) -> str:
        """The C compiler of this machine, with its optimisation.

        Raises:
            ConfigError: there is none; or more than one thread, which no C file has.
        """
        if threads != 1:
            raise ConfigError(f"the C program has one thread, not {threads}; leave --runtime-threads out", path="threads")
        return compiler_version()

    def prepared(self, path: Path, inputs: Any, threads: int) -> Callable[[], object]:
        """The compiled file, in this process: the samples of the batch one after another."""
        self.timed_in(threads)
        return CompiledModel(path).prepared(next(leaves(inputs)))
