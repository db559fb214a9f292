"""`ExecutedFile`: an ONNX file in a runtime, called like the network it was made from; `RuntimeModel`: in ONNX Runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError, DataError
from mpsearch.core.extras import needs
from mpsearch.core.nested import leaves, mapped

__all__ = ["Array", "ExecutedFile", "RuntimeModel", "first_line", "runtime_version"]

Array = np.ndarray[Any, Any]


def runtime_version(purpose: str) -> str:
    """Such as `onnxruntime 1.32.0`.

    Args:
        purpose: who asks, for messages.

    Raises:
        ConfigError: it is not installed.
    """
    needs(purpose, "onnx", "onnxruntime")
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


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
        by_name = {name: torch.from_numpy(value) for name, value in self.computed(self._feed(args, kwargs)).items()}
        return mapped(self.outputs, lambda name: by_name[name])

    def prepared(self, inputs: Any) -> Callable[[], object]:
        """A call of the runtime with one batch, whose arrays are at hand."""
        args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs if isinstance(inputs, tuple | list) else (inputs,), {})
        feed = self._feed(tuple(args), kwargs)
        self.computed(feed)
        return lambda: self.computed(feed)

    def _feed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Array]:
        given = {**dict(zip(self.inputs, (leaf for leaf in leaves(args) if isinstance(leaf, Tensor)), strict=False)), **kwargs}
        return {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in given.items() if name in self.inputs}


class RuntimeModel(ExecutedFile):
    """A file in ONNX Runtime.

    Args:
        content: of the file.
        inputs: names of the network's inputs.
        outputs: structure of what it returns, with names in place of tensors.
        settings: of the session, where they are not the default, such as `{"session.disable_quant_qdq": "1"}`.
        threads: of the session; None: as many as torch has.

    Raises:
        ArtifactError: the runtime refuses the file.
    """

    def __init__(
        self, content: bytes, inputs: tuple[str, ...], outputs: Any, settings: Mapping[str, str], threads: int | None = None
    ) -> None:
        super().__init__(inputs, outputs)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
        options.log_severity_level = 4
        for key, value in settings.items():
            options.add_session_config_entry(key, value)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes are private
            raise ArtifactError(f"ONNX Runtime refuses the file ({first_line(error)}); export it again") from error
        self._names = [value.name for value in self.session.get_outputs()]

    def computed(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Inputs by name → outputs by name."""
        try:
            found = self.session.run(None, feed)
        except Exception as error:  # its classes are private
            raise DataError(f"ONNX Runtime cannot run these inputs ({first_line(error)}); give inputs as the model takes them") from error
        return dict(zip(self._names, found, strict=True))


def first_line(error: Exception) -> str:
    """What a runtime says, in a line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
