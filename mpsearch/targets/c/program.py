"""`Program`: a C file, compiled on this machine and run on samples."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.targets.c.file import checked_text, defined

__all__ = ["FLAGS", "CompiledModel", "compiler", "compiler_version"]

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
"""Under which every file compiles without a word."""


def compiler() -> str:
    """The C compiler of this machine.

    Raises:
        ConfigError: there is none.
    """
    found = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if found is None:
        raise ConfigError("no C compiler found (cc, gcc or clang); install one, for example the Debian package gcc")
    return found


def compiler_version() -> str:
    """The C compiler of this machine and the optimisation it is called with, such as `gcc (Debian 12.2.0-14) 12.2.0 -O2`.

    Raises:
        ConfigError: there is none.
    """
    command = compiler()
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout.strip().splitlines()
    return f"{told[0].strip() if told else Path(command).name} {FLAGS[-1]}"


class CompiledModel:
    """A compiled C file.

    Args:
        path: of the file.
        flags: of the compiler.

    Raises:
        ArtifactError: it is no C file of mpsearch, or does not compile.
        ConfigError: there is no C compiler.
    """

    def __init__(self, path: Path, flags: Sequence[str] = FLAGS) -> None:
        text = checked_text(path)
        self.inputs, self.outputs = defined(text, "MODEL_INPUT"), defined(text, "MODEL_OUTPUT")
        with TemporaryDirectory() as folder:  # the loaded library outlives its file
            library = Path(folder) / "model.so"
            command = [compiler(), *flags, "-shared", "-fPIC", "-DMODEL_TEST_VECTOR", "-o", str(library), str(path), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                said = done.stderr.strip().splitlines() or [f"{command[0]} returns {done.returncode}"]
                raise ArtifactError(f"{path} does not compile: {said[0]}")
            self._library = ctypes.CDLL(str(library))

    def __call__(self, x: Tensor) -> Tensor:
        """Samples `[N, …]` → `[N, outputs]`, float32, one after another."""
        return self.prepared(x)()

    def prepared(self, x: Tensor) -> Callable[[], Tensor]:
        """A call with these samples, whose memory is at hand."""
        rows = x.detach().float().cpu().reshape(len(x), self.inputs).contiguous()
        outputs = torch.empty(len(x), self.outputs)
        places = [tuple(ctypes.c_void_p(row.data_ptr()) for row in pair) for pair in zip(rows, outputs, strict=True)]

        held = (rows, outputs)  # their memory must live as long as the call

        def run() -> Tensor:
            for given, found in places:
                self._library.model_run(given, found)
            return held[1]

        return run

    def test_vector(self) -> tuple[Tensor, Tensor]:
        """The sample in the file and the outputs that it must give."""
        given = (ctypes.c_float * self.inputs).in_dll(self._library, "model_test_input")
        expected = (ctypes.c_float * self.outputs).in_dll(self._library, "model_test_output")
        return torch.tensor(list(given)), torch.tensor(list(expected))
