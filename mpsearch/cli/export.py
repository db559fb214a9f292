"""`mpsearch export`: the artifact of a finished run, as it is or for another target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpsearch.cli.options import RESOLVED_STUDY, data_options, read_config, trust_in
from mpsearch.core.errors import ConfigError, RunDirectoryError
from mpsearch.core.files import is_file
from mpsearch.core.printable import printable

__all__ = ["export"]


@click.command(short_help="Copy or convert the artifact of a run.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER", help="Where the artifact goes.")
@click.option(
    "--target",
    metavar="NAME",
    help="Convert for another runtime or tool ('mpsearch list targets handovers'); left out, it is copied.",
)
@click.option("--runtime", metavar="NAME", help="With --target onnx-qdq: onnxruntime or openvino, in which the file is scored.")
@click.option("--trust", is_flag=True, help=f"With --target: run the code that a {RESOLVED_STUDY} from another machine names.")
@data_options
def export(run: Path, out: Path, target: str | None, runtime: str | None, trust: bool, **flags: Any) -> None:
    """Copy the artifact of the run directory RUN, after a check, with its quantization card beside it; or write it for another target.

    The target c writes a folder: model.c and model.h, an example program, a test vector and a Makefile.
    """
    if target is None and runtime is not None:
        raise ConfigError("--runtime is of a target that the run is converted for; add --target onnx-qdq")
    if target is None:
        from mpsearch.run import export_run

        for file in export_run(run, out):
            click.echo(printable(f"{file}: {file.stat().st_size:,} B"))
        return
    study = run / RESOLVED_STUDY
    if not is_file(study):
        raise RunDirectoryError(f"{run} holds no run (there is no {RESOLVED_STUDY}); give the folder of a run")
    from mpsearch.handovers import HANDOVERS
    from mpsearch.targets import TARGETS

    if target in TARGETS:
        flags |= {"target": target}
    elif runtime is not None and target in HANDOVERS:
        raise ConfigError(f"--runtime is of the target onnx-qdq; '{target}' has none")
    config = read_config({**flags, "runtime": runtime}, study, trusted=trust_in(run, study, trust=trust))

    from mpsearch.run import convert_run

    for sentence in convert_run(run, out, target, config):
        click.echo(printable(sentence))
