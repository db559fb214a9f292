"""`mpsearch evaluate`: the score of an artifact on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import RESOLVED_STUDY, data_options, read_config, trust_in
from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.files import is_file
from mpsearch.core.printable import printable

__all__ = ["evaluate"]


@click.command(short_help="Score an artifact from disk.")
@click.argument("artifact", type=click.Path(path_type=Path), metavar="ARTIFACT")
@click.option("--study", metavar="STUDY", help=f"Whose data to use; left out, the {RESOLVED_STUDY} beside the artifact.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--trust", is_flag=True, help=f"Run the code that a {RESOLVED_STUDY} from another machine names.")
@data_options
def evaluate(artifact: Path, study: str | None, split: str, trust: bool, **flags: Any) -> None:
    """Load ARTIFACT from disk and score it."""
    if not is_file(artifact):
        raise ArtifactError(f"there is no artifact '{artifact}'; give the file of a run, such as model.safetensors")
    beside = artifact.parent / RESOLVED_STUDY
    if study is None and not beside.is_file():
        raise ConfigError(f"{artifact}: there is no {RESOLVED_STUDY} beside it to name the data; add --study NAME or FILE")

    if study is None:
        config = read_config(flags, beside, trusted=trust_in(artifact.parent, beside, trust=trust))
    else:  # named by the command line
        config = read_config(flags, study, trusted=lambda code: trust)

    from mpsearch.run import evaluate_artifact
    from mpsearch.targets import target_of

    score = evaluate_artifact(artifact, config, split)
    size, on_disk = target_of(artifact).deployed_bytes(artifact), artifact.stat().st_size
    place, taken = printable(str(artifact)), f"{on_disk:,} B on disk" + (f", {size:,} B where it runs" if size != on_disk else "")
    click.echo(f"{place}: {split} metric {score.metric:.4f}, loss {score.loss:.4f}, {taken}")
