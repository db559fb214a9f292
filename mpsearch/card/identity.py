"""Identity (section A): which configuration a card is about, and which code made it."""

from __future__ import annotations

import datetime
import hashlib
import platform
import sys
from importlib import metadata
from pathlib import Path

from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import CARD_VERSION, canonical_id
from mpsearch.card.sections import IdentitySection
from mpsearch.core.allocation import Allocation

__all__ = ["identity", "package_versions"]

_PACKAGES = ("mpsearch", "torch", "torchvision", "numpy", "scipy", "optuna")


def identity(inputs: CardInputs, allocation: Allocation, *, repeats: int) -> IdentitySection:
    """Section A.

    Args:
        inputs: the run.
        allocation: as delivered.
        repeats: number of seeds with a result.
    """
    return IdentitySection(
        card_version=CARD_VERSION,
        config_id=canonical_id({"study": inputs.config.to_dict(), "allocation": allocation.to_dict()}),
        parent_run=inputs.claim,
        tool=f"mpsearch {package_versions()['mpsearch']}",
        tool_source=_source_digest(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seeds=[inputs.config.seed],
        repeats=repeats,
    )


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that move numbers."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = str(getattr(sys.modules.get(name), "__version__", "not installed"))
    return found


def _source_digest() -> str:
    """SHA-256 of the package's source files, which tells unreleased versions of the code apart."""
    root = Path(__file__).parents[1]
    state = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        state.update(str(file.relative_to(root).as_posix()).encode() + b"\0" + file.read_bytes())
    return state.hexdigest()
