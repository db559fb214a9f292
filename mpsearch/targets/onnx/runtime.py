"""`RuntimeModel`: an ONNX file in ONNX Runtime, called like the network it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError, DataError
from mpsearch.core.extras import needs
from mpsearch.core.nested import leaves, mapped

__all__ = ["RuntimeModel", "runtime_version"]


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


class RuntimeModel(nn.Module):
    """A file in ONNX Runtime, on the CPU.

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
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
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
        computed = self._run(self._feed(args, kwargs))
        names = [value.name for value in self.session.get_outputs()]
        by_name = {name: torch.from_numpy(value) for name, value in zip(names, computed, strict=True)}
        return mapped(self.outputs, lambda name: by_name[name])

    def prepared(self, inputs: Any) -> Callable[[], object]:
        """A call of the session with one batch, whose arrays are at hand."""
        args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs if isinstance(inputs, tuple | list) else (inputs,), {})
        feed = self._feed(tuple(args), kwargs)
        self._run(feed)
        return lambda: self.session.run(None, feed)

    def _feed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        given = {**dict(zip(self.inputs, (leaf for leaf in leaves(args) if isinstance(leaf, Tensor)), strict=False)), **kwargs}
        return {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in given.items() if name in self.inputs}

    def _run(self, feed: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
        try:
            computed: list[Any] = self.session.run(None, feed)
        except Exception as error:  # its classes are private
            raise DataError(f"ONNX Runtime cannot run these inputs ({_first_line(error)}); give inputs as the model takes them") from error
        return computed


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
