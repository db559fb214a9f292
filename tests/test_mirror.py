"""Tests mirror the sources path for path, and use nothing but what these offer to everybody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "mpsearch"

STAND_INS = {
    # One command a file, each a few lines between options and a function that has tests of its own.
    "cli/*.py": "cli/test_main.py",
    # Members of a family that the contract suite runs over; what only they have is tested at their path.
    "methods/lsq.py": "contracts/test_methods.py",
    "methods/ste.py": "contracts/test_methods.py",
    "methods/base.py": "contracts/test_methods.py",
    "signals/base.py": "contracts/test_signals.py",
    "signals/learned/bsq.py": "contracts/test_signals.py",
    "signals/learned/dropbits.py": "contracts/test_signals.py",
    "signals/learned/learned_range.py": "contracts/test_signals.py",
    "signals/learned/pdq.py": "contracts/test_signals.py",
    "costs/base.py": "contracts/test_costs.py",
    "costs/byte_units.py": "contracts/test_costs.py",
    "targets/blueprint.py": "contracts/test_targets.py",
    "costs/bits.py": "costs/test_counts.py",
    "costs/bops.py": "costs/test_counts.py",
    "costs/hardware.py": "costs/test_latency.py",
    # Steps of one computation, compared with brute force as a whole.
    "allocate/*.py": "allocate/test_solve.py",
    "propose/*.py": "propose/test_searcher.py",
    "propose/surrogate/*.py": "propose/surrogate/test_model.py",
    "signals/probes/gradient_hooks.py": "signals/direct/test_fisher.py",
    "signals/probes/quantization_path.py": "signals/direct/test_coverage.py",
    # The mathematics of one method, checked against its paper there.
    "methods/learned_width.py": "methods/test_learned_range.py",
    "methods/uniform_range.py": "methods/test_learned_range.py",
    "numbers/coarse.py": "methods/test_bcgd.py",
    "numbers/least_squares.py": "methods/test_bcgd.py",
    "numbers/gradients/bit_planes.py": "methods/test_bsq.py",
    "numbers/gradients/categorical.py": "methods/test_cpq.py",
    "numbers/gradients/hard_concrete.py": "methods/test_cpq.py",
    "numbers/gradients/soft_rounding.py": "methods/test_mirror_descent.py",
    "numbers/*.py": "numbers/kinds/test_kinds.py",
    "numbers/gradients/s*.py": "contracts/test_methods.py",
    # JSON data: dataclasses whose few methods every other test goes through.
    "core/*.py": "core/test_space.py",
    "card/*.py": "card/test_fill.py",
    "targets/packed/*.py": "targets/packed/test_artifact.py",
    "targets/gguf/*.py": "targets/gguf/test_write.py",
    "targets/onnx/*.py": "targets/onnx/test_write.py",
    "targets/onnx_qdq/*.py": "targets/onnx_qdq/test_write.py",
    # Stages of one translation, whose programs are compiled and compared with torch.
    "targets/c/*.py": "targets/c/test_write.py",
    # Tracing, bytes and reading of one file, as a whole.
    "handovers/*.py": "handovers/test_qonnx.py",
    "targets/pt2/*.py": "targets/pt2/test_write.py",
    # Whole runs: what one stage leaves is only seen in the next.
    "api.py": "run/test_any_model.py",
    "study/other_samplers.py": "run/test_search.py",
    "run/*.py": "run/test_any_model.py",
    "trials/*.py": "trials/test_promotion.py",
    "network/inputs.py": "network/test_any_network.py",
}
"""Source without a test at its own path → the test file that covers it. A comment says why for those below it."""

OF_TORCH_AND_OPTUNA = {"_dynamo", "_forward_hooks", "_forward_pre_hooks", "_raise_error_if_multi_objective"}
"""Not ours, and without a public name."""


def sources() -> list[Path]:
    """Files that define a function or a class; the front doors `__init__` and `__main__` only pass on."""
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if not file.stem.startswith("__")]
    return [file for file in files if any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in _tree(file).body)]


def everything_in_tests() -> list[Path]:
    return sorted(TESTS.rglob("*.py"))


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _name(file: Path) -> str:
    return file.relative_to(TESTS if file.is_relative_to(TESTS) else PACKAGE).as_posix()


def twin(file: Path) -> Path:
    return TESTS / file.relative_to(PACKAGE).with_name(f"test_{file.name}")


def imports_of_tests(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
            yield from (name for name in (f"{node.module}.{alias.name}" for alias in node.names) if ".test_" in name)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tests") and ".test_" in alias.name)


def privates(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("mpsearch", "tests")):
            yield from (alias.name for alias in node.names if _is_private(alias.name))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in OF_TORCH_AND_OPTUNA:
            yield from [] if isinstance(node.value, ast.Name) and node.value.id == "self" else [node.attr]


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@pytest.mark.parametrize("file", sources(), ids=_name)
def test_every_source_has_its_test(file: Path) -> None:
    if not twin(file).exists():
        stand_ins = [test for pattern, test in STAND_INS.items() if fnmatch(_name(file), pattern)]
        assert stand_ins, f"write {_name(twin(file))}, or say in STAND_INS which test covers {_name(file)} and why"


def test_no_exception_is_out_of_date() -> None:
    missing = [_name(file) for file in sources() if not twin(file).exists()]
    assert [pattern for pattern in STAND_INS if not any(fnmatch(name, pattern) for name in missing)] == []
    assert [test for test in STAND_INS.values() if not (TESTS / test).exists()] == []


def test_tests_do_not_import_tests() -> None:
    """What two need belongs into a module of its own, such as `tests/networks.py`."""
    assert [_name(file) for file in everything_in_tests() if any(imports_of_tests(_tree(file)))] == []


def test_tests_use_no_privates() -> None:
    assert [_name(file) for file in everything_in_tests() if any(privates(_tree(file)))] == []


@pytest.mark.parametrize(
    "planted", ["from mpsearch.doctor import _disk", "doctor._disk()", "from tests.networks import _mlp", "run()._private = 1"]
)
def test_a_private_name_would_be_found(planted: str) -> None:
    assert list(privates(ast.parse(planted)))
    assert not list(privates(ast.parse(planted.replace("_disk", "disk").replace("_mlp", "mlp").replace("_private", "public"))))


@pytest.mark.parametrize("planted", ["from tests.a.test_b import c", "from tests.a import test_b as c", "import tests.a.test_b"])
def test_an_imported_test_would_be_found(planted: str) -> None:
    assert list(imports_of_tests(ast.parse(planted)))
    assert not list(imports_of_tests(ast.parse(planted.replace("test_b", "b"))))
