"""`export_run`: copies the artifact of a finished run and its card."""

from __future__ import annotations

import json
from pathlib import Path

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.files import write_bytes
from mpsearch.core.summary import Summary
from mpsearch.run.directory import CARD, CARD_FIELDS, SUMMARY
from mpsearch.targets import read_artifact

__all__ = ["export_run"]


def export_run(run_dir: Path, out: Path) -> list[Path]:
    """Check and copy the artifact of a finished run, and its card: `net.card.json` and `net.card.md` beside `net.safetensors`.

    Returns:
        Paths of the written files, the artifact first; the card is missing if the run has none.

    Raises:
        RunDirectoryError: the folder holds no finished run.
        ArtifactError: the artifact is damaged.
    """
    if not (run_dir / SUMMARY).is_file():
        raise _unfinished(run_dir, SUMMARY)
    summary = Summary.from_dict(json.loads((run_dir / SUMMARY).read_text(encoding="utf-8")))
    artifact = run_dir / summary.artifact
    if not summary.artifact or not artifact.is_file():
        raise _unfinished(run_dir, summary.artifact or "artifact")
    read_artifact(artifact)
    written = [write_bytes(out, artifact.read_bytes())]
    for name in (CARD, CARD_FIELDS):
        beside = out.with_name(f"{out.stem}.{name}")
        if (run_dir / name).is_file():
            written.append(write_bytes(beside, (run_dir / name).read_bytes()))
        else:
            beside.unlink(missing_ok=True)  # a card of an earlier export belongs to another network
    return written


def _unfinished(run_dir: Path, missing: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{run_dir} holds no finished run (there is no {missing}); run 'mpsearch study' with --run-dir {run_dir} first"
    )
