"""`convert`: the delivered network of a finished run, written for another target or in a hand-over format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from mpsearch.core.errors import ArtifactError, ConfigError, UnknownNameError
from mpsearch.core.files import is_folder, replacing, write_bytes, write_text
from mpsearch.core.number_format import FLOAT
from mpsearch.core.summary import Summary
from mpsearch.data import load_data
from mpsearch.handovers import HANDOVERS, Handover
from mpsearch.models import build_model
from mpsearch.network.baked import Parts
from mpsearch.network.canonical import canonical
from mpsearch.run.export import finished_run
from mpsearch.targets import TARGETS, Blueprint, Target, read_artifact, target_with

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["convert", "convert_run"]

_IN_MEMORY = "memory"
_SAMPLES = 8


def convert_run(run_dir: Path, out: Path, target: str, config: StudyConfig) -> list[str]:
    """Convert the artifact of a run whose study names its model and data; see `convert`.

    Raises:
        ConfigError: the model and the data were objects in memory.
    """
    if config.data.source == _IN_MEMORY:
        raise ConfigError(
            f"{run_dir} was searched in Python, with a model in memory; convert it there: "
            f"mpsearch.export('{run_dir}', '{out}', model, inputs, target='{target}')"
        )
    model = build_model(config.model.factory, dict(config.model.options))
    splits = load_data(config.data.reference, seed=config.seed, **config.data.options)
    inputs, _ = next(iter(splits.train.take(_SAMPLES, config.seed).batches(_SAMPLES)))
    settings = config.target_settings if config.target == target else {}
    return convert(run_dir, out, target, model, inputs, settings)


def convert(run_dir: Path, out: Path, target: str, model: nn.Module, inputs: Any, settings: Mapping[str, Any] | None = None) -> list[str]:
    """Write the delivered network of a finished run for another target, compare it with the run's artifact, and say where it does not fit.

    Args:
        run_dir: of the run.
        out: the file; a folder gets a target's file under its own name.
        target: name of a target, or of a hand-over format.
        model: float architecture; its numbers do not matter.
        inputs: one batch.
        settings: of the target.

    Returns:
        Sentences for people: what was written, and which budgets it does not meet.

    Raises:
        RunDirectoryError: the folder holds no finished run.
        ArtifactError: the artifact is damaged or does not fit the model, or the target cannot hold one of its formats.
        ModelError: the target cannot hold the network.
        UnknownNameError: there is no such target or hand-over format.
        ConfigError: the target has no such settings, or a hand-over format was given some.
    """
    if target not in TARGETS and target not in HANDOVERS:
        raise UnknownNameError("target", target, (*TARGETS.names(), *HANDOVERS.names()), (*TARGETS.broken(), *HANDOVERS.broken()))
    if settings and target in HANDOVERS:
        raise ConfigError(f"'{target}' is a hand-over format, and those have no settings ({', '.join(settings)}); leave them out")
    chosen: Target | Handover = HANDOVERS[target]() if target in HANDOVERS else target_with(target, settings or {})
    summary, artifact = finished_run(run_dir)
    model = canonical(model)
    parts, layers, notes = read_artifact(artifact).parts(model).chosen(summary.winner.allocation), summary.layers, list[str]()
    if not (isinstance(chosen, Target) and chosen.rounds_edges) and any(layer.rounds_output or layer.whole_bias for layer in layers):
        parts = parts.for_floats(layers)
        layers = tuple(replace(layer, rounds_output=False, whole_bias=False) for layer in layers)
        notes = [
            f"{summary.artifact} has biases, and roundings before additions, for integer kernels, not kept here: answers differ a little"
        ]
    _check_formats(chosen, summary, parts)
    baked = [parts.layers[layer.name] for layer in layers]
    granularity = tuple(each.weight_format.granularity for each in baked)
    blueprint = Blueprint(
        architecture=model,
        inputs=inputs,
        layers=layers,
        model=summary.model,
        options=read_artifact(artifact).options,
        granularity=granularity if set(granularity) != {"channel"} else (),
        formats=frozenset(each.weight_format for each in baked),
        quantizes_inputs=any(each.input is not None for each in baked),
    )
    if isinstance(chosen, Handover):
        contents = chosen.contents(out, blueprint, parts)
        written = [write_bytes(path, content) for path, content in contents.items()]
        return [*(f"{path}: {path.stat().st_size:,} B, hand-over format {target}" for path in written), *notes]
    if is_folder(out) or not out.suffix:
        out = out / chosen.file
    with replacing(out) as temporary:
        size = chosen.writer(blueprint).write(temporary, parts)
        differ = chosen.verify(temporary, parts, model, layers, inputs, size)
    beside = [write_text(out.with_name(name), text) for name, text in chosen.companions(out).items()]
    others = [f"{path}: {path.stat().st_size:,} B" for path in beside]
    return [f"{out}: {size:,} B, target {target}", *others, *notes, *_inexact(chosen, differ), *_unmet(summary, target, size)]


def _inexact(target: Target, differ: float | None) -> Sequence[str]:
    if target.exact:
        return []
    if differ is None:
        return ["its runtime is not installed, so nothing was compared; it computes a little otherwise than the run scored"]
    return [
        f"its runtime computes otherwise than the run scored: outputs differ by {differ:.1g} of the largest in the median; "
        "mpsearch evaluate scores what it computes"
    ]


def _check_formats(target: Target | Handover, summary: Summary, parts: Parts) -> None:
    remedy = f"search with --target {target.name}" if isinstance(target, Target) else "search in a space without it"
    for layer in summary.layers:
        baked = parts.layers[layer.name]
        reason = target.refuses(layer, baked.weight_format, FLOAT if baked.input is None else baked.input.format)
        if reason:
            raise ArtifactError(f"layer '{layer.name}': '{target.name}' cannot hold {baked.choice} ({reason}); {remedy}")


def _unmet(summary: Summary, target: str, size: int) -> Sequence[str]:
    budgets = [budget for budget in summary.budgets if budget.cost == "size" and size > budget.limit]
    return [
        f"this is {size - budget.limit:,.0f} B above the run's budget of {budget.text}, which counts {summary.artifact}; "
        f"search with --target {target} to have it met"
        for budget in budgets
    ]
