"""`NextSteps`: the commands by which a point of a finished run becomes a network."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.files import is_file
from mpsearch.report.info.explorer import Command
from mpsearch.run.directory import STUDY
from mpsearch.run.finished_run import Finished, Point

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["NextSteps"]

_BITS = Path("bits.yaml")


class NextSteps:
    """Names commands for the points of a run.

    Args:
        finished: the run.
    """

    def __init__(self, finished: Finished) -> None:
        self._finished = finished

    def of(self, point: Point, *, budgets: Sequence[str] = (), out: Path | None = None) -> list[Command]:
        """The commands of a point, in their order.

        Args:
            point: of the run.
            budgets: under which it was asked for; its own size if under none.
            out: the file that holds its bits already; None: they are still to be written.

        Raises:
            RunDirectoryError: the folder has no study to retrain by.
        """
        return [Command(text=text, purpose=purpose) for text, purpose in self._of(point, budgets, out)]

    def _of(self, point: Point, budgets: Sequence[str], out: Path | None) -> Iterator[tuple[str, str]]:
        run = self._finished.run_dir
        if point.file is not None:
            if point.name == "winner":
                yield shlex.join(["mpsearch", "export", str(run), "--out", point.file.name]), "copy the trained network, checked"
            else:
                yield shlex.join(["mpsearch", "evaluate", str(point.file)]), "score the trained network, which is this file"
            return
        config = self._config
        bits = out or _BITS
        if out is None:
            asked = [word for text in budgets for word in ("--budget", text)]
            again = asked or ["--budget", f"{point.costs['size']:.0f}B"]
            trial = point.name.removeprefix("trial ")
            again = ["--trial", trial] if trial != point.name else again
            yield shlex.join(["mpsearch", "pick", str(run), *again, "--out", str(bits)]), "write these bits"
        if config.data.source == "memory":
            yield "mpsearch.search(model, …, space=…)", f"in Python, where the model was: with the bits of {bits} as pins of the space"
            return
        words = ["mpsearch", "retrain", str(run / STUDY), "--bits", str(bits)]
        words += ["--model", config.model.factory] if ":" in config.model.factory else []
        words += [word for text in budgets or (f"{point.costs['size']:.0f}B",) for word in ("--budget", text)]
        words += list(_settings(point, tuple(config.methods)))
        yield shlex.join([*words, "--run-dir", str(run.with_name(f"{run.resolve().name}-{point.allocation.key()}"))]), "train and export it"

    @cached_property
    def _config(self) -> StudyConfig:
        from mpsearch.config import load_study

        study = self._finished.run_dir / STUDY
        if not is_file(study):
            raise RunDirectoryError(f"{self._finished.run_dir} holds no run (there is no {STUDY}); give the folder of a run")
        return load_study(study)


def _settings(point: Point, methods: tuple[str, ...]) -> Iterator[str]:
    """Options that fix what the search had chosen: the method and its hyperparameters."""
    params = point.params
    method = str(params.get("method", methods[0]))
    if len(methods) > 1:
        yield from ("--methods", method)
    for key, value in params.items():
        if key != "method":
            path = f"methods.{key}" if key.startswith(f"{method}.") else key
            yield from ("--set", f"{path}={value}")
