"""`Published`: what a study in a shared storage says to those who join it, in one attribute of the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from mpsearch.core.checked import Long, checked
from mpsearch.core.errors import ConfigError
from mpsearch.study.storage import open_storage, reading_study, storage_errors

__all__ = ["Published", "find_study", "publish", "published"]

_SHARED = "shared"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a worker needs to know.

    Args:
        study: the resolved study, YAML.
        identity: what the results depend on, such as `weights` → digest.
        lease: seconds without a sign of life after which a worker's trial is taken over.
        artifacts: folder of the shared files, or `s3://BUCKET/PREFIX`.
        files: file of the run → its name among them.
    """

    study: Long
    identity: Mapping[str, str]
    lease: float
    artifacts: str
    files: Mapping[str, str]


def publish(study: optuna.Study, shared: Published) -> None:
    """Tell those who join."""
    study.set_user_attr(_SHARED, asdict(shared))


def published(study: optuna.Study) -> Published | None:
    """What a study tells; None if it is not ready yet.

    Raises:
        ConfigError: the attribute was damaged.
    """
    document: Any = study.user_attrs.get(_SHARED)
    try:
        return None if document is None else checked(Published, document)
    except ConfigError as error:
        raise ConfigError(f"the study '{study.study_name}' cannot be joined, its attribute '{_SHARED}' was damaged: {error}") from error


def find_study(url: str, name: str | None) -> optuna.Study:
    """A study of a storage, by its name or as the only one there.

    Raises:
        ConfigError: the storage cannot be opened, or has no such study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url)
    with storage_errors(url), reading_study(name or "?"):
        names = [study.study_name for study in storage.get_all_studies()]
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        known = ", ".join(sorted(names)) or "none; begin one with mpsearch study --storage URL"
        wrong = "name one with --study" if name is None else f"there is no study '{name}'"
        raise ConfigError(f"storage: {wrong}; there are: {known}", path="storage")
    return optuna.load_study(study_name=name, storage=storage)
