"""`mpsearch.search` on a user's own model and data: five kinds of network, from float weights to a verified file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mpsearch
from mpsearch.config import load_bits
from mpsearch.core.errors import BudgetError, DataError, RunDirectoryError, UsageError
from mpsearch.tasks.task import Task
from tests.networks import Depthwise, Transformer
from tests.run.searches import RECIPE, images, mlp, pretrained, small, vectors


def tokens() -> tuple[Tensor, Tensor]:
    x = torch.randint(0, 50, (240, 12))
    return x, (x < 17).sum(1).clamp(max=2)


def targets() -> tuple[Tensor, Tensor]:
    x = torch.randn(240, 6)
    return x, torch.stack([x[:, 0] * x[:, 1], x.sum(1)], 1)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]], Task, str, str]] = {
    "mlp": (mlp, vectors, Task.classification(), "3bit", "weights-only"),
    "depthwise": (Depthwise, images, Task.classification(), "1600B", "weights-activations"),
    "transformer": (Transformer, tokens, Task.classification(), "3.5bit", "weights-activations"),
    "regression": (mlp, targets, Task.regression(), "4bit", "weights-only"),
}


@pytest.mark.parametrize("name", CASES)
def test_search_ends_in_a_verified_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, data, task, budget, space = CASES[name]
    x, y = data()
    model = pretrained(build(), x, y, task)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train, validation = TensorDataset(x[:160], y[:160]), DataLoader(TensorDataset(x[160:200], y[160:200]), batch_size=16)
    result = mpsearch.search(
        model,
        train,
        validation,
        test=TensorDataset(x[200:], y[200:]),
        budget=budget,
        task=task,
        space=space,
        recipe=RECIPE,
        images=96,
        trials=5,
        epochs=2,
        run_dir=tmp_path / "run",
        progress=False,
    )
    summary = result.summary
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert result.path.stat().st_size == summary.artifact_bytes == summary.winner.costs["size"]
    limit = summary.budgets[0]
    assert summary.winner.costs[limit.cost] <= limit.limit
    assert summary.winner.score.metric == summary.winner.score.metric
    assert {"float", "winner", "uniform"} <= set(summary.test)
    again = mpsearch.load(result.path, model=build())
    with torch.no_grad():
        assert torch.equal(again(x[:16]), result.model(x[:16]))
    assert (result.run_dir / "front.html").stat().st_size > 10_000
    assert result.allocation == load_bits(result.run_dir / "bits.yaml")


def test_scored_logits_are_the_files(tmp_path: Path) -> None:
    """The validation score in the record, to the last bit, from the file alone."""
    from mpsearch.data.base import as_split
    from mpsearch.training.evaluate import evaluate

    torch.manual_seed(0)
    x, y = images()
    result = mpsearch.search(
        Depthwise().eval(),
        TensorDataset(x[:160], y[:160]),
        TensorDataset(x[160:], y[160:]),
        budget="1600B",
        recipe=RECIPE,
        images=64,
        trials=3,
        epochs=1,
        run_dir=tmp_path / "run",
        progress=False,
    )
    score = evaluate(
        mpsearch.load(result.path, model=Depthwise()),
        as_split(TensorDataset(x[160:], y[160:])),
        Task.classification(),
        device=torch.device("cpu"),
    )
    assert score == result.summary.winner.score


@pytest.mark.slow
def test_mobilenet_v2(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    x, y = torch.randn(64, 3, 32, 32), torch.randint(0, 4, (64,))
    model = mobilenet_v2(num_classes=4).eval()
    result = mpsearch.search(
        model,
        TensorDataset(x[:40], y[:40]),
        TensorDataset(x[40:], y[40:]),
        budget="1.2MB",
        recipe=RECIPE,
        images=16,
        trials=2,
        epochs=1,
        effort="quick",
        run_dir=tmp_path / "run",
        progress=False,
    )
    assert result.path.stat().st_size <= 1_200_000
    assert len(result.allocation) == 53


def test_budget_below_the_smallest_says_that_number(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"below the smallest") as caught:
        small(tmp_path, budget="100B")
    assert caught.value.smallest is not None
    assert not (tmp_path / "run").exists()
    assert f"{caught.value.smallest:,.0f} B" in str(caught.value)


def test_budget_above_the_largest_says_nothing_to_search(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="nothing to search"):
        small(tmp_path, budget="1MB")


def test_labels_outside_the_classes(tmp_path: Path) -> None:
    x, y = vectors()
    with pytest.raises(DataError, match="label"):
        mpsearch.search(
            mlp(),
            TensorDataset(x[:160], y[:160] + 1),
            TensorDataset(x[160:], y[160:]),
            budget="3bit",
            run_dir=tmp_path / "run",
            progress=False,
        )


def test_run_directory_of_another_study(tmp_path: Path) -> None:
    small(tmp_path)
    with pytest.raises(RunDirectoryError, match="holds another study"):
        small(tmp_path, budget="2bit")


def test_run_directory_of_another_model(tmp_path: Path) -> None:
    """The weights are not in the study's file, and count all the same."""
    torch.manual_seed(1)
    other = mlp().eval()
    small(tmp_path)
    with pytest.raises(RunDirectoryError, match="holds another study"):
        small(tmp_path, model=other)


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    x, y = vectors()
    for train, words in ((TensorDataset(x * float("nan"), y), "not finite"), (TensorDataset(x, y[:, None]), "squeeze")):
        with pytest.raises(UsageError, match=words):
            mpsearch.search(mlp().eval(), train, train, budget="3bit", run_dir=tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="not NoneType"):
        mpsearch.search(mlp().eval(), TensorDataset(x, y), None, budget="3bit", run_dir=tmp_path / "run", progress=False)


def test_run_directory_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("do not lose me")
    with pytest.raises(RunDirectoryError, match="holds no run of mpsearch"):
        small(tmp_path)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "do not lose me"


def test_trial_that_explodes_fails_and_the_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second trial that trains meets a learning rate at which the loss is NaN."""
    from mpsearch.training import loop
    from mpsearch.trials import evaluator

    genuine, calls = loop.train, []

    def explosive(model, parameters, split, task, recipe, **others):  # type: ignore[no-untyped-def]
        calls.append(recipe)
        if len(calls) == 2:
            from dataclasses import replace

            recipe = replace(recipe, lr=1e30)
        return genuine(model, parameters, split, task, recipe, **others)

    monkeypatch.setattr(evaluator, "train", explosive)
    result = small(tmp_path, trials=6, effort="thorough", epochs=1)
    failed = [trial for trial in result.summary.trials if trial.status == "failed"]
    assert len(failed) == 1
    assert "lower the learning rate" in failed[0].note
    assert len(result.summary.trials) == 6


def test_same_seed_same_run_and_finished_run_is_only_read(tmp_path: Path) -> None:
    first = small(tmp_path / "a", effort="thorough", trials=4)
    second = small(tmp_path / "b", effort="thorough", trials=4)
    assert first.path.read_bytes() == second.path.read_bytes()

    def essence(result: mpsearch.Result) -> list[object]:
        return [(t.allocation, t.scores, t.params, t.rung) for t in result.summary.trials]

    assert essence(first) == essence(second)
    again = small(tmp_path / "a", effort="thorough", trials=4)
    assert again.path.read_bytes() == first.path.read_bytes()
    assert again.summary.trials == first.summary.trials


def test_the_users_model_keeps_its_mode_and_the_claim_survives_a_kill(tmp_path: Path) -> None:
    """A run killed between claiming its directory and stating its study goes on."""
    first = small(tmp_path / "a")
    (tmp_path / "a" / "run" / "summary.json").unlink()
    (tmp_path / "a" / "run" / "study.yaml").unlink()
    assert small(tmp_path / "a").path.read_bytes() == first.path.read_bytes()
    model = mlp().train()
    small(tmp_path / "b", model=model, trials=2, effort="quick")
    assert all(module.training for module in model.modules())
