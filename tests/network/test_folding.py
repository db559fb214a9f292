"""Folding is checked without a second network, and leaves the network as it was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.network.folding import folding, keeps_outputs
from mpsearch.network.trace import survey, trace
from mpsearch.testing.networks import trained_statistics


class Branch(nn.Module):
    """A norm whose input somebody else reads as well, if `shared`."""

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x)
        y = self.norm(seen) + (seen if self.shared else 0)
        outputs: Tensor = self.out(y.relu().mean((2, 3)))
        return outputs


def _network(*, shared: bool) -> Branch:
    torch.manual_seed(0)
    model = Branch(shared=shared)
    trained_statistics(model)
    return model.eval()


def _forward(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    return [model(inputs)]


def test_a_network_computes_with_folded_weights_and_gets_its_own_back() -> None:
    model, x = _network(shared=False), torch.randn(2, 3, 6, 6)
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    layers = [layer for layer in trace(model, x) if layer.norm]
    seen: list[Tensor] = []
    handle = model.norm.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        outputs = model(x)
        with folding(model, layers):
            folded = model(x)
        handle.remove()
        assert torch.allclose(outputs, folded, atol=1e-5)
        assert torch.allclose(seen[0], seen[1], atol=1e-5)
        assert torch.equal(model(x), outputs)
    assert all(tensor.data_ptr() == before[name][0] and torch.equal(tensor, before[name][1]) for name, tensor in model.state_dict().items())
    assert model.conv.bias is None
    assert "forward" not in vars(model.norm)


def test_the_network_is_restored_when_the_pass_fails() -> None:
    model = _network(shared=False)
    weight = model.conv.weight
    layers = [layer for layer in trace(model, torch.randn(2, 3, 6, 6)) if layer.norm]
    try:
        with folding(model, layers):
            model(torch.randn(2, 5, 6, 6))
    except RuntimeError:
        pass
    else:
        raise AssertionError("five channels passed")
    assert model.conv.weight is weight
    assert model.conv.bias is None


def test_a_norm_is_folded_only_if_nobody_else_reads_its_input() -> None:
    x = torch.randn(4, 3, 6, 6)
    assert [bool(layer.norm) for layer in trace(_network(shared=False), x)] == [True, False]
    assert [bool(layer.norm) for layer in trace(_network(shared=True), x)] == [False, False]


def test_a_copy_gives_the_same_verdict() -> None:
    x = torch.randn(4, 3, 6, 6)
    layers = [layer for layer in trace(_network(shared=False), x) if layer.norm]
    for shared in (False, True):
        verdicts = [keeps_outputs(_network(shared=shared), [x], layers, _forward, copied=copied) for copied in (False, True)]
        assert verdicts == [not shared] * 2


def test_small_batches_say_what_one_large_batch_says() -> None:
    x = torch.randn(16, 3, 6, 6)
    whole = trace(_network(shared=False), x)
    read: list[int] = []

    def further() -> list[Tensor]:
        read.append(1)
        return list(x[4:].split(4))

    assert survey(_network(shared=False), x[:4], further).layers == whole
    assert len(read) == 1
