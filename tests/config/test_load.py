from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpsearch.config import load_study
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.core.number_format import as_format
from mpsearch.methods import METHODS
from mpsearch.signals import SIGNALS

DEFAULT = "digits_resnet18"


def test_flags_win_over_the_effort() -> None:
    study = load_study(DEFAULT, {"effort": "quick", "search.trials": 3})
    assert study.search.trials == 3
    assert [rung.epochs for rung in study.search.rungs] == [0], "quick trains no trial"


def test_methods_by_name_keep_what_the_study_says_of_them() -> None:
    study = load_study(DEFAULT, {"methods.lsq.grid": "narrow"})
    assert study.hyperparameters("lsq").fixed == {"grid": "narrow"}
    assert list(load_study(DEFAULT, {"methods": ["ste"]}).methods) == ["ste"]


def test_all_is_everyone_and_the_studys_own_come_first() -> None:
    study = load_study("cifar10_resnet20", {"methods": ["all"], "signals.names": ["all"]})
    own = load_study("cifar10_resnet20")
    assert set(study.methods) == set(METHODS.names())
    assert list(study.methods)[: len(own.methods)] == list(own.methods)
    assert study.hyperparameters("lsq").fixed == own.hyperparameters("lsq").fixed == {"grid": "half"}
    assert set(study.signals.names) == set(SIGNALS.names())
    assert study.signals.names[: len(own.signals.names)] == own.signals.names


def test_another_source_or_factory_starts_without_the_old_options() -> None:
    study = load_study("cifar10_resnet20", {"data.source": "digits", "data.path": None, "model.factory": "pkg.mod:net"})
    assert study.data.reference == "digits"
    assert study.data.options == {}
    assert study.model.options == {}
    kept = load_study("cifar10_resnet20", {"data.source": "imagefolder", "data.path": "/images"})
    assert kept.data.reference == "imagefolder:/images"
    assert kept.data.options["mean"] == [0.4914, 0.4822, 0.4465]


def test_a_space_can_be_changed_in_place() -> None:
    study = load_study(DEFAULT, {"space.weights": [2, 4], "space.pins.fc": "w4af"})
    assert study.space.build().weights == (as_format(2), as_format(4))
    assert list(study.space.pins) == ["fc"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nonsense": 1}, "nonsense: unknown key; known keys: name"),
    ({"float_recipe.epohs": 1}, r"float_recipe\.epohs: unknown key; did you mean 'epochs'\?"),
    ({"recipe.epochs": 1}, r"recipe\.epochs: unknown key"),
    ({"recipe.lr": "fast"}, r"recipe\.lr: should be a valid number"),
    ({"recipe.lr": {"low": 1, "high": 0.1}}, r"recipe\.lr: low must be below high, got 1 and 0\.1"),
    ({"recipe.lr": {"low": 0, "high": 0.1, "log": True}}, r"recipe\.lr: a log range needs low above zero"),
    ({"recipe.lr": {"low": 0.1}}, r"recipe\.lr\.high: this key is missing"),
    ({"recipe.optimizer": "adam"}, r"recipe\.optimizer: should be 'sgd' or 'adamw', not 'adam'"),
    ({"search.trials": 0}, r"search\.trials: should be greater than or equal to 1, not 0"),
    ({"search.trials": "many"}, r"search\.trials: should be a valid integer"),
    ({"search.rungs": []}, r"search\.rungs: .*at least 1"),
    ({"search.rungs": [{"name": "a", "epohs": 1}]}, r"search\.rungs\.0\.epohs: unknown key; did you mean 'epochs'"),
    ({"search.rungs": [{"name": "a", "epochs": 1}, {"name": "a", "epochs": 2}]}, r"search\.rungs: rungs need different names"),
    ({"search.rungs": [{"name": "a", "epochs": 1, "keep": 0}]}, r"search\.rungs\.0\.keep: should be greater than 0"),
    ({"search.rungs": [{"name": "supernet", "epochs": 1}]}, r"search\.rungs: 'supernet' is the name of the score by shared weights"),
    ({"search.rungs": [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 0}]}, r"search\.rungs: a rung of 0 epochs .*put it first"),
    ({"search.evaluate": "guess"}, r"search\.evaluate: should be 'ptq', 'qat' or 'supernet', not 'guess'"),
    ({"search.supernet.epochs": 0}, r"search\.supernet\.epochs: should be greater than or equal to 1"),
    ({"search.supernet.images": 0}, r"search\.supernet\.images: should be greater than or equal to 1"),
    ({"search.sweep": [-1.0, 1.0]}, r"search\.sweep\.0: should be greater than 0"),
    ({"search.sweep": [1.1, 1.2]}, r"search\.sweep\.0: should be less than or equal to 1"),
    ({"search.sweep": [0.8, 0.9]}, r"search\.sweep\.1: should be greater than or equal to 1"),
    ({"signals.names": []}, r"signals\.names: .*at least 1"),
    ({"signals.names": [{"fisher": None}]}, r"signals\.names\.0: should be a valid string"),
    ({"signals.names": 5}, r"signals\.names: should be a valid tuple"),
    ({"methods": [{"lsq": 1}]}, "methods: should be a valid dictionary"),
    ({"methods": 5}, "methods: should be a valid dictionary"),
    ({"methods": {}}, "methods: needs at least 1, and is empty"),
    ({"methods.lsq.gird": 1}, r"methods\.lsq\.gird: unknown key; did you mean 'grid'"),
    ({"methods.lsq.grid": "odd"}, r"methods\.lsq\.grid: should be"),
    ({"space.weights": [9]}, r"space\.weights\.0: uniform numbers have 1 to 8 bits, not 9"),
    ({"budgets": ["2"]}, r"budgets\.0: budget '2' has no unit"),
    ({"budgets": "2MB"}, "budgets: should be a valid tuple"),
    ({"compile": True}, "compile: should be 'auto', 'on' or 'off', not True"),
    ({"device": "gpu"}, "device: "),
    ({"seed": -1}, "seed: should be greater than or equal to 0"),
    ({"name": "a/b"}, "name: "),
    ({"recipe..lr": 1}, "'.lr' is no path of a key|'recipe..lr' is no path"),
]


@pytest.mark.parametrize(
    ("changes", "message"), WRONG, ids=[next(iter(changes)) + f"={next(iter(changes.values()))}" for changes, _ in WRONG]
)
def test_wrong_values_name_the_path_of_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^(command line: )?({message})") as caught:
        load_study(DEFAULT, changes)
    assert "\n" not in str(caught.value)


def test_an_unknown_effort() -> None:
    with pytest.raises(ConfigError, match="there is no effort 'fast' in this study; it has quick, normal, thorough"):
        load_study(DEFAULT, {"effort": "fast"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signals.names": ["nope"]}, "unknown signal 'nope'"),
        ({"signals.names": ["fisher", "nope"]}, "unknown signal 'nope'"),
        ({"methods": ["nope"]}, "unknown method 'nope'"),
        ({"space": "nope"}, "unknown space 'nope'"),
    ],
)
def test_unknown_names_list_the_known(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{message}; known: \\w+"):
        load_study(DEFAULT, changes)


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    source = Path(__file__).parents[2] / "studies" / f"{DEFAULT}.yaml"
    text = source.read_text()
    assert old in text
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 0", "sead: 0", r"mine\.yaml: sead: unknown key; did you mean 'seed'\?"),
        ("seed: 0", "seed: zero", r"mine\.yaml: seed: should be a valid integer"),
        ("seed: 0", "seed: 0\nseed: 1", r"mine\.yaml: line \d+, column 1: the key 'seed' appears twice"),
        ("budgets: [2MB]", "budgets: [2]", r"mine\.yaml: budgets\.0: budget 2 cannot be read"),
        ("space: weights-only", "space: {weights: [0]}", r"mine\.yaml: space\.weights\.0: uniform numbers have 1 to 8 bits, not 0"),
        ("space: weights-only", "", r"mine\.yaml: space: this key is missing"),
        (
            "retrain: {epochs: 2}",
            "retrain: {epocs: 2}",
            r"mine\.yaml: efforts\.quick\.retrain\.epocs: unknown key; did you mean 'epochs'\?",
        ),
        ("retrain: {epochs: 2}", "data: {source: x}", r"mine\.yaml: efforts\.quick\.data: unknown key"),
        ("  lsq: {grid: half}", "  lsq: {gird: twos}", r"mine\.yaml: methods\.lsq\.gird: unknown key; did you mean 'grid'\?"),
    ],
)
def test_errors_in_a_file_name_the_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study(_edited(tmp_path, old, new))


def test_a_hyperparameter_out_of_its_range_is_found_while_the_study_is_read() -> None:
    with pytest.raises(ConfigError, match=r"^command line: methods\.bsq\.alpha must be 0 or more, not -1") as caught:
        load_study(DEFAULT, {"methods": ["bsq"], "methods.bsq.alpha": -1})
    assert caught.value.path == "methods.bsq.alpha"


def test_a_path_and_a_name_are_the_same_study() -> None:
    file = Path(__file__).parents[2] / "studies" / f"{DEFAULT}.yaml"
    assert load_study(file) == load_study(str(file)) == load_study(DEFAULT)


def test_signals_that_only_combine_need_some_to_combine(tmp_path: Path) -> None:
    assert load_study(DEFAULT, {"signals.names": ["mix"]}).signals.names[0] == "mix"
    assert len(load_study(DEFAULT, {"signals.names": ["mix"]}).signals.names) >= 3
    text = load_study(DEFAULT, {"signals.names": ["mix"]}).to_yaml()
    start = text.index("  names:")
    alone = text[:start] + "  names: [mix]\n" + text[text.index("  images:", start) :]
    file = tmp_path / "alone.yaml"
    file.write_text(alone)
    with pytest.raises(ConfigError, match=r"alone\.yaml: signals\.names: 'mix' combines other signals; name at least two more"):
        load_study(file)


def _written(tmp_path: Path, text: str, name: str = "mine.yaml") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def test_all_that_is_wrong_is_said_at_once_in_one_line(tmp_path: Path) -> None:
    text = (
        "name: mine\ndat: digits\nspace: weights-onyl\nbudget: 2XB\nsignals: {names: [fishre]}\nmethods: [lqs, lsq]\nserach: {trials: 3}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_study(_written(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for said in (
        "mine.yaml: 7 faults: (1) dat: unknown key; did you mean 'data'?",
        "serach: unknown key; did you mean 'search'?",
        "model: this key is missing; add it",
        "space: unknown space 'weights-onyl'; known: ",
        "did you mean 'weights-only'?",
        "budgets.0: budget '2XB' has the unknown unit 'XB'",
        "signals.names: unknown signal 'fishre'; known: ",
        "did you mean 'fisher'?",
        "methods.lqs: unknown method 'lqs'; known: ",
    ):
        assert said in message
    assert "data: this key is missing" not in message, "its misspelling is told already"
    assert caught.value.path == "dat"


def test_faults_of_the_command_line_and_of_the_file_are_told_apart(tmp_path: Path) -> None:
    file = _written(tmp_path, "extends: digits_resnet18\nmethods: {lsq: {gird: half}}\n")
    with pytest.raises(
        ConfigError, match=r"^2 faults: \(1\) command line: search\.trials: .* \(2\) .*mine\.yaml: methods\.lsq\.gird: unknown key"
    ):
        load_study(file, {"search.trials": 0})


def test_a_data_source_and_a_model_that_nobody_registered(tmp_path: Path) -> None:
    file = _written(tmp_path, "name: mine\ndata: digitz\nmodel: resnet18_smal\nspace: weights-only\nbudget: 2MB\n")
    with pytest.raises(
        ConfigError, match=r"data source 'digitz'.*did you mean 'digits'.*model 'resnet18_smal'.*did you mean 'resnet18_small'"
    ):
        load_study(file)


def test_many_faults_are_counted_and_the_first_told(tmp_path: Path) -> None:
    text = "".join(f"key{number}: 1\n" for number in range(5000))
    with pytest.raises(ConfigError, match=r"at least 100 faults: .* … and \d+ more$") as caught:
        load_study(_written(tmp_path, text))
    assert len(str(caught.value)) < 10_000
