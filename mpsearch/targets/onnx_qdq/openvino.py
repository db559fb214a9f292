"""`OpenVinoModel`: an ONNX file in OpenVINO, called like the network it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mpsearch.core.errors import ArtifactError, DataError
from mpsearch.core.extras import needs
from mpsearch.targets.onnx.runtime import Array, ExecutedFile, first_line

__all__ = ["OpenVinoModel"]


class OpenVinoModel(ExecutedFile):
    """A file in OpenVINO, compiled for the CPU.

    Args:
        content: of the file.
        inputs: names of the network's inputs.
        outputs: structure of what it returns, with names in place of tensors.
        settings: of the compiled model, such as `{"INFERENCE_PRECISION_HINT": "f32"}`.
        threads: None: as many as torch has.

    Raises:
        ArtifactError: the runtime refuses the file.
        ConfigError: OpenVINO is not installed.
    """

    def __init__(
        self, content: bytes, inputs: tuple[str, ...], outputs: Any, settings: Mapping[str, str], threads: int | None = None
    ) -> None:
        super().__init__(inputs, outputs)
        needs("a file scored in OpenVINO", "openvino", "openvino")
        import openvino

        core, used = openvino.Core(), {"INFERENCE_NUM_THREADS": torch.get_num_threads() if threads is None else threads}
        try:
            self.compiled = core.compile_model(core.read_model(content, b""), "CPU", {**settings, **used})
        except Exception as error:  # RuntimeError and classes of its own
            raise ArtifactError(f"OpenVINO refuses the file ({first_line(error)}); export it again, for another runtime") from error

    def computed(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Inputs by name → outputs by name."""
        try:
            found = self.compiled(dict(feed))
        except Exception as error:  # RuntimeError and classes of its own
            raise DataError(f"OpenVINO cannot run these inputs ({first_line(error)}); give inputs as the model takes them") from error
        return {name: found[output].copy() for output in self.compiled.outputs for name in output.get_names()}
