"""`StudyConfig`: the complete description of a study, as in `studies/*.yaml`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from mpsearch.config.effort import Effort, EffortConfig, effort_changes
from mpsearch.config.hyperparameters import Scalar, SearchableSettings, Setting, split_settings
from mpsearch.config.keep import Keep
from mpsearch.config.overlay import overlay
from mpsearch.config.recipe import FloatRecipeConfig, RecipeConfig
from mpsearch.config.space import SpaceConfig, read_space
from mpsearch.config.strict import Strict, validated
from mpsearch.config.supernet import SupernetConfig
from mpsearch.config.yaml_file import dump_yaml
from mpsearch.core.budget import Budget, ranged
from mpsearch.core.duration import parse_duration
from mpsearch.core.errors import BudgetError, ConfigError, UnknownNameError
from mpsearch.core.files import is_file
from mpsearch.costs.budgets import parse_budget, parse_budgets
from mpsearch.methods import METHODS

__all__ = [
    "MANY_TRIALS",
    "DataConfig",
    "ModelConfig",
    "RetrainConfig",
    "RungConfig",
    "SearchConfig",
    "SignalsConfig",
    "StudyConfig",
    "name_of",
]

MANY_TRIALS = 1000
"""Trials of a study that ends by time or when it stops improving, if no number is given."""
_LARGEST_SEED = 2**32 - 2
"""numpy takes 32 bits, and one more than the seed is a seed as well."""
_LONGEST_NAME = 100


def name_of(text: str) -> str:
    """A study's name from any text, such as a class name: letters, digits, `_`, `.` and `-`; `model` if nothing is left."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:_LONGEST_NAME] or "model"


def _expandvars(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))


def _file_digest(reference: str | None) -> str | None:
    """SHA-256 of the file's content, so that a moved file counts as the same; a reference that is not a file is returned as it is."""
    if reference is None:
        return None
    file = Path(_expandvars(reference))
    if not is_file(file):
        return reference
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _expanded(text: str, *, path: str, flag: str) -> str:
    expanded = _expandvars(text)
    if "$" in expanded:
        raise ConfigError(f"{path}: '{text}' names an environment variable that is not set; set it, or pass {flag}", path=path)
    return expanded


class DataConfig(Strict):
    """The data set."""

    source: str = Field(description="digits, imagefolder, or another source `mpsearch list` names", min_length=1)
    path: str | None = Field(default=None, description="folder of the source, if it has one; ~ and $VARIABLES are expanded")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the source, such as mean, std, size, augment")

    @property
    def reference(self) -> str:
        """The reference for `load_data`, such as `digits` or `imagefolder:DIR`.

        Raises:
            ConfigError: the path has a variable that is not set.
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
        default=None, description="weights of the same architecture from another training; the card scores the same bits on them"
    )

    @property
    def weights_path(self) -> Path | None:
        """File of the float weights, if any.

        Raises:
            ConfigError: the path has a variable that is not set.
        """
        return None if self.weights is None else Path(_expanded(self.weights, path="model.weights", flag="--weights FILE"))

    @property
    def other_weights_path(self) -> Path | None:
        """File of the other float weights, if any.

        Raises:
            ConfigError: the path has a variable that is not set.
        """
        return None if self.other_weights is None else Path(_expanded(self.other_weights, path="model.other_weights", flag="a path"))


class SignalsConfig(Strict):
    """The signals and the data they are computed on."""

    names: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("fisher", "measured"), description="signals, each of which proposes allocations"
    )
    images: int = Field(default=512, ge=1, description="training samples for signals and calibration")
    mixed_on: int = Field(default=24, ge=8, description="random allocations near the budgets, whose measured damage `mix` is fitted to")
    mixed_epochs: int = Field(default=0, ge=0, description="epochs of training before each of them is measured; 0 for calibration only")
    batch_size: int = Field(default=64, ge=1)


def _seconds(value: Any) -> Any:
    return None if value is None else parse_duration(value, path="search.timeout")


class RungConfig(Strict):
    """One stage of a trial; later rungs cost more and run fewer trials."""

    name: str = Field(min_length=1)
    epochs: int = Field(ge=0, description="epochs of quantization-aware training in this rung; 0 for calibration only")
    keep: float = Field(default=1.0, gt=0, le=1, description="share of the trials of the previous rung that enter this one")


class SearchConfig(Strict):
    """The search over trials."""

    trials: int = Field(default=24, ge=1, description="largest number of trials")
    timeout: Annotated[float | None, BeforeValidator(_seconds, json_schema_input_type=float | str | None)] = Field(
        default=None, description="start no trial after this time: seconds, or 90s, 5min, 2h"
    )
    until_flat: bool = Field(
        default=False, description="stop when three trials in a row are each expected to gain less than a twentieth of the noise"
    )
    refine: float = Field(default=0.25, ge=0, le=1, description="share of the trials, at the end, that swap bits of the best allocations")
    evaluate: Literal["ptq", "qat", "supernet"] = Field(
        default="qat",
        description="how trials are scored: ptq, by calibration only; qat, by all rungs; supernet, by shared weights, then training rungs",
    )
    supernet: SupernetConfig = SupernetConfig()
    rungs: Annotated[tuple[RungConfig, ...], Field(min_length=1)] = (
        RungConfig(name="ptq", epochs=0),
        RungConfig(name="short", epochs=1, keep=0.34),
        RungConfig(name="long", epochs=2, keep=0.34),
    )
    sweep: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(ge=1)]] = Field(
        default=(0.85, 1.2), description="smallest and largest factor on every budget for which a front is computed"
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
        """The rungs that trials run, given `evaluate`."""
        calibration = tuple(rung for rung in self.rungs if rung.epochs == 0)
        if self.evaluate == "ptq":
            return calibration or (RungConfig(name="ptq", epochs=0),)
        if self.evaluate == "supernet":
            return (RungConfig(name="supernet", epochs=0), *(rung for rung in self.rungs if rung.epochs))
        return self.rungs


class RetrainConfig(Strict):
    """Full training of the winner, and likewise of the best uniform allocation and the float control."""

    epochs: int = Field(default=4, ge=0)
    include_validation: bool = Field(default=False, description="train on train + validation, since nothing is selected any more")
    uniform: bool = Field(default=True, description="also retrain the best uniform allocation that fits")
    control: bool = Field(default=False, description="also train the float network for as many more epochs")
    points: int = Field(default=6, ge=1, le=64, description="where a budget is a range: points of the front to train and deliver")


def _space_of(value: Any) -> Any:
    try:
        return read_space(value) if isinstance(value, str) else value
    except UnknownNameError as error:
        raise ValueError(str(error)) from error  # pydantic collects it with the other faults


def _readable(text: str) -> str:
    parse_budget(text)
    return text


class StudyConfig(Strict):
    """One study. Everything that affects its result is stated here or in files named here."""

    name: str = Field(
        min_length=1, max_length=_LONGEST_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="names the run directory"
    )
    description: str = ""
    data: DataConfig
    model: ModelConfig
    space: Annotated[SpaceConfig, BeforeValidator(_space_of, json_schema_input_type=str | SpaceConfig)] = Field(
        description="a name in spaces/, a YAML file, or the space itself"
    )
    budgets: tuple[Annotated[str, BeforeValidator(_readable)], ...] = Field(
        default=(), description="such as 2MB, 3.2bit, 1.2GBOPs, act:64KB, 5ms; all must hold; a range, such as 1MB..8MB, asks for a front"
    )
    keep: Keep = Field(default=None, description="find the cheapest network that keeps so much of the float metric, such as 99%")
    target: str = Field(default="packed", description="the file that is delivered, see `mpsearch list targets`", min_length=1)
    target_settings: dict[str, Scalar] = Field(default_factory=dict, description="of the target, such as `{runtime: openvino}` of onnx-qdq")
    hardware: str | None = Field(default=None, description="profile for latency: a shipped name or a YAML file")
    signals: SignalsConfig = SignalsConfig()
    methods: dict[str, dict[str, Setting]] = Field(
        min_length=1, description="method → its hyperparameters; trials choose among the methods"
    )
    recipe: RecipeConfig = Field(description="quantization-aware training; its epochs are those of the rungs and of retrain")
    float_recipe: FloatRecipeConfig | None = Field(
        default=None, description="trains the float network if no weights are given; without it, the network must come trained"
    )
    search: SearchConfig = SearchConfig()
    retrain: RetrainConfig = RetrainConfig()
    effort: Effort = "normal"
    efforts: dict[Effort, EffortConfig] = Field(default_factory=dict, description="what --effort changes")
    compile: Literal["auto", "on", "off"] = Field(
        default="auto", description="torch.compile; auto uses it if there are enough training steps for it to pay off"
    )
    card: Literal["auto", "full"] = Field(
        default="auto", description="full measures all flips of the quantization card; auto begins none after a tenth of the run's time"
    )
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    seed: int = Field(default=0, ge=0, le=_LARGEST_SEED)

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The parsed budgets; of two budgets on the same cost, the tighter one.

        Raises:
            BudgetError: there are none, and `keep` is not asked for either; or `keep` stands beside a range.
        """
        if self.keep is None:
            return parse_budgets(self.budgets)
        limits = parse_budgets(self.budgets) if self.budgets else ()
        if (area := ranged(limits)) is not None:
            raise BudgetError(f"budget {area} asks for a front, and keep {self.keep.text} for one network; leave one of them out")
        return limits

    @property
    def run_name(self) -> str:
        """Default name of the run directory: study, budgets, and what differs from `normal` and seed 0."""
        parts = [self.name, *(budget.text.replace(" ", "").replace(":", "-") for budget in self.limits)]
        if self.keep is not None:
            parts.append(f"keep{self.keep.text}".replace(" ", "").replace("%", "pct"))
        if self.effort != "normal":
            parts.append(self.effort)
        if self.seed:
            parts.append(f"seed{self.seed}")
        return "-".join(parts)

    def hyperparameters(self, method: str) -> SearchableSettings:
        """Fixed and searched settings of one of the study's methods."""
        return split_settings(self.methods[method], METHODS[method])

    def with_effort(self, effort: str) -> StudyConfig:
        """The study with the changes of an effort (`quick`, `normal` or `thorough`).

        Raises:
            ConfigError: the study has no such effort.
        """
        changes = effort_changes(self.efforts, effort, current=self.effort, label=self.name)
        return validate_study(overlay(self.to_dict(), {**changes, "effort": effort}), label=self.name)

    def to_dict(self) -> dict[str, Any]:
        """JSON data, defaults included, that `load_study` reads back as the same config."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The resolved study: effort and space are part of the text, so that it depends on no other file."""
        return dump_yaml(self.model_dump(mode="json", exclude={"efforts"}))

    def fingerprint(self) -> str:
        """SHA-256 (16 hexadecimal digits) of everything that affects results, the content of weight and hardware files included.

        The device, `torch.compile`, names and descriptions are left out, so that a run can continue on another machine, and how full its
        card is.
        """
        document = self.model_dump(mode="json", exclude={"name", "description", "effort", "efforts", "device", "compile", "card"})
        if self.keep is None:  # as before there was such a question, so that such runs go on
            del document["keep"]
        del document["space"]["name"], document["space"]["description"]
        document["data"]["path"] = None if self.data.path is None else _expandvars(self.data.path)
        document["model"]["weights"] = _file_digest(self.model.weights)
        document["model"]["other_weights"] = _file_digest(self.model.other_weights)
        document["hardware"] = _file_digest(self.hardware)
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def validate_study(content: Mapping[str, Any], *, label: str) -> StudyConfig:
    """Validate JSON data as a study.

    Raises:
        ConfigError: a key, type or value is wrong; the message has its path.
    """
    return validated(StudyConfig, content, label=label)
