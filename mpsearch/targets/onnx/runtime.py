"""`ExecutedFile`: an ONNX file in a runtime, called like the network it was made from; `RuntimeModel`: in ONNX Runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError, DataError
from mpsearch.core.nested import leaves, mapped

__all__ = ["Array", "ExecutedFile", "RuntimeModel", "first_line"]

Array = np.ndarray[Any, Any]


class ExecutedFile(nn.Module, ABC):
    """Base class of the runtimes, on the CPU.

    Args:
        inputs: names of the network's inputs.
        outputs: structure of what it returns, with names in place of tensors.
    """

    def __init__(self, inputs: tuple[str, ...], outputs: Any) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    @abstractmethod
    def computed(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Inputs by name → outputs by name.

        Raises:
            DataError: the runtime cannot run these inputs.
        """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returns for the same arguments."""
        given = {**dict(zip(self.inputs, (leaf for leaf in leaves(args) if isinstance(leaf, Tensor)), strict=False)), **kwargs}
        feed = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in given.items() if name in self.inputs}
        by_name = {name: torch.from_numpy(value) for name, value in self.computed(feed).items()}
        return mapped(self.outputs, lambda name: by_name[name])


class RuntimeModel(ExecutedFile):
    """A file in ONNX Runtime, in a session with as many threads as torch has.

    Args:
        content: of the file.
        inputs: names of the network's inputs.
        outputs: structure of what it returns, with names in place of tensors.
        settings: of the session, where they are not the default, such as `{"session.disable_quant_qdq": "1"}`.

    Raises:
        ArtifactError: the runtime refuses the file.
    """

    def __init__(self, content: bytes, inputs: tuple[str, ...], outputs: Any, settings: Mapping[str, str]) -> None:
        super().__init__(inputs, outputs)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        for key, value in settings.items():
            options.add_session_config_entry(key, value)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes are private
            raise ArtifactError(f"ONNX Runtime refuses the file ({first_line(error)}); export it again") from error

    def computed(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Inputs by name → outputs by name."""
        try:
            found = self.session.run(None, dict(feed))
        except Exception as error:  # its classes are private
            raise DataError(f"ONNX Runtime cannot run these inputs ({first_line(error)}); give inputs as the model takes them") from error
        names = [value.name for value in self.session.get_outputs()]
        return dict(zip(names, found, strict=True))


def first_line(error: Exception) -> str:
    """What a runtime says, in a line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
