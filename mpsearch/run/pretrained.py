"""A network in a folder, as the Hugging Face Hub keeps one: `save_pretrained` writes it, `pretrained_artifact` finds its checked file.

The folder holds the artifact under its own name with whatever its target puts beside it, `config.json` (digest and figures), `README.md`
(the model card) and the quantization card. It is a plain folder: nothing is sent anywhere.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpsearch.card.model_card import model_card
from mpsearch.core.errors import ArtifactError, RunDirectoryError
from mpsearch.core.extras import needs
from mpsearch.core.files import file_digest, is_file, is_folder, replacing, write_bytes, write_text
from mpsearch.core.summary import Summary
from mpsearch.core.version import __version__
from mpsearch.models import is_registered
from mpsearch.report.info import bits_info, facts
from mpsearch.run.directory import CARD, CARD_FIELDS
from mpsearch.run.export import finished_run
from mpsearch.run.read_back import read_bytes, read_json
from mpsearch.targets import Artifact, target_of

__all__ = ["pretrained_artifact", "save_pretrained"]

_CONFIG = "config.json"
_README = "README.md"
_LIBRARY = "mpsearch"
_FORMAT = 1
_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]{1,255}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def save_pretrained(run_dir: Path, folder: Path) -> Path:
    """Write the network of a finished run into a folder; one that this has written before is renewed.

    Args:
        run_dir: of the run.
        folder: created if missing.

    Returns:
        The folder.

    Raises:
        RunDirectoryError: there is no finished run, or the folder holds other things.
        ArtifactError: the artifact is damaged.
    """
    summary, path = finished_run(run_dir)
    target = target_of(path)
    artifact, companions = target.read(path), target.companions(path)
    cards = {name: read_bytes(run_dir / name) for name in (CARD, CARD_FIELDS) if is_file(run_dir / name)}
    before = _before(folder, {path.name, *companions, *cards, _CONFIG, _README})
    registered = bool(artifact.model) and is_registered(artifact.model)
    options = ", ".join(f"{name}={value!r}" for name, value in artifact.options.items())
    readme = model_card(summary, target=target.name, registered=registered, options=f"({options})" if options else "")
    with replacing(folder / path.name) as temporary:
        shutil.copyfile(path, temporary)
    for name, text in {**companions, _README: readme}.items():
        write_text(folder / name, text)
    for name, content in cards.items():
        write_bytes(folder / name, content)
    config = _config(summary, artifact, target.name, folder / path.name, [*companions, *cards])
    write_text(folder / _CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    for name in before - {path.name, *companions, *cards}:  # of another network
        (folder / name).unlink(missing_ok=True)
    return folder


def pretrained_artifact(place: str | Path) -> tuple[Path, Artifact]:
    """The file of a folder of `save_pretrained`, and its content, checked against the digest in `config.json`.

    Args:
        place: the folder; or `owner/name` of a repository on the Hugging Face Hub, if there is no such folder, which the package
            huggingface_hub fetches.

    Raises:
        ArtifactError: no such folder, another library's, or one that was damaged.
        ConfigError: huggingface_hub is needed and not installed.
    """
    folder = Path(place)
    if is_file(folder):
        raise ArtifactError(f"{folder} is a file; give the folder of save_pretrained, or call mpsearch.load with this file")
    if not is_folder(folder):
        if not _HUB.fullmatch(str(place)):
            raise ArtifactError(f"there is no folder '{place}'; give one of save_pretrained, or owner/name of a repository on the Hub")
        folder = _fetched(str(place))
    file = folder / _CONFIG
    if not is_file(file):
        raise ArtifactError(f"{folder} is no folder of save_pretrained: it holds no {_CONFIG}; give one, or call mpsearch.load with a file")
    name, digest = _told(file, _read(file, folder))
    path = _within(folder / name, folder)
    found = file_digest(path)
    if found != digest:
        raise ArtifactError(f"{path} {'is not the file that its' if found else 'is missing, which'} {_CONFIG} names; get the folder again")
    return path, target_of(path).read(path)


def _config(summary: Summary, artifact: Artifact, target: str, path: Path, beside: list[str]) -> dict[str, Any]:
    known, bits = facts(summary), bits_info(summary)
    return {
        "library_name": _LIBRARY,
        "format": _FORMAT,
        "mpsearch_version": __version__,
        "artifact": {"file": path.name, "target": target, "bytes": path.stat().st_size, "sha256": file_digest(path), "beside": beside},
        "architecture": {"name": artifact.model, "options": dict(artifact.options)},
        "quantization": {
            "bits": artifact.allocation.to_dict(),
            "mean_weight_bits": bits.mean_weight_bits,
            "mean_activation_bits": bits.mean_act_bits,
        },
        "metric": {"name": summary.metric, "split": known.split, **{name: score.metric for name, score in known.scores.items()}},
        "command": summary.command,
    }


def _before(folder: Path, written: set[str]) -> set[str]:
    """Files of an earlier save in the folder.

    Raises:
        RunDirectoryError: a file is in the folder's place, or files of somebody else would be overwritten.
    """
    if is_file(folder):
        raise RunDirectoryError(f"{folder} is a file; give a folder")
    try:
        document = json.loads(read_bytes(folder / _CONFIG).decode("utf-8"))
        name, _ = _told(folder / _CONFIG, document)
        beside = document["artifact"].get("beside", [])
        return {each for each in (name, *beside) if isinstance(each, str) and _NAME.fullmatch(each)}
    except FileNotFoundError:
        taken = sorted(each for each in written if (folder / each).exists())
    except (ValueError, ArtifactError, OSError, RecursionError):
        taken = [_CONFIG]
    if taken:
        raise RunDirectoryError(f"{folder} holds {taken[0]}, which mpsearch has not written; give a new folder, or move that file away")
    return set()


def _read(file: Path, folder: Path) -> Any:
    _within(file, folder)
    try:
        return read_json(file.resolve(), lambda document: document)
    except (RunDirectoryError, OSError) as error:
        raise ArtifactError(
            f"{file} is damaged; get the folder again ({str(error).partition('(')[2].partition(')')[0] or error})"
        ) from error


def _told(file: Path, document: Any) -> tuple[str, str]:
    """(name, digest) of the artifact.

    Raises:
        ArtifactError: the configuration is another library's, a later version's, or was damaged.
    """
    if not isinstance(document, Mapping) or document.get("library_name") != _LIBRARY:
        kind = document.get("model_type") if isinstance(document, Mapping) else None
        of = f" (its model_type is {kind!r:.40})" if kind else ""
        raise ArtifactError(f"{file} is not of mpsearch{of}; give a folder of save_pretrained")
    if document.get("format") != _FORMAT:
        raise ArtifactError(f"{file} has the format {document.get('format')!r:.40}, and this version reads {_FORMAT}; update mpsearch")
    told = document.get("artifact")
    name, digest = (told.get("file"), told.get("sha256")) if isinstance(told, Mapping) else (None, None)
    if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise ArtifactError(f"{file} is damaged: it names no artifact with its digest; get the folder again")
    return name, digest


def _within(path: Path, folder: Path) -> Path:
    """A path that does not leave the folder, or the cache of the Hub, which keeps contents beside its snapshots, by a link.

    Raises:
        ArtifactError: it does.
    """
    place = folder.resolve()
    root = place.parents[1] if place.parent.name == "snapshots" else place
    if not path.resolve().is_relative_to(root):
        raise ArtifactError(f"{path} is a link out of its folder; get the folder again")
    return path


def _fetched(name: str) -> Path:
    needs(f"from_pretrained('{name}'), which is no folder here,", "hub", "huggingface_hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # of the network, of the service, of its cache
        reason = str(error).strip().partition("\n")[0][:200]
        raise ArtifactError(
            f"'{name}' is no folder here and could not be fetched from the Hub ({type(error).__name__}: {reason})"
        ) from error
