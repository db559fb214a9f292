"""The quantization card of a run: every field read off the run, its counters or a measurement; none is typed."""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
import sys
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mpsearch.card import Card, comparability_group
from mpsearch.card.arithmetic import over_seeds, tier
from mpsearch.card.audit import calibration_images, data_use
from mpsearch.card.deployed import Deployed
from mpsearch.card.flips import confounder_flips
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import CARD_VERSION, canonical_id, na
from mpsearch.card.sections import Data, Identity, Model, Precision, Provenance, Ranges, Resources, Result
from mpsearch.core.pass_counts import PassCounts, active_counts
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.summary import Summary
from mpsearch.methods.base import Method
from mpsearch.network.baked import Parts
from mpsearch.network.batchnorm import BATCH_NORMS
from mpsearch.network.inputs import call, to_device
from mpsearch.numbers.channels import Rows
from mpsearch.trials.climb import Hyperparameters

__all__ = ["build_card"]

_PACKAGES = ("mpsearch", "torch", "torchvision", "numpy", "scipy", "optuna")


def build_card(inputs: CardInputs, summary: Summary, parts: Parts, hyper: Hyperparameters) -> Card:
    """The card of what a run delivers.

    Args:
        inputs: the run.
        summary: its results.
        parts: the delivered numbers.
        hyper: method and recipe they were trained with.
    """
    problem, counted = inputs.problem, active_counts()
    tally = counted or PassCounts()
    deployed = Deployed(problem, parts)
    method = summary.winner.params.get("method", "") if summary.winner is not None else ""
    method = method or next(iter(inputs.config.methods))
    trained = summary.winner is not None and bool(summary.winner.curve) and not summary.winner.note
    data = data_use(inputs, hyper, tally)
    result = _result(inputs, summary, deployed.network, tally)
    audit = [
        f"{use}: {entry['overlap_with_test']:,} samples of the test split ({entry['how']})"
        for use, entry in data.use.items()
        if isinstance(entry["overlap_with_test"], int) and entry["overlap_with_test"] > 0
    ]
    finite = isinstance(result.mean, float) and math.isfinite(result.mean)
    ablation = confounder_flips(inputs, parts.allocation, hyper.method.grid, hyper.recipe, summary.tables)  # its passes are counted, too
    card = Card(
        identity=_identity(inputs, parts, repeats=len(result.by_seed)),
        model=_model(inputs, summary, deployed),
        coverage=deployed.coverage(),
        formats=deployed.formats(f"{'trained' if trained else 'calibrated'} by {method}"),
        granularity=deployed.granularity(),
        ranges=_ranges(inputs, hyper, tally, deployed, method, trained=trained),
        precision=_precision(inputs, summary, deployed, method),
        data=data,
        resources=_resources(inputs, summary, hyper, tally, data, trained=trained),
        result=result,
        costs=deployed.costs(summary),
        hardware=deployed.hardware(),
        ablation=ablation,
        provenance=Provenance(
            command=summary.command,
            config_file="study.yaml",
            packages=_packages(),
            failed_checks=audit if finite else [*audit, "the result is not a finite number"],
            warnings=_warnings(summary, data, counted is not None),
            comparability_group="",
        ),
    )
    card = Card.from_dict(card.to_dict())  # what a reader of the file will see
    return replace(card, provenance=replace(card.provenance, comparability_group=comparability_group(card)))


def _identity(inputs: CardInputs, parts: Parts, *, repeats: int) -> Identity:
    return Identity(
        card_version=CARD_VERSION,
        config_id=canonical_id({"study": inputs.config.to_dict(), "allocation": parts.allocation.to_dict()}),
        parent_run=inputs.claim or na("no run directory was claimed"),
        tool=f"mpsearch {_packages()['mpsearch']}",
        tool_source=_source_digest(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seeds=[inputs.config.seed],
        repeats=repeats,
    )


def _model(inputs: CardInputs, summary: Summary, deployed: Deployed) -> Model:
    config, problem, splits = inputs.config, inputs.problem, inputs.splits
    if config.model.weights is not None:
        source = Path(config.model.weights).name
    else:
        source = "as handed in" if config.float_recipe is None else "trained by the study's float_recipe"
    norms = [name for name, module in problem.model.named_modules() if isinstance(module, BATCH_NORMS)]
    folded = {layer.norm for layer in problem.space.layers if layer.norm}
    scores = {"validation": summary.reference.scores["validation"], "test": summary.test.get("float")}
    sizes = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return Model(
        architecture=config.model.factory.rpartition(":")[2],
        options=dict(config.model.options),
        checkpoint=source,
        checkpoint_sha256=_state_digest(problem.model),
        float_dtype=", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in problem.model.parameters()})),
        metric=summary.metric,
        float_metric={name: na("no test split") if score is None else score.metric for name, score in scores.items()},
        dataset=splits.name,
        split_sizes={name: na("none") if split is None else len(split) for name, split in sizes.items()},
        preprocessing={
            "options": dict(config.data.options),
            "transform": _named(getattr(splits.train, "transform", None)),
            "augmentation in training": _named(getattr(splits.train, "augment", None)),
        },
        batchnorm_folded=f"{len(folded)} of {len(norms)}" if norms else na("no BatchNorm"),
        edits=deployed.edits(),
        parameters=sum(parameter.numel() for parameter in problem.model.parameters()),
        macs=sum(layer.macs for layer in problem.space.layers),
    )


def _ranges(inputs: CardInputs, hyper: Hyperparameters, tally: PassCounts, deployed: Deployed, method: str, *, trained: bool) -> Ranges:
    problem = inputs.problem
    layer = problem.space.layers[0]
    module = problem.model.get_submodule(layer.module)
    quantizer = hyper.method.weight_quantizer(Rows.of(module, getattr(module, layer.parameter)))
    quantized = problem.space.quantizes_activations
    norms = any(isinstance(module, BATCH_NORMS) for module in problem.model.modules())
    own = type(hyper.method).calibrate is not Method.calibrate
    moved = hyper.method.compensates and not trained  # training estimates BatchNorm's statistics afresh, and takes biases along
    return Ranges(
        weights=f"least squared error by output channel{f', then by {method} on images' if own else ''}"
        if deployed.codes
        else na("weights are float32"),
        activations="least squared error over samples of the layer's input" if quantized else na("activations are float32"),
        static=True,
        images=calibration_images(inputs, tally),
        learned=trained and any(True for _ in quantizer.parameters()),
        bias_correction=f"mean of every channel, with BatchNorm its variance too, by {method} on images" if moved else "none",
        batchnorm_images=na("no BatchNorm")
        if not norms
        else na("statistics are corrected, not re-estimated")
        if moved
        else min(hyper.recipe.reestimate, len(problem.train)),
    )


def _precision(inputs: CardInputs, summary: Summary, deployed: Deployed, method: str) -> Precision:
    space: ResolvedSpace = inputs.problem.space
    allocation = deployed.allocation
    costs = {} if summary.winner is None else summary.winner.costs
    shared = {name: codes.bits_used for name, codes in deployed.codes.items() if codes.kind == "multibit"}
    return Precision(
        method=method,
        bits=allocation.to_dict(),
        allowed=[str(choice) for choice in space.choices],
        signals=[table.name for table in summary.tables],
        solver=na("no winner") if summary.winner is None else summary.winner.origin,
        budgets=[
            {"budget": budget.text, "cost": budget.cost, "limit": budget.limit, "realised": costs.get(budget.cost, na())}
            for budget in summary.budgets
        ],
        ties=[[space.names[index] for index in group] for group in space.groups if len(group) > 1],
        kernels=[str(choice) for choice in sorted(set(allocation.values()))],
        fractional_bits=shared or na("bits are whole within a layer"),
    )


def _resources(inputs: CardInputs, summary: Summary, hyper: Hyperparameters, tally: PassCounts, data: Data, *, trained: bool) -> Resources:
    config, device = inputs.config, inputs.problem.device
    spent = [tally[name] for name in ("calibration", "signals", "supernet", "study", "retraining")]
    cuda = device.type == "cuda"
    tuned = [f"{method}.{name}" for method in config.methods for name in config.hyperparameters(method).ranges]
    images = max(entry["images"] for use, entry in data.use.items() if use in ("calibration", "search", "fine-tune"))
    return Resources(
        tier=tier(
            images=images,
            backward=sum(part.backward for part in spent),
            labels=sum(part.labels for part in spent),
            epoch=len(inputs.splits.train),
        ),
        device=torch.cuda.get_device_name(device) if cuda else f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        seconds=dict(summary.seconds),
        gpu_hours=sum(summary.seconds.values()) / 3600 if cuda else na("no GPU"),
        passes=tally.to_dict(),
        epochs={
            "retraining": config.retrain.epochs if trained else 0,
            **({"supernet": config.search.supernet.epochs} if config.search.evaluate == "supernet" else {}),
            **{f"rung {r.name}": r.epochs for r in config.search.climbed},
        },
        peak_memory_bytes=torch.cuda.max_memory_allocated(device) if cuda else _resident_bytes(),
        hyperparameters_tuned=[*tuned, *(f"recipe.{name}" for name in config.recipe.hyperparameters.ranges)],
    )


def _result(inputs: CardInputs, summary: Summary, network: nn.Module, tally: PassCounts) -> Result:
    winner, problem = summary.winner, inputs.problem
    split = "test" if "winner" in summary.test else "validation"
    score = summary.test["winner"] if split == "test" else None if winner is None else winner.score
    reference = summary.test.get("float") if split == "test" else summary.reference.scores["validation"]
    values = {} if score is None else {summary.seed: score.metric}
    mean, std = over_seeds(values) if values else (na("no result"), na("no result"))
    whole: Any = na("no test split")
    if split == "test" and inputs.splits.test is not None:
        whole = tally["test"].scored >= len(inputs.splits.test) * len(summary.test)
    return Result(
        metric=summary.metric,
        split=split,
        mean=mean,
        std=std,
        by_seed={str(seed): value for seed, value in values.items()},
        delta_to_float=na() if score is None or reference is None else score.metric - reference.metric,
        full_split=whole,
        worst_class=_worst_class(inputs, network) if problem.task.name == "classification" else na("no classes"),
    )


@torch.no_grad()
def _worst_class(inputs: CardInputs, network: nn.Module) -> Any:
    """The least metric of any class on the validation split; the test split is read only once."""
    problem, names = inputs.problem, inputs.splits.classes
    sums: dict[int, tuple[float, int]] = {}
    for inputs, targets in problem.validation.batches(256):
        values = problem.task.per_sample(call(network, to_device(inputs, problem.device)), targets.to(problem.device))
        if values.shape != targets.shape or targets.dim() != 1:
            return na("labels are no classes")
        for label, value in zip(targets.tolist(), values.tolist(), strict=True):
            total, count = sums.get(int(label), (0.0, 0))
            sums[int(label)] = (total + value, count + 1)
    worst = min(sums, key=lambda label: sums[label][0] / sums[label][1])
    total, count = sums[worst]
    return {"class": names[worst] if worst < len(names) else worst, "metric": total / count, "samples": count, "split": "validation"}


def _warnings(summary: Summary, data: Data, counted: bool) -> list[str]:
    said = list(summary.skipped)
    if not counted:
        said.append("Passes and labels were not counted.")
    unknown = [use for use, entry in data.use.items() if use != "test" and not isinstance(entry["overlap_with_test"], int)]
    if unknown:
        said.append(f"Whether the test split was seen is not known for: {', '.join(unknown)}.")
    return said


def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = str(getattr(sys.modules.get(name), "__version__", "not installed"))
    return found


def _source_digest() -> str:
    """SHA-256 of the package's own source files: which code made the card, released or not."""
    root = Path(__file__).parents[1]
    state = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        state.update(str(file.relative_to(root).as_posix()).encode() + b"\0" + file.read_bytes())
    return state.hexdigest()


def _state_digest(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        state.update(f"{name}{plain.dtype}{tuple(plain.shape)}".encode() + plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def _named(value: object) -> str:
    """A dataclass as it reads, anything else by its type's name: no address in memory gets into a card."""
    if value is None:
        return "none"
    if isinstance(value, partial) or not hasattr(value, "__dataclass_fields__"):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return repr(value)


def _resident_bytes() -> Any:
    """Peak memory of the process, where the system tells."""
    try:
        import resource
    except ImportError:
        return na("this system does not tell")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
