"""Targets: the file formats of the delivered network. One module or package each; see `mpsearch list targets`.

A new target is a new module in this package:

```python
@TARGETS.register("mine")
class Mine(Target): ...
```

The fields of a target that is a dataclass are its settings (`target_settings` of a study); each has a default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.registry import Registry
from mpsearch.targets.base import Artifact, Target, Writer, restricted
from mpsearch.targets.blueprint import Blueprint

__all__ = ["TARGETS", "Artifact", "Blueprint", "Target", "Writer", "read_artifact", "restricted", "target_of", "target_with"]

TARGETS: Registry[type[Target]] = Registry("target", "mpsearch.targets")


def target_with(name: str, settings: Mapping[str, Any]) -> Target:
    """A target with its settings.

    Raises:
        UnknownNameError: there is no such target.
        ConfigError: it has no such setting, or the setting another type or no such value.
    """
    kind: Any = TARGETS[name]
    known = {each.name: each.default for each in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    for key, value in settings.items():
        path = f"target_settings.{key}"
        if key not in known:
            raise ConfigError(f"{path}: target '{name}' has no setting '{key}' (it has {', '.join(known) or 'none'})", path=path)
        if type(value) is not type(known[key]):
            raise ConfigError(f"{path}: a value of type {type(known[key]).__name__} is needed, not {value!r}", path=path)
    try:
        target: Target = kind(**settings)
    except ConfigError as error:
        raise ConfigError(f"target_settings.{error}", path=f"target_settings.{error.path}") from error
    return target


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
