"""`tensorboard`: event files in the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpsearch.loggers import LOGGERS
from mpsearch.loggers.base import Begun, Logger
from mpsearch.loggers.values import Values

__all__ = ["TensorBoard"]


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """Scalars and texts by trial and epoch; `place` is the folder, `tensorboard` in the run directory unless told."""

    name = "tensorboard"
    description = "event files in RUN/tensorboard, or tensorboard:FOLDER"
    package = "tensorboard"
    _writer: Any

    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        """Add a file to the folder, where TensorBoard puts those of one run together."""
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter  # torch has no types for it
        self._writer = writer(str(Path(self.place) if self.place else run.directory / "tensorboard"))
        rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
        self._writer.add_text("study", f"| key | value |\n|---|---|\n{rows}")

    def write(self, values: Values) -> None:
        """Write a scalar for each number and a text for each text."""
        for name, value in values.numbers.items():
            self._writer.add_scalar(name, value, values.step)
        for name, text in values.texts.items():
            self._writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), values.step)  # as it stands, no Markdown
        self._writer.flush()

    def ended(self, values: Values) -> None:
        """Write the figures of the run as scalars at step 0."""
        self.write(values)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
