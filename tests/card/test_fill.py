"""The card of real runs on tiny networks: counters, audit, labels, costs in closed form, interruptions.

Not tested here: latency and GPU hours (nothing measures them on a CPU), and cards of other people's results beyond their unknown fields
(`tests/report/card`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.card import Card, comparability_group
from mpsearch.core.choice import Choice
from mpsearch.core.pass_counts import Count, PassCounts
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.report.terminal import print_summary
from mpsearch.run import stages
from mpsearch.tasks.task import Task
from mpsearch.training.loop import train
from mpsearch.training.recipe import Recipe

RECIPE = Recipe(optimizer="adamw", lr=2e-3, scale_lr=0.1, batch_size=32, distill=0.5, reestimate=96, precision="float32")
EPOCHS, TRAIN, VALIDATION, TEST, IMAGES = 2, 160, 40, 40, 64
SPACE = {"weights": [2, 3, 4, 8], "activations": [4, 8]}


def vectors() -> tuple[Tensor, Tensor]:
    x = torch.randn(TRAIN + VALIDATION + TEST, 6)
    return x, (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))


def searched(folder: Path, *, seen: int = 0, **changes: Any) -> mpsearch.Result:
    """A run; `seen` samples of the test split are training samples."""
    torch.manual_seed(0)
    x, y = vectors()
    first = TRAIN + VALIDATION
    test = TensorDataset(torch.cat([x[:seen], x[first:]]), torch.cat([y[:seen], y[first:]]))
    arguments: dict[str, Any] = {
        "budget": "3.2bit",
        "space": SPACE,
        "recipe": RECIPE,
        "images": IMAGES,
        "trials": 2,
        "epochs": EPOCHS,
        "effort": "quick",
        "signals": ["fisher"],
        "test": test,
        "run_dir": folder / "run",
        "progress": False,
    }
    return mpsearch.search(
        mlp().eval(), TensorDataset(x[:TRAIN], y[:TRAIN]), TensorDataset(x[TRAIN:first], y[TRAIN:first]), **{**arguments, **changes}
    )


def card_of(result: mpsearch.Result) -> Card:
    return Card.from_json((result.run_dir / "card.json").read_text())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> mpsearch.Result:
    return searched(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def card(result: mpsearch.Result) -> Card:
    return card_of(result)


def test_passes_are_the_loaders_lengths(result: mpsearch.Result, card: Card) -> None:
    passes = {name: Count(**numbers) for name, numbers in card.resources.passes.items()}
    assert passes["signals"].backward == IMAGES
    assert passes["calibration"] == Count(forward=IMAGES)
    assert passes["study"] == Count(forward=2 * (96 + VALIDATION), scored=2 * VALIDATION)  # BatchNorm re-estimated, then scored
    retrained = passes["retraining"]
    assert retrained.backward == retrained.labels == EPOCHS * TRAIN
    scored = (1 + EPOCHS + 1) * VALIDATION  # calibrated, each epoch, baked
    assert retrained.scored == scored
    assert retrained.forward == 2 * EPOCHS * TRAIN + 2 * 96 + scored  # student and teacher; BatchNorm after calibration and at the end
    assert passes["test"] == Count(forward=len(result.summary.test) * TEST, scored=len(result.summary.test) * TEST)
    assert passes["references"].backward >= EPOCHS * TRAIN


def test_data_and_labels(card: Card) -> None:
    assert {use: (entry["images"], entry["labels"]) for use, entry in card.data.use.items()} == {
        "calibration": (IMAGES, False),
        "search": (96, False),
        "fine-tune": (TRAIN, True),
        "selection": (VALIDATION, True),
        "test": (TEST, True),
    }
    assert card.data.overlap_with_test == 0
    assert card.data.use["fine-tune"]["labels_read"] == EPOCHS * TRAIN
    assert card.resources.tier == "P4"
    assert not card.provenance.failed_checks


def test_costs_are_the_closed_form_and_the_file(result: mpsearch.Result, card: Card) -> None:
    layers, bits = result.summary.layers, card.precision.bits
    assert result.allocation.to_dict() == bits
    chosen = [Choice.parse(bits[layer.name]) for layer in layers]
    pairs = [(layer, choice.weight.bits, choice.activation.bits) for layer, choice in zip(layers, chosen, strict=True)]
    assert card.costs.file_bytes == result.path.stat().st_size
    assert card.costs.bops == sum(layer.macs * weight * act for layer, weight, act in pairs)
    assert card.costs.weight_bytes == sum(-(-layer.weights * weight // 8) for layer, weight, _ in pairs)
    weights = sum(layer.weights for layer in layers)
    assert card.costs.mean_weight_bits == pytest.approx(sum(layer.weights * weight for layer, weight, _ in pairs) / weights)
    assert card.costs.mean_weight_bits_without_ends == chosen[1].weight.bits
    assert card.costs.peak_activation_bytes <= card.costs.peak_live_bytes
    assert card.costs.mean_activation_bytes <= card.costs.peak_activation_bytes
    assert card.granularity.scales == sum(layer.channels for layer in layers) + len(layers)
    assert card.model.macs == 6 * 32 + 32 * 32 + 32 * 2


def test_what_is_measured_of_the_network(result: mpsearch.Result, card: Card) -> None:
    assert card.formats.weights["family"] == "uniform"
    assert card.formats.weights["zero_exact"] == "yes"
    assert card.coverage.scope == "weights and layer inputs"
    assert card.coverage.tensors["network input"]["bits"] == [result.allocation["0"].activation.bits]
    assert set(card.coverage.float_ops) == {"relu"}
    assert card.model.batchnorm_folded == "1 of 1"
    assert card.model.edits == "1 BatchNorm1d to Identity"
    assert card.identity.repeats == 1
    assert card.result.mean == result.summary.test["winner"].metric
    assert card.result.delta_to_float == pytest.approx(result.summary.test["winner"].metric - result.summary.test["float"].metric)
    assert card.result.std == "n/a: one seed"
    assert card.result.full_split is True
    assert card.result.worst_class["metric"] <= result.summary.winner.score.metric
    assert [flip.toggle for flip in card.ablation.flips] == [f"T{number}" for number in range(1, 10)]
    assert card.provenance.comparability_group == comparability_group(card)


@pytest.mark.parametrize(
    ("methods", "family", "zero", "datatype"),
    [
        ({"alq": {}}, "multibit, sums of scaled signs", "no", "bits, multibit"),
        ({"learned_range": {"levels": "power_of_two"}}, "power of two", "no", "bits, power of two"),
        ({"lsq": {"grid": "narrow"}}, "uniform", "yes", "int"),
    ],
    ids=["alq", "powers of two", "lsq"],
)
def test_formats_are_what_the_file_holds(tmp_path: Path, methods: Any, family: str, zero: str, datatype: str) -> None:
    result = searched(tmp_path, methods=methods, trials=1, epochs=1)
    card = card_of(result)
    assert card.formats.weights["family"] == family
    assert card.formats.weights["zero_exact"] == zero
    assert all(datatype in each for each in card.hardware.datatypes["weights"])
    assert (card.hardware.accumulator_bits == "n/a: no layer multiplies integers by integers") == (family != "uniform")
    if "alq" in methods:
        planes = card.precision.fractional_bits
        assert {name: round(bits) for name, bits in planes.items()} == {name: c.weight.bits for name, c in result.allocation.items()}
        assert card.formats.weights["codes"] == "sign planes"
    else:
        assert card.precision.fractional_bits == "n/a: bits are whole within a layer"


def test_powers_of_two_of_activations_are_said(tmp_path: Path) -> None:
    card = card_of(searched(tmp_path, methods={"learned_range": {"act_levels": "power_of_two"}}, trials=1, epochs=1))
    assert card.formats.activations["family"] == "power of two"
    assert card.formats.activations["zero_exact"] == "not where negative"
    assert card.formats.activations["rounding"] == "nearest logarithm"
    assert any(each.endswith("bits, sign and power of two") for each in card.hardware.datatypes["layer inputs"])
    assert any(each.endswith("bits, zero and power of two") for each in card.hardware.datatypes["layer inputs"])
    assert card.hardware.accumulator_bits == "n/a: no layer multiplies integers by integers"
    assert not card.hardware.runtimes["any integer bits, a scale an output channel"]


def test_what_calibration_alone_did_to_the_weights_is_said(tmp_path: Path) -> None:
    card = card_of(searched(tmp_path, methods=["gptq"], trials=1, epochs=0))
    assert card.ranges.weights == "least squared error by output channel, then by gptq on images"
    assert card.ranges.bias_correction == "mean of every channel, with BatchNorm its variance too, by gptq on images"
    assert card.ranges.batchnorm_images == "n/a: statistics are corrected, not re-estimated"
    assert card.formats.weights["rounding"].endswith("codes calibrated by gptq")
    assert {card.data.use[use]["images"] for use in ("search", "fine-tune")} == {TRAIN}  # all there are, up to 512
    blocks = {"brecq": {"iterations": 3, "images": 40}}
    learned = card_of(searched(tmp_path / "blocks", methods=blocks, trials=1, epochs=0, images=32, recipe=replace(RECIPE, reestimate=32)))
    assert learned.resources.passes["study"]["backward"] > 0
    assert learned.data.use["search"]["images"] == learned.data.use["fine-tune"]["images"] == TRAIN
    assert learned.resources.tier == "P2"
    plain = card_of(searched(tmp_path / "plain", trials=1, epochs=0))
    assert plain.ranges.weights == "least squared error by output channel"
    assert (plain.ranges.bias_correction, plain.ranges.batchnorm_images) == ("none", 96)
    assert {plain.data.use[use]["images"] for use in ("search", "fine-tune")} == {96}


def test_the_card_is_linked_and_named(result: mpsearch.Result, card: Card) -> None:
    assert 'href="card.md"' in (result.run_dir / "front.html").read_text()
    screen = io.StringIO()
    print_summary(result.summary, Console(file=screen, width=200), result.run_dir)
    assert str(result.run_dir / "card.md") in screen.getvalue()
    text = (result.run_dir / "card.md").read_text()
    assert text.startswith("# Quantization card\n\n`Sequential | W")
    assert not list(result.run_dir.glob(".card*"))


def test_a_test_sample_in_training_fails_the_card(tmp_path: Path) -> None:
    result = searched(tmp_path, seen=3, trials=1, epochs=0)
    card = card_of(result)
    assert card.data.use["search"]["overlap_with_test"] == card.data.overlap_with_test == 3
    assert "search: 3 samples of the test split (by content)" in card.provenance.failed_checks
    assert not any(check.startswith("selection") for check in card.provenance.failed_checks)
    assert "`FAILED: Sequential" in (result.run_dir / "card.md").read_text()


def test_without_labels_weights_only_and_no_test_split(tmp_path: Path) -> None:
    card = card_of(searched(tmp_path, recipe=replace(RECIPE, distill=1.0), space="weights-only", test=None))
    assert not any(card.data.use[use]["labels"] for use in ("calibration", "search", "fine-tune"))
    assert card.data.use["selection"]["labels"]
    assert card.resources.passes["retraining"]["labels"] == 0
    assert card.resources.passes["retraining"]["backward"] == EPOCHS * TRAIN
    assert card.resources.tier == "P2"
    assert card.data.overlap_with_test == "n/a: no test split"
    assert card.result.split == "validation"
    assert card.ranges.images == card.data.use["calibration"]["images"] == 0
    assert card.formats.activations == "n/a: activations are float32"


class Poisoned(Tensor):
    """Labels that may travel but not be read."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.to:
            raise AssertionError(f"a label was read by {func}")
        return super().__torch_function__(func, types, args, kwargs or {})


class Unread(TensorSplit):
    def batches(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in super().batches(*args, **kwargs):
            yield x, y.as_subclass(Poisoned)


@pytest.mark.parametrize("distill", [1.0, 0.5])
def test_pure_distillation_reads_no_label_and_everything_else_is_counted(distill: float) -> None:
    torch.manual_seed(0)
    model, tally, recipe = mlp(), PassCounts(), replace(RECIPE, distill=distill, epochs=3, augment=False)
    x, y = vectors()
    split = (Unread if distill == 1 else TensorSplit)(x[:100], y[:100])
    with tally.listening("retraining"):
        train(model, [], split, Task.classification(), recipe, device=torch.device("cpu"), seed=0, teacher=mlp().eval())
    labels = 0 if distill == 1 else 300
    assert tally.counts == {"retraining": Count(forward=2 * 300 + 96, backward=300, labels=labels)}


def test_the_poison_works() -> None:
    x, y = vectors()
    with pytest.raises(AssertionError, match="a label was read"):
        train(mlp(), [], Unread(x, y), Task.classification(), replace(RECIPE, epochs=1), device=torch.device("cpu"), seed=0)


def test_a_run_killed_at_its_card_writes_it_the_next_time(
    tmp_path: Path, result: mpsearch.Result, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "build_card", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path)
    assert not (tmp_path / "run" / "summary.json").exists()
    before = json.loads((tmp_path / "run" / "tally.json").read_text())
    again = searched(tmp_path)
    assert again.path.read_bytes() == result.path.read_bytes()
    passes = card_of(again).resources.passes
    assert passes["study"] == before["study"] == card.resources.passes["study"]
    assert passes["retraining"]["backward"] == EPOCHS * TRAIN  # the checkpoint was complete: nothing was trained twice
    assert passes["retraining"]["forward"] > before["retraining"]["forward"]  # but calibrated and scored again, and that counts
    assert card_of(again).identity.config_id == card.identity.config_id


def test_a_card_that_cannot_be_filled_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr(stages, "build_card", broken)
    result = searched(tmp_path, trials=1, epochs=0)
    assert result.summary.card == ""
    assert (result.run_dir / "summary.json").exists()
    assert "card.md" not in (result.run_dir / "front.html").read_text()


def test_regression_has_a_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(240, 6)
    y = torch.stack([x[:, 0] * x[:, 1], x.sum(1)], 1)
    result = mpsearch.search(
        mlp().eval(),
        TensorDataset(x[:160], y[:160]),
        TensorDataset(x[160:200], y[160:200]),
        test=TensorDataset(x[200:], y[200:]),
        budget="4bit",
        task=Task.regression(),
        recipe=RECIPE,
        images=32,
        trials=1,
        epochs=0,
        effort="quick",
        signals=["fisher"],
        run_dir=tmp_path / "run",
        progress=False,
    )
    card = card_of(result)
    assert card.result.metric == "MSE"
    assert card.result.worst_class == "n/a: no classes"
    assert {flip.toggle: flip.status for flip in card.ablation.flips}["T8"] == "measured"
    assert not card.ranges.learned
    assert card.resources.tier == "P2"  # the signal differentiates, and reads no label
