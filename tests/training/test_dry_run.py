"""What a network cannot do in training shows in a dry run, with the step that failed; what it can do otherwise is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.network.execution import Execution
from mpsearch.tasks.task import Task
from mpsearch.training.dry_run import find_execution
from mpsearch.training.recipe import Recipe

CPU = torch.device("cpu")


class Net(nn.Module):
    """A small classifier of images with a step that a test replaces."""

    def __init__(self, head: Callable[[Net, Tensor], Any] = lambda net, x: x.flatten(1)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(64, 3)
        self.head = head

    def forward(self, x: Tensor) -> Any:
        out = self.head(self, F.relu(self.norm(self.conv(x))))
        return self.linear(out) if isinstance(out, Tensor) and out.shape[-1] == 64 else out


def split(n: int = 40) -> TensorSplit:
    torch.manual_seed(0)
    return TensorSplit(torch.randn(n, 3, 4, 4), torch.randint(0, 3, (n,)))


def found(model: nn.Module, *, task: Task | None = None, epochs: int = 1, n: int = 40) -> Execution:
    model.eval()
    return find_execution(model, split(n), task or Task.classification(), Recipe(epochs=epochs), device=CPU, seed=0)


def both(net: Net, x: Tensor) -> Any:
    out = net.linear(x.flatten(1))
    return (out, out * 2) if net.training else out


def no_main(net: Net, x: Tensor) -> Any:
    return (x, "words") if net.training else net.linear(x.flatten(1))


def fails_in_training(net: Net, x: Tensor) -> Tensor:
    if net.training:
        raise KeyError("mask")
    return x.flatten(1)


def fails_backward(net: Net, x: Tensor) -> Tensor:
    out = torch.sigmoid(x.flatten(1))
    if net.training:
        out.mul_(2)
    return out


def test_most_networks_are_trained_in_channels_last_and_stay_as_they_are() -> None:
    model = Net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = split()
    state = torch.get_rng_state()
    assert find_execution(model.eval(), data, Task.classification(), Recipe(epochs=1), device=CPU, seed=0) == Execution()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_view_after_a_convolution_is_trained_in_contiguous_memory() -> None:
    execution = found(Net(lambda net, x: x.view(x.shape[0], -1)))
    assert not execution.channels_last
    assert "contiguous" in " ".join(execution.said)


def test_further_outputs_of_training_mode_are_left_out() -> None:
    assert found(Net(both)).main_output == (0,)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_samples_suffice(n: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    assert found(model, n=n).channels_last


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (no_main, "returns a tuple in training mode"),
        (fails_in_training, "forward pass failed in training mode: KeyError: 'mask'"),
        (fails_backward, "failed at the backward pass: RuntimeError"),
    ],
)
def test_what_fails_is_named_with_its_step(head: Callable[[Net, Tensor], Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        found(Net(head))
    assert found(Net(head), epochs=0).main_output == ()  # nothing is trained, so nothing needs to work in training mode


def test_a_loss_that_fails_in_training_is_named() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.requires_grad:
            raise ValueError("no gradient, please")
        return F.cross_entropy(outputs, targets)

    with pytest.raises(ModelError, match="or the loss: ValueError: no gradient, please"):
        found(Net(), task=Task.custom(loss=loss))


def test_a_metric_that_a_few_samples_do_not_have_is_no_obstacle() -> None:
    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        if len(targets) < 30:
            raise ValueError("too few samples")
        return (outputs.argmax(1) == targets).float().mean()

    task = Task.custom(loss=F.cross_entropy, metric=metric, metric_name="whole", higher_is_better=True)
    assert found(Net(), task=task).channels_last


def test_train_need_not_return_the_module() -> None:
    class Forgetful(Net):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)

    model = Forgetful()
    nn.Module.train(model, False)
    assert find_execution(model, split(), Task.classification(), Recipe(), device=CPU, seed=0) == Execution()
