"""`export_run`: copies the artifact of a finished run and its card, and writes what its target puts beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.files import is_file, is_folder, replacing, write_bytes, write_text
from mpsearch.core.summary import Summary
from mpsearch.run.directory import CARD, CARD_FIELDS, SUMMARY
from mpsearch.run.read_back import check_regular, read_bytes, read_json
from mpsearch.targets import Target, target_of

__all__ = ["export_run", "finished_run", "placed"]


def export_run(run_dir: Path, out: Path) -> list[Path]:
    """Check and copy the artifact of a finished run, and its card: `net.card.json` and `net.card.md` beside `net.safetensors`.

    A target whose file needs others beside it (`c`: header, example program, Makefile) gets a folder of that name, unless `out` has the
    suffix of its file. Into a folder that exists the artifact goes under its own name.

    Returns:
        Paths of the written files, the artifact first; the card is missing if the run has none.

    Raises:
        RunDirectoryError: the folder holds no finished run, or one that was damaged or forged; or a file is where a folder must go.
        ArtifactError: the artifact is damaged.
    """
    _, artifact = finished_run(run_dir)
    target = target_of(artifact)
    target.read(artifact)
    out, companions = placed(target, artifact, out)
    cards = {name: read_bytes(run_dir / name) for name in (CARD, CARD_FIELDS) if os.path.lexists(run_dir / name)}
    others = [write_text(out.with_name(name), text) for name, text in companions.items()]
    with replacing(out) as temporary:
        shutil.copyfile(artifact, temporary)
    written = [out, *others]
    for name in (CARD, CARD_FIELDS):
        beside = out.with_name(f"{out.stem}.{name}")
        if name in cards:
            written.append(write_bytes(beside, cards[name]))
        else:
            beside.unlink(missing_ok=True)  # a card of an earlier export belongs to another network
    return written


def placed(target: Target, artifact: Path, out: Path) -> tuple[Path, Mapping[str, str]]:
    """Where an artifact goes, and the text files that go beside it, by name.

    Args:
        target: of the artifact.
        artifact: the file.
        out: as asked for: a file; or a folder, if the target's file needs others beside it or the folder exists.

    Raises:
        RunDirectoryError: a file is where a folder must go.
    """
    companions = {} if out.suffix == Path(target.file).suffix else target.companions(artifact)
    if companions and is_file(out):
        raise RunDirectoryError(f"{out} is a file; give a folder, since {target.file} comes with {', '.join(companions)}")
    return out / target.file if companions or is_folder(out) else out, companions


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
