"""Targets: the file formats of the delivered network. One module or package each; see `mpsearch list targets`.

A new target is a new module in this package:

```python
@TARGETS.register("mine")
class Mine(Target): ...
```
"""

from __future__ import annotations

from pathlib import Path

from mpsearch.core.errors import ArtifactError
from mpsearch.core.registry import Registry
from mpsearch.targets.base import Artifact, Target, Writer, restricted
from mpsearch.targets.blueprint import Blueprint

__all__ = ["TARGETS", "Artifact", "Blueprint", "Target", "Writer", "read_artifact", "restricted", "target_of"]

TARGETS: Registry[type[Target]] = Registry("target", "mpsearch.targets")


def target_of(path: Path) -> Target:
    """The target that a file belongs to; the targets recognise their own files.

    Raises:
        ArtifactError: the file belongs to no target.
    """
    targets = [target() for _, target in TARGETS.items()]
    recognised = [target for target in targets if target.recognises(path)]
    if not recognised:
        kinds = ", ".join(sorted({Path(target.file).suffix for target in targets}))
        raise ArtifactError(f"{path} is no artifact: no target writes files of this kind ({kinds}); give the file of a run")
    return recognised[0]


def read_artifact(path: Path) -> Artifact:
    """Read and check a file of any target.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or belongs to no target.
    """
    return target_of(path).read(path)
