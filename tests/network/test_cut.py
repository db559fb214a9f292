"""Networks of one layer: they compute what the layer's module computes in the network, and every kind of layer has them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.network.canonical import canonical
from mpsearch.network.cut import Cut, cuts_of
from mpsearch.network.trace import trace
from tests.networks import NETWORKS


def cut(name: str) -> tuple[nn.Module, dict[str, tuple[Cut, ...]], dict[str, str]]:
    torch.manual_seed(0)
    make, sample = NETWORKS[name]
    model, inputs = canonical(make()), sample()
    return model, *cuts_of(model, inputs, trace(model, inputs), {})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_has_cuts_or_a_reason(name: str) -> None:
    model, cuts, reasons = cut(name)
    torch.manual_seed(0)
    layers = {layer.name: layer for layer in trace(model, NETWORKS[name][1]())}
    assert {*cuts, *reasons} == {*layers}
    for layer, found in cuts.items():
        for each in found:
            assert each.layers[each.row].weight_shape == layers[layer].weight_shape
            assert each.layers[each.row].bias_elements == layers[layer].bias_elements
            assert 0 < each.share <= 1


def test_a_cut_computes_what_its_module_computes() -> None:
    model, cuts, _ = cut("mlp")
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, path=path: seen.update({path: (args[0], output)}))
    torch.manual_seed(0)
    NETWORKS["mlp"][0]()
    with torch.no_grad():
        model(NETWORKS["mlp"][1]())
        for layer in ("0", "5"):
            (only,) = cuts[layer]
            assert torch.equal(only.inputs[0], seen[layer][0])
            torch.testing.assert_close(only.model(*only.inputs), seen[layer][1])


def test_calls_of_a_shared_module_are_counted_and_tied_weights_are_cut_out_at_each_place() -> None:
    _, shared, _ = cut("shared")
    assert [each.calls for each in shared["shared"]] == [2]
    _, tied, _ = cut("tied")
    assert [type(each.model.unit).__name__ for each in tied["embedding"]] == ["Embedding", "Linear"]


def test_weights_of_one_attention_share_a_cut() -> None:
    _, cuts, _ = cut("transformer")
    (own,) = cuts["encoder.layers.0.self_attn.in_proj_weight"]
    (out,) = cuts["encoder.layers.0.self_attn.out_proj"]
    assert len(own.layers) == 2
    assert own.share + out.share == pytest.approx(1.0)
    assert (own.share, out.share) == (0.75, 0.25)


def test_what_gets_no_samples_is_told() -> None:
    _, cuts, reasons = cut("conditioned")
    assert "film" not in cuts
    assert reasons["film"] == "its module gets no tensor whose first axis is that of samples"


def test_a_reader_takes_one_position_behind_the_relu() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 1)).eval(), torch.randn(4, 2, 6, 6)
    cuts, _ = cuts_of(model, x, trace(model, x), {"0": True})
    (only,) = cuts["0"]
    assert only.reader == 1
    assert only.layers[1].weights == 5
    assert only.share == 1.0
    assert only.layers[1].macs == 5
    network = only.model
    with torch.no_grad():
        first = torch.relu(model[0](x))[:, :, 0, 0]
        torch.testing.assert_close(network(*only.inputs).flatten(), first @ network.reader.weight.flatten())
    assert cuts["2"][0].reader is None
