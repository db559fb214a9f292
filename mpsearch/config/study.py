"""`StudyConfig`: one experiment, fully stated; what `studies/*.yaml` hold."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from mpsearch.config.hyperparameters import SearchableSettings, Setting, split_settings
from mpsearch.config.overlay import overlay
from mpsearch.config.recipe import FloatRecipeConfig, RecipeConfig
from mpsearch.config.space import SpaceConfig, read_space
from mpsearch.config.strict import Strict, config_error
from mpsearch.config.supernet import SupernetConfig
from mpsearch.config.yaml_file import dump_yaml
from mpsearch.core.budget import Budget
from mpsearch.core.duration import parse_duration
from mpsearch.core.errors import ConfigError
from mpsearch.costs.budgets import parse_budget, parse_budgets
from mpsearch.methods import METHODS

__all__ = [
    "MANY_TRIALS",
    "DataConfig",
    "EffortConfig",
    "ModelConfig",
    "RetrainConfig",
    "RungConfig",
    "SearchConfig",
    "SignalsConfig",
    "StudyConfig",
]

MANY_TRIALS = 1000
"""Where time or the prospects end a study, and nobody said how many trials."""
Effort = Literal["quick", "normal", "thorough"]


def _expandvars(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))


def _content_digest(reference: str | None) -> str | None:
    """SHA-256 of the file, so that a moved file is the same and a changed one is not; a name that is no file stands for itself."""
    if reference is None:
        return None
    file = Path(_expandvars(reference))
    if not file.is_file():
        return reference
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _expanded(text: str, *, path: str, flag: str) -> str:
    expanded = _expandvars(text)
    if "$" in expanded:
        raise ConfigError(f"{path}: '{text}' names an environment variable that is not set; set it, or pass {flag}", path=path)
    return expanded


class DataConfig(Strict):
    """Where the images (or other samples) come from."""

    source: str = Field(description="digits, imagefolder, or another source `mpsearch list` names", min_length=1)
    path: str | None = Field(default=None, description="folder of the source, if it has one; ~ and $VARIABLES are expanded")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the source, such as mean, std, size, augment")

    @property
    def reference(self) -> str:
        """`digits` or `imagefolder:DIR`, as `load_data` reads it.

        Raises:
            ConfigError: the path names a variable that is not set.
        """
        if self.path is None:
            return self.source
        return f"{self.source}:{_expanded(self.path, path='data.path', flag=f'--data {self.source}:DIR')}"


class ModelConfig(Strict):
    """The network to quantize."""

    factory: str = Field(description="a name `mpsearch list` shows, or package.module:factory", min_length=1)
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the factory")
    weights: str | None = Field(default=None, description="safetensors file or state_dict; ~ and $VARIABLES are expanded")
    other_weights: str | None = Field(
        default=None, description="of the same architecture trained otherwise: the card says what the same bits score on them"
    )

    @property
    def weights_path(self) -> Path | None:
        """The file of float weights, if there is one.

        Raises:
            ConfigError: the path names a variable that is not set.
        """
        return None if self.weights is None else Path(_expanded(self.weights, path="model.weights", flag="--weights FILE"))

    @property
    def other_weights_path(self) -> Path | None:
        """The file of the other float weights, if there is one.

        Raises:
            ConfigError: the path names a variable that is not set.
        """
        return None if self.other_weights is None else Path(_expanded(self.other_weights, path="model.other_weights", flag="a path"))


class SignalsConfig(Strict):
    """Which sensitivities are measured, and on how much."""

    names: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("fisher", "measured"), description="each proposes allocations of its own"
    )
    images: int = Field(default=512, ge=1, description="training samples the signals and the ranges are measured on")
    mixed_on: int = Field(default=24, ge=8, description="random allocations near the budgets, measured, that `mix` weighs the others on")
    mixed_epochs: int = Field(default=0, ge=0, description="that each of these trains before it is measured; 0 is calibration alone")
    batch_size: int = Field(default=64, ge=1)


def _seconds(value: Any) -> Any:
    return None if value is None else parse_duration(value, path="search.timeout")


class RungConfig(Strict):
    """One stage of a trial; later rungs cost more and see fewer trials."""

    name: str = Field(min_length=1)
    epochs: int = Field(ge=0, description="epochs of quantization-aware training in this rung; 0 is calibration alone")
    keep: float = Field(default=1.0, gt=0, le=1, description="share of the trials of the rung before that may enter this one")


class SearchConfig(Strict):
    """The study of trials."""

    trials: int = Field(default=24, ge=1, description="at most")
    timeout: Annotated[float | None, BeforeValidator(_seconds, json_schema_input_type=float | str | None)] = Field(
        default=None, description="begin no trial after so long: seconds, or 90s, 5min, 2h"
    )
    until_flat: bool = Field(
        default=False, description="end when three trials in a row are expected to gain less than a twentieth of the noise"
    )
    refine: float = Field(default=0.25, ge=0, le=1, description="share of the trials, the last, that swap bits around the best")
    evaluate: Literal["ptq", "qat", "supernet"] = Field(
        default="qat",
        description="what trials are scored by: ptq, calibration alone; qat, all rungs; supernet, shared weights, then rungs that train",
    )
    supernet: SupernetConfig = SupernetConfig()
    rungs: Annotated[tuple[RungConfig, ...], Field(min_length=1)] = (
        RungConfig(name="ptq", epochs=0),
        RungConfig(name="short", epochs=1, keep=0.34),
        RungConfig(name="long", epochs=2, keep=0.34),
    )
    sweep: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(ge=1)]] = Field(
        default=(0.85, 1.2), description="least and largest factor on every budget between which a front is wanted"
    )

    @field_validator("rungs")
    @classmethod
    def _distinct(cls, rungs: tuple[RungConfig, ...]) -> tuple[RungConfig, ...]:
        names = [rung.name for rung in rungs]
        if len(set(names)) < len(names):
            raise ValueError(f"rungs need different names, got {', '.join(names)}")
        for taken, what in (("full", "retraining"), ("supernet", "score by shared weights")):
            if taken in names:
                raise ValueError(f"'{taken}' is the name of the {what}; give the rung another")
        trains = [rung.epochs > 0 for rung in rungs]
        if trains != sorted(trains):
            raise ValueError("a rung of 0 epochs calibrates the float network and cannot follow one that trains; put it first")
        return rungs

    @property
    def climbed(self) -> tuple[RungConfig, ...]:
        """The rungs that trials really take: `rungs`, as `evaluate` has them."""
        calibration = tuple(rung for rung in self.rungs if rung.epochs == 0)
        if self.evaluate == "ptq":
            return calibration or (RungConfig(name="ptq", epochs=0),)
        if self.evaluate == "supernet":
            return (RungConfig(name="supernet", epochs=0), *(rung for rung in self.rungs if rung.epochs))
        return self.rungs


class RetrainConfig(Strict):
    """Full training of the winner (and, alike, of the best uniform allocation and the float control)."""

    epochs: int = Field(default=4, ge=0)
    include_validation: bool = Field(default=False, description="train on train + validation, as nothing is chosen any more")
    uniform: bool = Field(default=True, description="retrain the best uniform allocation that fits, too")
    control: bool = Field(default=False, description="train the float network as many epochs more, too")


class EffortConfig(Strict):
    """What one effort changes; keys as in the study itself."""

    signals: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    retrain: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    float_recipe: dict[str, Any] = Field(default_factory=dict)


def _space_of(value: Any) -> Any:
    return read_space(value) if isinstance(value, str) else value


def _readable(text: str) -> str:
    parse_budget(text)
    return text


class StudyConfig(Strict):
    """One experiment. Everything that changes its result is stated here or in the files it names."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="names the run directory")
    description: str = ""
    data: DataConfig
    model: ModelConfig
    space: Annotated[SpaceConfig, BeforeValidator(_space_of, json_schema_input_type=str | SpaceConfig)] = Field(
        description="a name in spaces/, a YAML file, or the space itself"
    )
    budgets: tuple[Annotated[str, BeforeValidator(_readable)], ...] = Field(
        default=(), description="such as 2MB, 3.2bit, 1.2GBOPs, 5ms; all hold"
    )
    hardware: str | None = Field(default=None, description="profile for latency: a shipped name or a YAML file")
    signals: SignalsConfig = SignalsConfig()
    methods: dict[str, dict[str, Setting]] = Field(
        min_length=1, description="method → its hyperparameters; trials choose among the methods"
    )
    recipe: RecipeConfig = Field(description="quantization-aware training; its epochs are those of the rungs and of retrain")
    float_recipe: FloatRecipeConfig | None = Field(
        default=None, description="trains the float network when no weights are given; left out, it comes trained"
    )
    search: SearchConfig = SearchConfig()
    retrain: RetrainConfig = RetrainConfig()
    effort: Effort = "normal"
    efforts: dict[Effort, EffortConfig] = Field(default_factory=dict, description="what --effort changes")
    compile: Literal["auto", "on", "off"] = Field(
        default="auto", description="torch.compile; auto uses it where the steps to come repay it"
    )
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    seed: int = Field(default=0, ge=0)

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets, read; of two on the same cost the tighter.

        Raises:
            BudgetError: none given.
        """
        return parse_budgets(self.budgets)

    @property
    def run_name(self) -> str:
        """Default name of the run directory: study, budgets, and what differs from `normal` and seed 0."""
        parts = [self.name, *(budget.text.replace(" ", "").replace(":", "-") for budget in self.limits)]
        if self.effort != "normal":
            parts.append(self.effort)
        if self.seed:
            parts.append(f"seed{self.seed}")
        return "-".join(parts)

    def hyperparameters(self, method: str) -> SearchableSettings:
        """Settings of one of the study's methods, fixed and searched."""
        return split_settings(self.methods[method], METHODS[method])

    def with_effort(self, effort: str) -> StudyConfig:
        """The same study with the changes of `quick`, `normal` or `thorough` on top.

        Raises:
            ConfigError: the study states no such effort.
        """
        changes = effort_changes(self.efforts, effort, current=self.effort, label=self.name)
        return validate_study(overlay(self.to_dict(), {**changes, "effort": effort}), label=self.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load_study` would read back as the same config, defaults included."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The resolved study: the effort is laid in and the space stands in the file, so that it needs no other."""
        plain = self.to_dict()
        del plain["efforts"]
        return dump_yaml(plain)

    def fingerprint(self) -> str:
        """SHA-256 (16 hexadecimal digits) of all that changes results, the content of weight and hardware files included.

        The device, `torch.compile` and all names and descriptions are left out: a run may go on elsewhere.
        """
        plain = self.to_dict()
        for label in ("name", "description", "effort", "efforts", "device", "compile"):
            del plain[label]
        del plain["space"]["name"], plain["space"]["description"]
        plain["data"]["path"] = None if self.data.path is None else _expandvars(self.data.path)
        plain["model"]["weights"] = _content_digest(self.model.weights)
        plain["model"]["other_weights"] = _content_digest(self.model.other_weights)
        plain["hardware"] = _content_digest(self.hardware)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def effort_changes(efforts: Mapping[Any, EffortConfig], effort: str, *, current: str, label: str) -> dict[str, Any]:
    """What `effort` changes in a study.

    Args:
        efforts: those the study states.
        effort: the one asked for.
        current: the one the study is at; a study that states no efforts has it already.
        label: what messages call the study.

    Raises:
        ConfigError: the study states no such effort.
    """
    if effort in efforts:
        return {key: value for key, value in efforts[effort].model_dump().items() if value}
    if not efforts and effort == current:
        return {}
    known = ", ".join(efforts) or current
    raise ConfigError(f"{label}: there is no effort '{effort}' in this study; it has {known}", path="efforts")


def validate_study(content: Mapping[str, Any], *, label: str) -> StudyConfig:
    """A study from plain data.

    Raises:
        ConfigError: a wrong key, type or value, with its path.
    """
    try:
        return StudyConfig.model_validate(content)
    except ValidationError as error:
        raise config_error(error, StudyConfig, label=label) from error
