"""`RuntimeModel`: an ONNX file in ONNX Runtime, called like the network it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError, DataError
from mpsearch.core.nested import leaves, mapped

__all__ = ["RuntimeModel"]


class RuntimeModel(nn.Module):
    """A file in ONNX Runtime, on the CPU, in a session with as many threads as torch has.

    Args:
        content: of the file.
        inputs: names of the network's inputs.
        outputs: structure of what it returns, with names in place of tensors.
        settings: of the session, where they are not the default, such as `{"session.disable_quant_qdq": "1"}`.

    Raises:
        ArtifactError: the runtime refuses the file.
    """

    def __init__(self, content: bytes, inputs: tuple[str, ...], outputs: Any, settings: Mapping[str, str]) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        for key, value in settings.items():
            options.add_session_config_entry(key, value)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes are private
            raise ArtifactError(f"ONNX Runtime refuses the file ({_first_line(error)}); export it again") from error
        self.inputs, self.outputs = inputs, outputs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returns for the same arguments."""
        given = {**dict(zip(self.inputs, (leaf for leaf in leaves(args) if isinstance(leaf, Tensor)), strict=False)), **kwargs}
        feed = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in given.items() if name in self.inputs}
        try:
            computed = self.session.run(None, feed)
        except Exception as error:  # its classes are private
            raise DataError(f"ONNX Runtime cannot run these inputs ({_first_line(error)}); give inputs as the model takes them") from error
        names = [value.name for value in self.session.get_outputs()]
        by_name = {name: torch.from_numpy(value) for name, value in zip(names, computed, strict=True)}
        return mapped(self.outputs, lambda name: by_name[name])


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
