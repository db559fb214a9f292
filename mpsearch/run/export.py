"""`export_run`: copies the artifact of a finished run and its card."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.files import is_file, replacing, write_bytes
from mpsearch.core.summary import Summary
from mpsearch.run.directory import CARD, CARD_FIELDS, SUMMARY
from mpsearch.run.read_back import check_regular, read_bytes, read_json
from mpsearch.targets import read_artifact

__all__ = ["export_run", "finished_run"]


def export_run(run_dir: Path, out: Path) -> list[Path]:
    """Check and copy the artifact of a finished run, and its card: `net.card.json` and `net.card.md` beside `net.safetensors`.

    Returns:
        Paths of the written files, the artifact first; the card is missing if the run has none.

    Raises:
        RunDirectoryError: the folder holds no finished run, or one that was damaged or forged.
        ArtifactError: the artifact is damaged.
    """
    _, artifact = finished_run(run_dir)
    read_artifact(artifact)
    cards = {name: read_bytes(run_dir / name) for name in (CARD, CARD_FIELDS) if os.path.lexists(run_dir / name)}
    with replacing(out) as temporary:
        shutil.copyfile(artifact, temporary)
    written = [out]
    for name in (CARD, CARD_FIELDS):
        beside = out.with_name(f"{out.stem}.{name}")
        if name in cards:
            written.append(write_bytes(beside, cards[name]))
        else:
            beside.unlink(missing_ok=True)  # a card of an earlier export belongs to another network
    return written


def finished_run(run_dir: Path) -> tuple[Summary, Path]:
    """The summary of a finished run, and the path of its artifact, which is a regular file.

    Raises:
        RunDirectoryError: the folder holds no finished run, or one that was damaged or forged.
    """
    if not is_file(run_dir / SUMMARY):
        raise _unfinished(run_dir, SUMMARY)
    summary = read_json(run_dir / SUMMARY, Summary.from_dict)
    artifact = run_dir / summary.artifact
    if not is_file(artifact):
        raise _unfinished(run_dir, summary.artifact)
    return summary, check_regular(artifact)


def _unfinished(run_dir: Path, missing: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{run_dir} holds no finished run (there is no {missing}); run 'mpsearch study' with --run-dir {run_dir} first"
    )
