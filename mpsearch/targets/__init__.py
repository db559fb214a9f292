"""Targets: the files that a result can be delivered in. One file or folder each; see `mpsearch list targets`.

A new target is a new file in this folder:

```python
@TARGETS.register("mine")
class Mine(Target): ...
```
"""

from __future__ import annotations

from mpsearch.core.registry import Registry
from mpsearch.targets.base import Artifact, Target, restricted
from mpsearch.targets.blueprint import Blueprint

__all__ = ["TARGETS", "Artifact", "Blueprint", "Target", "restricted"]

TARGETS: Registry[type[Target]] = Registry("target", "mpsearch.targets")
