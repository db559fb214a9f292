"""The `torch.export` program."""

from mpsearch.targets.pt2.target import Pt2

__all__ = ["Pt2"]
