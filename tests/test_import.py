from __future__ import annotations

import subprocess
import sys

import pytest

import mpsearch

HEAVY = ("torch", "optuna", "plotly", "pydantic", "scipy", "sklearn", "torchvision", "rich", "yaml")


def _loaded_by(code: str) -> set[str]:
    report = f"import sys\n{code}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code", ["import mpsearch", "import mpsearch; mpsearch.Budget, mpsearch.parse_budget, mpsearch.UsageError", "import mpsearch.cli"]
)
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    assert _loaded_by(code) == set()


def test_core_words_need_numpy_alone() -> None:
    assert _loaded_by("import mpsearch; mpsearch.Allocation, mpsearch.Space, mpsearch.Table, mpsearch.Summary") == set()


def test_public_names_are_the_objects_of_their_homes() -> None:
    from mpsearch.core.allocation import Allocation

    assert mpsearch.Allocation is Allocation
    assert set(mpsearch.__all__) <= set(dir(mpsearch))


@pytest.mark.parametrize("name", mpsearch.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(mpsearch, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mpsearch' has no attribute 'serach'"):
        _ = mpsearch.serach
