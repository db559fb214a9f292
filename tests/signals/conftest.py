"""A small convolutional network trained on the digits, shared by the tests that need real sensitivities."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Plain, depthwise and strided convolutions, BatchNorm, in-place ReLU and addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.stem(x)))
        residual = self.pointwise(self.depthwise(x))
        residual += x
        return self.head(self.down(residual).flatten(1))


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(data.target)


@pytest.fixture(scope="session")
def trained_net(digits: tuple[Tensor, Tensor]) -> nn.Module:
    images, labels = digits[0][:1500], digits[1][:1500]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DigitsNet()
        optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(6):
            for index in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(net(images[index]), labels[index]).backward()
                optimizer.step()
    return net.eval()
