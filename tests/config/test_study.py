from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpsearch.config import load_study, shipped_names
from mpsearch.config.study import name_of
from mpsearch.config.yaml_file import parse_yaml
from mpsearch.core.errors import BudgetError, ConfigError

STUDIES = shipped_names("studies")
DEFAULT = "digits_resnet18"


def test_the_studies_that_must_ship() -> None:
    assert {DEFAULT, "cifar10_resnet20", "cifar10_resnet20_a4", "imagenet_resnet18", "imagenet_mobilenet_v2", "language_model"} <= set(
        STUDIES
    )


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_studies_state_every_effort(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    assert set(study.efforts) == {"quick", "normal", "thorough"}
    trials = [study.with_effort(effort).search.trials for effort in ("quick", "normal", "thorough")]
    assert trials == sorted(set(trials)), "more effort means more trials"
    assert study.with_effort("normal") == study, "the study itself states the normal effort"


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("effort", ["quick", "normal", "thorough"])
def test_the_resolved_yaml_is_the_same_study(name: str, effort: str, tmp_path: Path) -> None:
    study = load_study(name, {"effort": effort, "seed": 3})
    file = tmp_path / "study.yaml"
    file.write_text(study.to_yaml())
    again = load_study(file)
    assert again.fingerprint() == study.fingerprint()
    assert again.effort == effort
    assert again.to_yaml() == study.to_yaml()


@pytest.mark.parametrize(
    ("evaluate", "rungs", "climbed"),
    [
        ("qat", {"ptq": 0, "short": 2}, {"ptq": 0, "short": 2}),
        ("ptq", {"ptq": 0, "short": 2}, {"ptq": 0}),
        ("ptq", {"short": 2}, {"ptq": 0}),
        ("supernet", {"ptq": 0, "short": 2, "long": 3}, {"supernet": 0, "short": 2, "long": 3}),
        ("supernet", {"ptq": 0}, {"supernet": 0}),
    ],
)
def test_what_trials_are_scored_by(evaluate: str, rungs: dict[str, int], climbed: dict[str, int]) -> None:
    stated = [{"name": name, "epochs": epochs} for name, epochs in rungs.items()]
    search = load_study(DEFAULT, {"search.evaluate": evaluate, "search.rungs": stated}).search
    assert {rung.name: rung.epochs for rung in search.climbed} == climbed


def test_environment_variables_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSEARCH_DATA", "/images")
    assert load_study("cifar10_resnet20").data.reference == "imagefolder:/images/cifar10"
    monkeypatch.delenv("MPSEARCH_DATA")
    with pytest.raises(ConfigError, match=r"data\.path: .*variable that is not set; set it, or pass --data imagefolder:DIR"):
        _ = load_study("cifar10_resnet20").data.reference


def test_fingerprint_is_of_results_only(tmp_path: Path) -> None:
    study = load_study(DEFAULT)
    same: list[dict[str, Any]] = [{"name": "other"}, {"device": "cpu"}, {"compile": "off"}, {"description": "x"}]
    other: list[dict[str, Any]] = [
        {"seed": 1},
        {"budgets": ["1MB"]},
        {"effort": "quick"},
        {"recipe.lr": 0.02},
        {"space": "hardware-248"},
        {"methods": ["ste"]},
    ]
    assert {load_study(DEFAULT, changes).fingerprint() for changes in same} == {study.fingerprint()}
    assert len({study.fingerprint(), *(load_study(DEFAULT, changes).fingerprint() for changes in other)}) == len(other) + 1
    weights = tmp_path / "w.safetensors"
    prints = []
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        prints.append(load_study(DEFAULT, {"model.weights": str(weights)}).fingerprint())
    moved = weights.rename(tmp_path / "moved.safetensors")
    assert prints[0] != prints[1] == load_study(DEFAULT, {"model.weights": str(moved)}).fingerprint()


def test_run_name() -> None:
    assert load_study(DEFAULT).run_name == "digits_resnet18-2MB"
    assert (
        load_study(DEFAULT, {"effort": "quick", "seed": 2, "budgets": ["80KB", "5ms"]}).run_name == "digits_resnet18-80KB-5ms-quick-seed2"
    )


def test_no_budget_at_all() -> None:
    with pytest.raises(BudgetError, match="no budget given; add --budget"):
        _ = load_study(DEFAULT, {"budgets": []}).limits


def test_every_shipped_yaml_reads_as_plain_data() -> None:
    folder = Path(__file__).parents[2] / "studies"
    for file in folder.glob("*.yaml"):
        text = file.read_text()
        assert text.startswith("# yaml-language-server: $schema=study.schema.json\n")
        assert isinstance(parse_yaml(text, label=file.name), dict)


@pytest.mark.parametrize(
    ("text", "name"), [("Net", "Net"), ("_Net", "Net"), ("Réseau", "R-seau"), ("网络", "model"), ("", "model"), ("a" * 300, "a" * 100)]
)
def test_any_text_gives_a_name_that_a_study_may_have(text: str, name: str) -> None:
    assert name_of(text) == name
