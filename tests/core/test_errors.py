from __future__ import annotations

import inspect
import pickle

import pytest

from mpsearch.core import errors
from mpsearch.core.errors import BudgetError, ConfigError, MpsearchError, TrainingDiverged, UnknownNameError, UsageError

CLASSES = [member for _, member in inspect.getmembers(errors, inspect.isclass) if member.__module__ == errors.__name__]


def test_all_errors_are_one_tree_and_exported() -> None:
    assert all(issubclass(member, MpsearchError) for member in CLASSES)
    assert {member.__name__ for member in CLASSES} == set(errors.__all__)


@pytest.mark.parametrize(
    "member", [member for member in CLASSES if member not in (MpsearchError, UsageError)], ids=lambda member: member.__name__
)
def test_every_error_is_a_builtin_one_too(member: type[Exception]) -> None:
    """Code that knows nothing of mpsearch can catch `ValueError`, `KeyError` or `ArithmeticError`."""
    assert issubclass(member, ValueError | KeyError | ArithmeticError)
    assert issubclass(member, UsageError) == (member is not TrainingDiverged)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    tree = errors.__doc__.partition("```")[2].partition("```")[0]
    assert {line.split("──")[-1].split()[0] for line in tree.strip().splitlines()} == set(errors.__all__)


def test_an_unknown_name_reads_as_a_sentence() -> None:
    error = UnknownNameError("method", "lqs", ("lsq", "ste"))
    assert str(error) == "unknown method 'lqs'; known: lsq, ste; did you mean 'lsq'?"
    assert (error.name, error.known) == ("lqs", ("lsq", "ste"))
    assert str(UnknownNameError("cost", "x", ())) == "unknown cost 'x'; known: none"


def test_errors_carry_their_data() -> None:
    budget = BudgetError("too small", smallest=2.0, largest=5.0)
    assert (str(budget), budget.smallest, budget.largest) == ("too small", 2.0, 5.0)
    assert BudgetError("x").smallest is None
    assert ConfigError("wrong", path="recipe.lr").path == "recipe.lr"


def test_data_errors_pass_between_processes() -> None:
    """A worker of a data loader sends its error to the process that asked."""
    error = pickle.loads(pickle.dumps(errors.DataError("the image 'a' cannot be read")))
    assert type(error) is errors.DataError
    assert str(error) == "the image 'a' cannot be read"


def test_every_message_can_be_written_as_utf8() -> None:
    """Half a surrogate pair, as Python makes of a file name's foreign bytes, would stop whatever carries the message on."""
    assert str(UnknownNameError("space", "a\udc80b", ())) == "unknown space 'a\\udc80b'; known: none"
    assert str(ConfigError("wrong: \ud800", path="x")) == "wrong: \\ud800"
    assert str(errors.DataError("\U00040260 é")) == "\U00040260 é"
