from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mpsearch.config import load_study
from mpsearch.config.study_file import read_study
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.loggers import Callback
from mpsearch.training.recipe import FLOAT_RECIPE, QAT_RECIPE

GUIDE = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
SHIPPED = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
FIVE = "name: mine\ndata: digits\nmodel: resnet18_small\nspace: weights-only\nbudget: 2MB\n"


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_study_in_full_is_read_as_it_stands(file: Path) -> None:
    assert read_study(file) == read_yaml(file)


def test_five_lines_are_a_study(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, FIVE))
    assert study.data.reference == "digits"
    assert study.model.factory == "resnet18_small"
    assert study.budgets == ("2MB",)
    assert list(study.methods) == ["lsq"]
    assert study.recipe.build({"epochs": QAT_RECIPE.epochs}) == QAT_RECIPE
    assert study.float_recipe is not None
    assert study.float_recipe.build() == FLOAT_RECIPE


def test_what_a_run_keeps_is_the_study_in_full(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, FIVE), {"effort": "quick"})
    again = load_study(written(tmp_path, study.to_yaml(), "study.yaml"))
    assert again.fingerprint() == study.fingerprint()
    assert again.to_yaml() == study.to_yaml()
    assert "lr: 0.0005" in study.to_yaml()


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("data: imagefolder:/images", {"data": {"source": "imagefolder", "path": "/images"}}),
        ("model: mine:net", {"model": {"factory": "mine:net"}}),
        ("methods: ste", {"methods": {"ste": {}}}),
        ("methods: [ste, lsq]", {"methods": {"ste": {}, "lsq": {}}}),
        ("budget: [2MB, 3bit]", {"budgets": ["2MB", "3bit"]}),
        ("budgets: 2MB", {"budgets": ["2MB"]}),
        ("budget: 2", {"budgets": [2]}),
    ],
)
def test_what_is_said_in_short(line: str, means: dict[str, Any], tmp_path: Path) -> None:
    content = read_study(written(tmp_path, line))
    assert {key: content[key] for key in means} == means


def test_a_network_of_ones_own_comes_trained_and_one_with_weights_too(tmp_path: Path) -> None:
    own = FIVE.replace("resnet18_small", "mine:net")
    assert load_study(written(tmp_path, own)).float_recipe is None
    with_weights = FIVE.replace("model: resnet18_small", "model: {factory: resnet18_small, weights: float.pt}")
    assert load_study(written(tmp_path, with_weights)).float_recipe is None


def test_a_recipe_that_is_stated_has_the_defaults_of_recipes(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, FIVE + "recipe: {lr: 0.01}\n"))
    assert (study.recipe.build().optimizer, study.recipe.build().lr) == ("sgd", 0.01)


def test_efforts_change_what_the_study_leaves_open(tmp_path: Path) -> None:
    file = written(tmp_path, FIVE + "search: {trials: 5}\n")
    quick, normal, thorough = (load_study(file, {"effort": effort}) for effort in ("quick", "normal", "thorough"))
    assert [study.search.trials for study in (quick, normal, thorough)] == [5, 5, 5]
    assert [study.retrain.epochs for study in (quick, normal, thorough)] == [2, 4, 15]
    assert [len(study.search.rungs) for study in (quick, normal, thorough)] == [1, 3, 3]


def test_an_effort_that_would_change_nothing_is_refused(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, FIVE)).to_yaml()
    with pytest.raises(ConfigError, match="there is no effort 'quick' in this study; it has normal"):
        load_study(written(tmp_path, study, "full.yaml"), {"effort": "quick"})


def test_an_extended_study_is_that_study_with_other_keys(tmp_path: Path) -> None:
    base = load_study("digits_resnet18", {"recipe.lr": 0.5, "budgets": ["1MB"], "name": "mine", "description": ""})
    assert load_study(written(tmp_path, "extends: digits_resnet18\nbudget: 1MB\nrecipe: {lr: 0.5}\n")).to_yaml() == base.to_yaml()


def test_keys_of_the_extending_study_hold_in_every_effort(tmp_path: Path) -> None:
    file = written(tmp_path, "extends: digits_resnet18\nsearch: {trials: 5}\nefforts: {thorough: {search: {trials: 7}}}\n")
    assert [load_study(file, {"effort": effort}).search.trials for effort in ("quick", "normal", "thorough")] == [5, 5, 7]
    assert load_study(file, {"effort": "quick"}).retrain.epochs == 2, "the rest is the base's"


def test_methods_and_sources_of_the_extending_study_take_the_place_of_the_others(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "extends: cifar10_resnet20\nmethods: [lsq]\ndata: digits\nmodel: resnet18_small\n"))
    assert study.hyperparameters("lsq").fixed == {"grid": "half"}
    assert list(study.methods) == ["lsq"]
    assert study.data.options == study.model.options == {}
    kept = load_study(written(tmp_path, "extends: cifar10_resnet20\ndata: imagefolder:/images\n"))
    assert kept.data.options["size"] == 32
    assert kept.data.reference == "imagefolder:/images"


def test_a_space_is_changed_in_place_or_replaced(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "extends: digits_resnet18\nspace: {pins: {fc: w8af}}\n"))
    assert list(study.space.pins) == ["fc"]
    assert len(study.space.weights) == 8
    assert load_study(written(tmp_path, "extends: digits_resnet18\nspace: hardware-248\n")).space.name == "hardware-248"


def test_files_extend_files_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "extends: digits_resnet18\nretrain: {epochs: 3}\n", "below/base.yaml")
    written(tmp_path, "extends: base.yaml\nsearch: {trials: 2}\n", "below/child.yaml")
    study = load_study("below/child.yaml", {"effort": "thorough"})
    assert (study.name, study.retrain.epochs, study.search.trials, study.signals.images) == ("child", 3, 2, 1024)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("extends: mine.yaml\n", ConfigError, r"mine\.yaml: extends: this file extends itself"),
        ("extends: nowhere.yaml\n", ConfigError, r"there is no study file '.*nowhere\.yaml'"),
        ("extends: ~nobody/x.yaml\n", ConfigError, "there is no study file"),
        ("extends: digits_resnet\n", UnknownNameError, "unknown study 'digits_resnet'; known: .*did you mean 'digits_resnet18'"),
        ("extends: [a]\n", ConfigError, r"mine\.yaml: extends: a study's name or the path of its file is needed, not \['a'\]"),
        ("budget: 2MB\nbudgets: [2MB]\n", ConfigError, r"mine\.yaml: budget: stands beside budgets"),
    ],
)
def test_what_cannot_be_extended(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        load_study(written(tmp_path, text))


def test_a_long_chain_ends(tmp_path: Path) -> None:
    for number in range(12):
        written(tmp_path, f"extends: s{number + 1}.yaml\n", f"s{number}.yaml")
    with pytest.raises(ConfigError, match="the end of 10 files that extend each other"):
        load_study(tmp_path / "s0.yaml")


@pytest.mark.parametrize("text", ["data: 5\n", "methods: [1]\n", "efforts: 3\nextends: digits_resnet18\n", "search: 1\nmodel: {}\n"])
def test_wrong_types_are_left_for_the_validation_to_say(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml: "):
        load_study(written(tmp_path, text))


def test_the_recipe_of_search_is_the_default(tmp_path: Path) -> None:
    content = read_study(written(tmp_path, FIVE))
    assert content["recipe"] == {key: value for key, value in asdict(QAT_RECIPE).items() if key != "epochs"}


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
def test_the_studies_of_the_guide_can_be_read(text: str, tmp_path: Path) -> None:
    assert load_study(written(tmp_path, text)).budgets


def test_the_faults_of_the_guide_are_those_that_are_told(tmp_path: Path) -> None:
    file = written(tmp_path, "name: mine\ndat: digits\nspace: weights-onyl\nbudget: 2MB\n")
    with pytest.raises(ConfigError) as caught:
        load_study(file)
    (told,) = re.findall(r"```text\nmpsearch: error: (.*?)\n```", GUIDE, re.DOTALL)
    assert str(caught.value).replace(str(file), "mine.yaml") == " ".join(told.split())


def test_the_callback_of_the_guide_is_one() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert issubclass(names["Best"], Callback)
    assert "on_trial" in vars(names["Best"])
