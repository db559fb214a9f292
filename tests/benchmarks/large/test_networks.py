from __future__ import annotations

import torch

from benchmarks.large.networks import NETWORKS, Decoder


def test_a_token_sees_only_those_before_it() -> None:
    torch.manual_seed(0)
    model = Decoder().eval()
    tokens = torch.randint(100, (1, 6))
    changed = tokens.clone()
    changed[0, 0] += 1
    with torch.no_grad():
        first, other, longer = model(tokens[:, :5]), model(changed[:, :5]), model(tokens)
    assert first.shape == (1, NETWORKS["decoder"].classes)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, longer)
    inputs, labels = next(NETWORKS["decoder"].samples(2).batches(2))
    assert inputs.shape == (2, 128)
    assert labels.shape == (2,)
