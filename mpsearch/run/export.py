"""The artifact of a finished run, copied elsewhere with its card."""

from __future__ import annotations

from pathlib import Path

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.files import write_bytes
from mpsearch.run.directory import ARTIFACT, CARD, CARD_FIELDS, SUMMARY
from mpsearch.targets.packed.artifact import read_artifact

__all__ = ["export_run"]


def export_run(run_dir: Path, out: Path) -> list[Path]:
    """Copy the artifact of a finished run, checked, and its card: `net.card.json` and `net.card.md` beside `net.safetensors`.

    Returns:
        What was written, the artifact first; without the card where the run has none.

    Raises:
        RunDirectoryError: the folder holds no finished run.
        ArtifactError: the artifact is damaged.
    """
    for name in (ARTIFACT, SUMMARY):
        if not (run_dir / name).is_file():
            raise RunDirectoryError(
                f"{run_dir} holds no finished run (there is no {name}); run 'mpsearch study' with --run-dir {run_dir} first"
            )
    read_artifact(run_dir / ARTIFACT)
    written = [write_bytes(out, (run_dir / ARTIFACT).read_bytes())]
    for name in (CARD, CARD_FIELDS):
        beside = out.with_name(f"{out.stem}.{name}")
        if (run_dir / name).is_file():
            written.append(write_bytes(beside, (run_dir / name).read_bytes()))
        else:
            beside.unlink(missing_ok=True)  # one that an earlier export left here belongs to another network
    return written
