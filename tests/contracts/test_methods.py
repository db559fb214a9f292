"""The contract of methods, run over whatever the registry finds, at each setting under which a method computes something else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import mpsearch
from mpsearch.methods import METHODS, Method
from mpsearch.methods.alq import Alq
from mpsearch.methods.bsq import Bsq
from mpsearch.methods.cpq import Cpq
from mpsearch.methods.learned_range import LearnedRange
from mpsearch.testing import MethodContract, variants

EVERY = {f"{name} {label}": method for name, kind in METHODS.items() for label, method in variants(kind).items()}
LEARNING = (Alq(target_bits=0.8), Bsq(alpha=0.05), Cpq(bit_penalty=1.0), LearnedRange(weight_budget=3.0, act_budget=4.0))
"""With bits that are learned, which numbers turn on that no field declares; complete, as a test below sees to."""


class TestEveryMethod(MethodContract):
    @pytest.fixture(autouse=True, params=EVERY.values(), ids=list(EVERY))
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.method = request.param


@pytest.mark.slow
@pytest.mark.parametrize("method", EVERY.values(), ids=list(EVERY))
def test_compiled_by_inductor(method: Method) -> None:
    """The code that studies train with, half a minute of compilation a method."""
    suite = TestEveryMethod()
    suite.method = method
    suite.check_compiled("inductor")


class TestLearningBits(MethodContract):
    @pytest.fixture(autouse=True, params=LEARNING, ids=lambda method: type(method).__name__)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.method = request.param


def test_every_method_is_among_them() -> None:
    assert {type(method) for method in EVERY.values()} == {kind for _, kind in METHODS.items()}


def test_every_method_that_can_learn_bits_is_tested_learning_them() -> None:
    able = {kind for _, kind in METHODS.items() if kind.learned_bits is not Method.learned_bits}
    assert able == {type(method) for method in LEARNING}


def methods_named_in(source: str) -> set[str]:
    """Names, classes and modules of registered methods that code mentions as a name, an attribute, an import or a word of a string."""
    mentioned: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            mentioned.add(node.id)
        elif isinstance(node, ast.Attribute):
            mentioned.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            mentioned.update(part for alias in node.names for part in f"{module}.{alias.name}".split("."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            mentioned.update(re.findall(r"\w+", node.value))
    return mentioned & {word for name, kind in METHODS.items() for word in (name, kind.__name__, kind.__module__.rpartition(".")[2])}


@pytest.mark.parametrize("room", ["training", "trials"])
def test_no_method_is_named_where_all_are_treated_alike(room: str) -> None:
    files = sorted((Path(mpsearch.__file__).parent / room).rglob("*.py"))
    assert files
    assert {file.name: found for file in files if (found := methods_named_in(file.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "if type(method).__name__ == 'Lsq': lr /= 2",
        "from mpsearch.methods.lsq import *",
        "import mpsearch.methods.lsq as m",
        "METHODS['lsq']",
        "isinstance(method, Lsq)",
        "methods.Lsq()",
    ],
)
def test_a_method_that_is_named_would_be_found(planted: str) -> None:
    assert methods_named_in(planted)
    assert not methods_named_in(planted.replace("sq", "sqr"))
