"""`SearchSettings`: how a study searches, and how the hyperparameters of a trial are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpsearch.config.hyperparameters import Range, SearchableSettings
from mpsearch.methods import METHODS
from mpsearch.signals import SIGNALS
from mpsearch.study.stopping import Stopping
from mpsearch.trials.climb import Hyperparameters, Rung

if TYPE_CHECKING:
    import optuna

    from mpsearch.config import StudyConfig

__all__ = ["SearchSettings", "hyperparameters_of", "search_settings", "trains"]


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a study searches.

    Args:
        stopping: when it ends.
        rungs: from cheap to expensive; every trial runs the first.
        default: hyperparameters of the rungs without training.
        suggest: Optuna trial → hyperparameters; called at a trial's first rung with training.
    """

    stopping: Stopping
    rungs: tuple[Rung, ...]
    default: Hyperparameters
    suggest: Callable[[optuna.trial.BaseTrial], Hyperparameters]


def search_settings(config: StudyConfig) -> SearchSettings:
    """The search settings of a study."""
    rungs = tuple(Rung(name=rung.name, epochs=rung.epochs, keep=rung.keep) for rung in config.search.climbed)
    names = tuple(config.methods)
    first = config.hyperparameters(names[0]).build(METHODS[names[0]])
    default = Hyperparameters(method=first, recipe=config.recipe.build(), params={"method": names[0]})
    stopping = Stopping(trials=config.search.trials, seconds=config.search.timeout, until_flat=config.search.until_flat)
    return SearchSettings(stopping=stopping, rungs=rungs, default=default, suggest=lambda trial: _suggest(config, trial))


def trains(config: StudyConfig) -> bool:
    """Whether any stage of the study trains a quantized network."""
    search = config.search
    signals = any(SIGNALS[name].trains or (SIGNALS[name].combines and config.signals.mixed_epochs) for name in config.signals.names)
    return bool(signals or config.retrain.epochs or any(rung.epochs for rung in search.climbed) or search.evaluate == "supernet")


def hyperparameters_of(config: StudyConfig, params: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters of a record's `params`."""
    name = params.get("method", next(iter(config.methods)))
    prefix = f"{name}."
    method = config.hyperparameters(name).build(
        METHODS[name], {key.removeprefix(prefix): v for key, v in params.items() if key.startswith(prefix)}
    )
    recipe = config.recipe.build({key.removeprefix("recipe."): value for key, value in params.items() if key.startswith("recipe.")})
    return Hyperparameters(method=method, recipe=recipe, params=dict(params))


def _suggest(config: StudyConfig, trial: optuna.trial.BaseTrial) -> Hyperparameters:
    names = list(config.methods)
    name = trial.suggest_categorical("method", names) if len(names) > 1 else names[0]
    params: dict[str, Any] = {"method": name}
    for prefix, settings in ((name, config.hyperparameters(name)), ("recipe", config.recipe.hyperparameters)):
        params |= _suggest_settings(trial, prefix, settings)
    return hyperparameters_of(config, params)


def _suggest_settings(trial: optuna.trial.BaseTrial, prefix: str, settings: SearchableSettings) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, spread in settings.ranges.items():
        key = f"{prefix}.{name}"
        if not isinstance(spread, Range):
            chosen[key] = trial.suggest_categorical(key, list(spread))
        elif spread.integer:
            chosen[key] = trial.suggest_int(key, int(spread.low), int(spread.high), log=spread.log)
        else:
            chosen[key] = trial.suggest_float(key, spread.low, spread.high, log=spread.log)
    return chosen
