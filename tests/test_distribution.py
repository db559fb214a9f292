"""What is inside the two archives that `python -m build` makes: everything a user needs, and everything a packager tests with."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _files(folder: str) -> set[str]:
    found = [file.relative_to(ROOT) for file in (ROOT / folder).rglob("*") if file.is_file()]
    return {file.as_posix() for file in found if not any(part.startswith((".", "__pycache__")) for part in file.parts)}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """Names in the wheel, and in the source distribution below its folder."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as built, tarfile.open(source) as packed:
        return set(built.namelist()), {name.partition("/")[2] for name in packed.getnames()}


def test_the_wheel_has_the_package_and_its_data(archives: tuple[set[str], set[str]]) -> None:
    wheel, _ = archives
    package = _files("mpsearch")
    assert "mpsearch/py.typed" in package
    assert package | {f"mpsearch/{name}" for name in _files("spaces") | _files("studies")} <= wheel
    assert {name.partition("/")[0] for name in wheel if "dist-info" not in name} == {"mpsearch"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


def test_the_source_distribution_can_be_tested(archives: tuple[set[str], set[str]]) -> None:
    _, source = archives
    expected = {name for folder in ("mpsearch", "spaces", "studies", "tests", "benchmarks", "docs") for name in _files(folder)}
    assert expected | {"pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"} <= source
