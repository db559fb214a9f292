"""`Handover`: what a worker leaves of a trial to the one that takes it over, among the shared files.

A rung that is done is kept at once, for the worker may be killed. A training is handed over where it stands if the worker is told to end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from mpsearch.core.errors import ConfigError
from mpsearch.core.record import Score
from mpsearch.data.fingerprint import content_digest
from mpsearch.study.records import Begun
from mpsearch.study.shared_files import SharedFiles
from mpsearch.training.checkpoint import Checkpoint, save_state
from mpsearch.trials.partway import Partway, RungState

__all__ = ["CHECKPOINT", "Handover"]

CHECKPOINT = "checkpoint"
"""Attribute of a trial: `rung` and `training` → file in the store."""
_RUNG = "trial_rung.checkpoint"
_TRAINING = "trial.checkpoint"


class Handover(Partway):
    """Takes over what another worker has left, and leaves what is done.

    Args:
        begun: the trial.
        inherited: the attribute `checkpoint` of the trial that it resumes; empty if it resumes none.
        made_from: identity of the trial: network, data, bits, seed.
        folder: for files of this process.
        store: shared files.
        say: gets a line if something cannot be kept or read.
    """

    def __init__(
        self,
        begun: Begun,
        inherited: Mapping[str, str],
        *,
        made_from: str,
        folder: Path,
        store: SharedFiles,
        say: Callable[[str], None],
    ) -> None:
        self._begun, self._inherited, self._made_from = begun, dict(inherited), made_from
        self._folder, self._store, self._say = folder, store, say
        self._files, self._legacy = dict(inherited), dict(inherited)
        self._training: Checkpoint | None = None
        for name in (_RUNG, _TRAINING):
            (folder / name).unlink(missing_ok=True)

    def held(self) -> RungState | None:
        """See `Partway`; a file that is gone, damaged or of another trial counts as none."""
        digest, path = self._inherited.get("rung"), self._folder / _RUNG
        if digest is None:
            return None
        try:
            if not self._store.fetch(digest, path):
                raise FileNotFoundError(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["made_from"] != self._made_from:
                raise ValueError("of another trial")
            scores = {str(rung): Score(**score) for rung, score in state["scores"].items()}
            return RungState(scores=scores, curve=list(state["curve"]), model=state["model"])
        except ConfigError as error:
            self._say(f"trial {self._begun.number} begins at its first rung ({error})")
        except Exception:  # torch.load raises all kinds of errors on damaged bytes
            self._say(f"trial {self._begun.number} begins at its first rung: what its worker had left is gone or damaged")
        self._files.pop("rung", None)
        return None

    def keep(self, state: Callable[[], RungState]) -> None:
        """See `Partway`."""
        held, path = state(), self._folder / _RUNG
        document = {
            "made_from": self._made_from,
            "scores": {rung: asdict(score) for rung, score in held.scores.items()},
            "curve": list(held.curve),
            "model": dict(held.model),
        }
        before = self._files.get("rung")
        self._files = {"rung": self._put(lambda: save_state(path, document), path)}
        self._tell()
        if before and before not in (self._files["rung"], *self._legacy.values()):  # what was inherited belongs to the trial it came from
            with suppress(OSError):
                self._store.remove(before)
        if self._training is not None:
            self._training.delete()

    def training(self, rung: str) -> Checkpoint | None:
        """See `Partway`."""
        path = self._folder / _TRAINING
        digest = self._inherited.pop("training", None)
        if digest is not None:
            try:
                self._store.fetch(digest, path)
            except (ConfigError, OSError) as error:
                self._say(f"trial {self._begun.number} trains from the beginning of its rung ({error})")
        self._training = Checkpoint(path, made_from=content_digest([self._made_from, rung]), say=self._say)
        return self._training

    def save_soon(self) -> None:
        """Let the training save its state at its next step."""
        if self._training is not None:
            self._training.every = -1.0

    def hand_over(self) -> None:
        """Leave the training where it stands."""
        if self._training is not None and self._training.path.exists():
            self._files["training"] = self._put(lambda: None, self._training.path)
            self._tell()

    def _put(self, write: Callable[[], None], path: Path) -> str:
        try:
            write()
            return self._store.put(path)
        except (ConfigError, OSError) as error:  # the trial goes on; only its heir would have to begin again
            self._say(f"trial {self._begun.number} cannot be handed over ({error}); it goes on")
            return ""

    def _tell(self) -> None:
        files = {name: digest for name, digest in self._files.items() if digest}
        self._begun.study._storage.set_trial_user_attr(self._begun.trial_id, CHECKPOINT, files)
