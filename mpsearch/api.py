"""The Python interface: `search()` runs a whole study on a model and data in memory, `load()` reads its file, `export()` converts it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from mpsearch.config.load import check_plugins
from mpsearch.config.study import MANY_TRIALS, StudyConfig, name_of, validate_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.data.base import Splits, as_split
from mpsearch.data.fingerprint import content_digest, fingerprint_of
from mpsearch.data.token_split import few_tokens
from mpsearch.loggers import Callback, callbacks_of
from mpsearch.network.canonical import canonical
from mpsearch.run import Announcer, Ledger, claimed, convert, finished, run, told_again
from mpsearch.run.loaded import from_pretrained, load
from mpsearch.run.setup import assemble
from mpsearch.targets import read_artifact
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import QAT_RECIPE, Recipe

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from pandas import DataFrame

    from mpsearch.report.figure_style import Figure

__all__ = ["Result", "export", "from_pretrained", "load", "search"]

_COMMAND = "mpsearch.search(…)"
_PTQ = {"name": "ptq", "epochs": 0}
_SHORT = {"name": "short", "epochs": 1, "keep": 0.34}
_LONG = {"name": "long", "epochs": 3, "keep": 0.34}
_EFFORTS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"trials": 8, "rungs": [_PTQ], "epochs": 2},
    "normal": {"trials": 16, "rungs": [_PTQ, _SHORT], "epochs": 6},
    "thorough": {"trials": 48, "rungs": [_PTQ, _SHORT, _LONG], "epochs": 15},
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a search returns.

    Args:
        summary: scores, costs, trials, curves.
        model: the quantized network, loaded from the artifact, on the CPU.
        allocation: its bits.
        path: of the artifact.
        run_dir: folder of all other results; `front.html` is the report.
    """

    summary: Summary
    model: nn.Module
    allocation: Allocation
    path: Path
    run_dir: Path

    def _repr_html_(self) -> str:
        from mpsearch.report.notebook import summary_html

        return summary_html(self.summary, self.run_dir)

    def plot(self, kind: str = "front", *, cost: str = "size") -> Figure:
        """A Plotly figure of the run: `show()` it, or go on drawing in it.

        Args:
            kind: `front`, `bits`, `history`, `signals` or `curves`.
            cost: horizontal axis of the front: `size`, or another cost that every trial has.

        Raises:
            ConfigError: no such figure or cost, or the run has nothing to draw there.
        """
        from mpsearch.report.notebook import summary_figure

        return summary_figure(self.summary, kind, cost=cost)

    def to_dataframe(self) -> DataFrame:
        """The trials as a pandas frame, a row each, by number: scores, costs, hyperparameters, and the choice of every layer.

        Raises:
            ConfigError: pandas is not installed.
        """
        from mpsearch.report.frame import trials_frame

        return trials_frame(self.summary)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the network into a folder as the Hugging Face Hub keeps one, for `from_pretrained`: artifact, `config.json`, model card.

        Nothing is sent anywhere; the folder can be given to `huggingface_hub.upload_folder` or to anybody.

        Raises:
            RunDirectoryError: the run directory is gone, or the folder holds other things.
        """
        from mpsearch.run.pretrained import save_pretrained

        return save_pretrained(self.run_dir, Path(folder))


def search(
    model: nn.Module,
    train: Any,
    validation: Any,
    *,
    budget: str | Sequence[str] = (),
    keep: str | float | None = None,
    max_drop: float | None = None,
    cost: str = "size",
    test: Any = None,
    task: Task | None = None,
    space: str | Path | Mapping[str, Any] = "weights-only",
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("lsq",),
    signals: Sequence[str] | Mapping[str, Any] = ("fisher", "measured"),
    images: int = 512,
    recipe: Recipe | None = None,
    effort: str = "normal",
    evaluate: str = "qat",
    trials: int | None = None,
    timeout: float | str | None = None,
    until_flat: bool = False,
    sampler: BaseSampler | None = None,
    epochs: int | None = None,
    keep_points: int = 6,
    target: str = "packed",
    target_settings: Mapping[str, Any] | None = None,
    hardware: str | Path | None = None,
    card: str = "auto",
    run_dir: str | Path | None = None,
    storage: str | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    callbacks: Sequence[Callback | str] = (),
) -> Result:
    """Find the bits of every layer under a budget, or the fewest that keep a metric; train, export and verify the best network.

    Args:
        model: trained float network; never changed.
        train: `Dataset` or `DataLoader` of (input, target); an input is a tensor, or a tuple or dict of the model's arguments. A loader
            without an end comes as `mpsearch.Stream(loader, samples=…)`.
        validation: the same, for comparing trials; share nothing with `train`.
        budget: `"2MB"`, `"3.2bit"`, `"1.2GBOPs"`, `"act:64KB"`, `"5ms"`, or several that must all hold. A range, `"1MB..8MB"`, gives a
            front, whose points lie in `front/` of the run directory; the result is the one at its upper end.
        keep: instead, or beside other limits: find the cheapest network that keeps this share of the float metric on validation, `"99%"`.
        max_drop: the same by difference: points of an accuracy, else units of the metric.
        cost: what is to be small then.
        test: read once, for the final figures; without it there are none.
        task: classification unless told; see `Task.regression`, `Task.multi_label`, `Task.segmentation`,
            `Task.language_model` and `Task.custom`.
        space: name in `spaces/`, YAML file, or its content.
        methods: names, or name → hyperparameters.
        signals: names, `mix` weighs the others by measured allocations; or a study's `signals` in full, such as
            `{"names": ["fisher", "alq", "mix"], "mixed_epochs": 1}`.
        images: training samples for signals and ranges.
        recipe: of quantization-aware training; AdamW with distillation if not given.
        effort: `quick`, `normal` or `thorough`; scales trials, rungs and epochs.
        evaluate: what trials are scored by: `ptq`, calibration alone; `qat`, training in rungs; `supernet`, weights shared by all
            allocations first, then the rungs that train.
        trials: at most, instead of the effort's.
        timeout: begin no trial after this time: seconds, or `"90s"`, `"5min"`, `"2h"`.
        until_flat: end when three trials in a row are expected to gain less than a twentieth of the noise.
        sampler: any of Optuna's that takes two objectives; it proposes bits and hyperparameters instead of mpsearch's own. Its trials may
            exceed the budgets and then cannot win. What the best of the others leaves of the budgets is spent all the same.
        epochs: of the final retraining, instead of the effort's.
        keep_points: of a front, how many points are trained and delivered.
        target: the file that is delivered, a name of `mpsearch list targets`.
        target_settings: of the target, such as `{"runtime": "openvino"}` of `onnx-qdq`.
        hardware: profile for latency budgets.
        card: `full` measures all flips of the quantization card; `auto` begins none after a tenth of the run's time.
        run_dir: folder of all results; a search of the same model and data that was killed continues there. A temporary folder unless told.
        storage: URL of Optuna's storage for the trials, such as `sqlite:////data/trials.db`, `postgresql://…` or `grpc://HOST:PORT`;
            `study.db` in the run directory unless told.
        seed: of everything random.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        progress: show bars on standard error.
        callbacks: are told of trials, epochs and the end: loggers by name (`"tensorboard"`, `"wandb:PROJECT"`, see `mpsearch list loggers`)
            and objects of your own, see `Callback`.

    Raises:
        UsageError: a wrong request: a budget out of reach, an unknown layer, data that do not fit.
    """
    for name, given, kinds, words in (
        ("model", model, nn.Module, "a torch.nn.Module"),
        ("budget", budget, str | Sequence, "'2MB', '3.2bit' and so on, or several in a list"),
        ("task", task, Task | None, "a Task, such as Task.regression()"),
        ("methods", methods, str | Sequence | Mapping, "names, or name → hyperparameters"),
        ("signals", signals, str | Sequence | Mapping, "names"),
        ("recipe", recipe, Recipe | None, "a Recipe"),
        ("run_dir", run_dir, str | Path | None, "a folder"),
        ("storage", storage, str | None, "a URL, such as sqlite:///trials.db,"),
        ("callbacks", callbacks, Sequence, "a list of callbacks or names of loggers"),
    ):
        if not isinstance(given, kinds):
            raise ConfigError(f"{name}: {words} is needed, not {given!r}", path=name)
    if keep is not None and max_drop is not None:
        raise ConfigError("keep and max_drop ask for two bounds on one metric; give one of them", path="keep")
    if effort not in _EFFORTS:
        raise ConfigError(f"effort: '{effort}' is none of {', '.join(_EFFORTS)}", path="effort")
    if sampler is not None:
        _check_sampler(sampler)
    announcer = Announcer(callbacks_of([callbacks] if isinstance(callbacks, str) else callbacks))
    scale = _EFFORTS[effort]
    recipe = recipe or QAT_RECIPE
    config = _config(
        model,
        budgets=_listed(budget),
        keep=None if keep is None and max_drop is None else {"share": keep, "drop": max_drop, "cost": cost},
        space=dict(space) if isinstance(space, Mapping) else str(space),
        methods={name: dict(settings) for name, settings in methods.items()}
        if isinstance(methods, Mapping)
        else {name: {} for name in _listed(methods)},
        signals={"images": images, **(signals if isinstance(signals, Mapping) else {"names": _listed(signals)})},
        recipe={name: value for name, value in asdict(recipe).items() if name != "epochs"},
        search={
            "trials": trials if trials is not None else MANY_TRIALS if timeout is not None or until_flat else scale["trials"],
            "evaluate": evaluate,
            "rungs": scale["rungs"],
            "timeout": timeout,
            "until_flat": until_flat,
        },
        retrain={"epochs": scale["epochs"] if epochs is None else epochs, "points": keep_points},
        target=target,
        target_settings=dict(target_settings or {}),
        hardware=None if hardware is None else str(hardware),
        seed=seed,
        device=device,
        card=card,
        effort=effort,
    )
    training = few_tokens(as_split(train))
    splits = Splits(
        name="data at hand",
        train=training,
        validation=few_tokens(as_split(validation)),
        test=None if test is None else few_tokens(as_split(test)),
        task=task or Task.classification(),
        fingerprint=fingerprint_of(training),
    )
    directory = Path(run_dir) if run_dir is not None else Path(tempfile.mkdtemp(prefix="mpsearch-"))
    reporter: Any = Silent()
    if progress:
        from rich.console import Console

        from mpsearch.report.progress import RichProgress

        reporter = RichProgress(Console(stderr=True))
    with claimed(directory, config, _COMMAND, extra=_digest(model, splits, sampler), storage=storage):
        ledger = Ledger(directory, reporter)
        set_up = partial(assemble, config, splits, model, reporter)
        summary = finished(ledger)
        if summary is not None:
            told_again(announcer, config, summary, ledger, _COMMAND)
        else:
            summary = run(config, set_up, ledger, _COMMAND, reporter, storage=storage, sampler=sampler, announcer=announcer)
    path = directory / summary.artifact
    return Result(
        summary=summary, model=read_artifact(path).install(model).cpu(), allocation=summary.winner.allocation, path=path, run_dir=directory
    )


def export(
    run: str | Path | Result,
    out: str | Path,
    model: nn.Module,
    inputs: Any,
    *,
    target: str,
    target_settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the network of a finished run for another target, such as `"onnx"`, and compare it with the run's own file.

    Args:
        run: run directory, or what `search` returned.
        out: the file to write.
        model: the float architecture; its weights do not matter.
        inputs: one batch: a tensor, or a tuple or dict of the model's arguments.
        target: a name of `mpsearch list targets handovers`.
        target_settings: of the target, such as `{"runtime": "openvino"}` of `onnx-qdq`.

    Returns:
        The file.

    Raises:
        RunDirectoryError: the folder holds no finished run.
        ArtifactError: the run's file is damaged, or the target cannot hold one of its formats.
        ModelError: the target cannot hold the network.
    """
    convert(run.run_dir if isinstance(run, Result) else Path(run), Path(out), target, model, inputs, target_settings)
    return Path(out)


def _check_sampler(sampler: object) -> None:
    from optuna.samplers import BaseSampler

    if not isinstance(sampler, BaseSampler):
        given = sampler.__name__ if isinstance(sampler, type) else repr(sampler)
        raise ConfigError(f"sampler: one of Optuna's is needed, such as TPESampler(), not {given}", path="sampler")


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _digest(model: nn.Module, splits: Splits, sampler: object) -> str:
    """Digest of what the results depend on beside the study itself: weights, data, task, sampler."""
    weights = [item for pair in canonical(model).state_dict().items() for item in pair]
    others = [None if split is None else fingerprint_of(split) for split in (splits.validation, splits.test)]
    return content_digest([*weights, splits.fingerprint, *others, splits.task.name, splits.task.metric_name, type(sampler).__qualname__])


def _config(model: nn.Module, **fields: Any) -> StudyConfig:
    kind = type(model)
    config = validate_study(
        {
            "name": name_of(kind.__name__),
            "data": {"source": "memory"},
            "model": {"factory": f"{kind.__module__}:{kind.__qualname__}"},
            **fields,
        },
        label="search()",
    )
    check_plugins(config)
    return config
