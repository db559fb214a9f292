"""`mpsearch evaluate`: the score of an artifact on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import data_options, read_config
from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.files import is_file
from mpsearch.core.printable import printable

__all__ = ["evaluate"]

RESOLVED_STUDY = "study.yaml"


@click.command(short_help="Score an artifact from disk.")
@click.argument("artifact", type=click.Path(path_type=Path), metavar="ARTIFACT")
@click.option("--study", metavar="STUDY", help=f"Whose data to use; left out, the {RESOLVED_STUDY} beside the artifact.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--trust", is_flag=True, help=f"Run the code that a {RESOLVED_STUDY} from another machine names.")
@data_options
def evaluate(artifact: Path, study: str | None, split: str, trust: bool, **flags: Any) -> None:
    """Load ARTIFACT from disk and score it."""
    if not is_file(artifact):
        raise ArtifactError(f"there is no artifact '{artifact}'; give the model file of a run")
    beside = artifact.parent / RESOLVED_STUDY
    if study is None and not beside.is_file():
        raise ConfigError(f"{artifact}: there is no {RESOLVED_STUDY} beside it to name the data; add --study NAME or FILE")

    def trusted(code: str) -> bool:
        from mpsearch.run.trust import made_here

        if study is not None:  # named by the command line
            return trust
        if not trust and not made_here(artifact.parent, beside.read_text(encoding="utf-8")):
            raise ConfigError(
                f"{beside} names the code '{code}', and you did not make that run on this machine; "
                f"if you trust that code, add --model {code} or --trust"
            )
        return True

    config = read_config(flags, study if study is not None else beside, trusted=trusted)

    from mpsearch.run import evaluate_artifact
    from mpsearch.targets import target_of

    score = evaluate_artifact(artifact, config, split)
    size, on_disk = target_of(artifact).deployed_bytes(artifact), artifact.stat().st_size
    place, taken = printable(str(artifact)), f"{on_disk:,} B on disk" + (f", {size:,} B where it runs" if size != on_disk else "")
    click.echo(f"{place}: {split} metric {score.metric:.4f}, loss {score.loss:.4f}, {taken}")
