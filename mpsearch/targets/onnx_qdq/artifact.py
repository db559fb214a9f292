"""`QdqArtifact`: the network stored in a file of integers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mpsearch.core.errors import ArtifactError
from mpsearch.targets.onnx.artifact import OnnxArtifact
from mpsearch.targets.onnx.file import OnnxFile
from mpsearch.targets.onnx.runtime import ExecutedFile, RuntimeModel
from mpsearch.targets.onnx_qdq import layout
from mpsearch.targets.onnx_qdq.openvino import OpenVinoModel
from mpsearch.targets.onnx_qdq.read import QdqReader

__all__ = ["QdqArtifact"]


class QdqArtifact(OnnxArtifact):
    """A file of integers, from which the network can be built, or run as it is."""

    integers: ClassVar[bool] = False

    @classmethod
    def read(cls, path: Path) -> QdqArtifact:
        """Read and check a file.

        Raises:
            ArtifactError: the file is missing, truncated, was tampered with, has another format, or asks for settings that no file may.
        """
        file = OnnxFile.read(path, layout.VERSION)
        try:
            layout.Session.read(file.metadata)
        except ValueError as error:
            raise ArtifactError(f"{path} cannot be run ({error}); export it again") from error
        return cls(file)

    def reader(self) -> QdqReader:
        """Reads the numbers of the layers."""
        return QdqReader(self.file.tensors)

    def executed(self, threads: int | None = None) -> ExecutedFile:
        """The file in the runtime that it names, with its settings.

        Args:
            threads: of the runtime; None: as many as torch has.

        Raises:
            ArtifactError: the runtime refuses the file.
            ConfigError: OpenVINO is not installed.
        """
        kind = OpenVinoModel if self.session.runtime == layout.OPENVINO else RuntimeModel
        return kind(self.file.content, self.file.inputs, self.file.outputs, self.settings(), threads)

    @property
    def session(self) -> layout.Session:
        """In what the file was scored, as it says."""
        return layout.Session.read(self.file.metadata)

    def settings(self) -> Mapping[str, str]:
        """Of the runtime's session."""
        return self.session.settings
