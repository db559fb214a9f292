"""A folder with a small study, and its command run there in a process of its own that may be killed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["VARIANTS", "Place"]

NET = """
from torch import nn

def make() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10))
"""
STUDY: dict[str, Any] = {
    "name": "tiny",
    "data": {"source": "digits"},
    "model": {"factory": "tinynet:make"},
    "space": "weights-only",
    "budgets": ["3bit"],
    "signals": {"names": ["fisher", "coverage"], "images": 64},
    "methods": {"lsq": {}},
    "recipe": {"batch_size": 128, "lr": {"low": 0.01, "high": 0.05, "log": True}, "reestimate": 128, "precision": "float32"},
    "float_recipe": {"epochs": 2, "batch_size": 128, "lr": 0.1, "precision": "float32"},
    "search": {"trials": 4, "rungs": [{"name": "ptq", "epochs": 0}, {"name": "short", "epochs": 1, "keep": 0.5}]},
    "retrain": {"epochs": 2, "control": True},
    "compile": "off",
    "device": "cpu",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "timeout": {"search": {**STUDY["search"], "timeout": "1h"}},
    "mix": {"signals": {"names": ["fisher", "coverage", "mix"], "images": 64, "mixed_on": 24}},
    "supernet": {"search": {"trials": 4, "evaluate": "supernet", "supernet": {"epochs": 1, "draws": 1, "images": 64}}},
    "learned": {"signals": {"names": ["fisher", "alq"], "images": 64}},
    "ended": {"search": {**STUDY["search"], "trials": 40, "timeout": "1s"}},
}
"""What differs from STUDY. `timeout` has one that it never reaches, `ended` one that ends the search."""


class Place:
    """A folder with the study, where its command runs with a cache of its own.

    Args:
        folder: existing folder.
        variant: name in `VARIANTS`.
        settings: further keys of the study, in place of the variant's.
    """

    def __init__(self, folder: Path, variant: str, settings: dict[str, Any] | None = None) -> None:
        self.folder = folder
        (folder / "tinynet.py").write_text(NET, encoding="utf-8")
        study = {**STUDY, **VARIANTS[variant], **(settings or {})}
        (folder / "tiny.yaml").write_text(json.dumps(study), encoding="utf-8")  # JSON is YAML

    def run(self, prepare: Callable[[], None] | None = None, after: float | None = None, *, imported: bool = False) -> tuple[int, str]:
        """Run the command in a forked process, which has the modules of this one and nothing else in common.

        Args:
            prepare: called in the new process before the command.
            after: seconds, after which it is killed by SIGKILL.
            imported: write the names of the modules that it has in the end to `modules.txt`.

        Returns:
            exit code, that of a signal negative, and what it printed.
        """
        with tempfile.TemporaryFile() as said:  # not in the folder, whose disk may be full
            child = os.fork()
            if child == 0:
                self._command(said.fileno(), prepare, imported)
            status = _wait(child, after)
            said.seek(0)
            return os.waitstatus_to_exitcode(status), said.read().decode("utf-8", "replace")

    def _command(self, said: int, prepare: Callable[[], None] | None, imported: bool) -> None:
        code = 70
        try:
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.chdir(self.folder)
            os.environ.update(MPSEARCH_CACHE=str(self.folder / "cache"), OMP_NUM_THREADS="1")
            sys.path.insert(0, str(self.folder))
            import torch

            from mpsearch.cli import main

            torch.set_num_threads(1)
            if prepare is not None:
                prepare()
            code = main(["study", "tiny.yaml", "--run-dir", "run", "--quiet"])
            if imported:
                names = [name for name in sys.modules if name not in ("tinynet", "__main__", "__mp_main__")]
                Path("modules.txt").write_text("\n".join(names), encoding="utf-8")
        except BaseException:  # whatever it is, the process must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def outcome(self) -> Any:
        """Trials, model bytes and summary, clock aside."""
        run = self.folder / "run"
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        ended = [summary[name] for name in ("winner", "uniform", "uniform_spent", "searched", "control")]
        for record in (*summary["trials"], *ended):
            if record is not None:
                del record["seconds"]
        for record in (*summary["trials"], *filter(None, [summary["searched"]])):
            del record["number"]  # a trial that was killed had one
        for comparison in summary["comparisons"]:
            comparison["rival"] = re.sub(r"trial \d+", "a trial", comparison["rival"])
        for table in summary["tables"]:
            del table["cost"]["seconds"]
        for name in ("seconds", "delivered", "command", "digest", "foresight"):  # the card counts passes and seconds; earlier runs foresee
            del summary[name]
        number = summary["winner"].pop("number")
        return summary, number >= 0, (run / "model.safetensors").read_bytes(), (run / "bits.yaml").read_text(encoding="utf-8")

    def undisturbed(self, prepare: Callable[[], None] | None = None) -> tuple[Any, float]:
        """Run the command to its end, and import here what it imported, so that later processes start with that.

        Returns:
            outcome and seconds.

        Raises:
            SystemExit: the command ended with another code than 0.
        """
        started = time.monotonic()
        code, output = self.run(prepare, imported=True)
        if code:
            raise SystemExit(f"the run that nobody disturbs ends with {code}: {output}")
        for module in (self.folder / "modules.txt").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ImportError, AttributeError):  # names that a library only pretends
                importlib.import_module(module)
        return self.outcome(), time.monotonic() - started


def _wait(child: int, after: float | None) -> int:
    """The status of a process, which is killed after so many seconds."""
    end = None if after is None else time.monotonic() + after
    while True:
        ended, status = os.waitpid(child, os.WNOHANG if end is not None else 0)
        if ended:
            return status
        if end is not None and time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
            end = None
        time.sleep(0.01)
