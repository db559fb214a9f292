"""A factory that a file names must declare what it builds; Python's own modules build nothing."""

from __future__ import annotations

import subprocess

import pytest
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.models.factory import check_declared, find_factory


class Net(nn.Module):
    pass


def declared() -> nn.Module:
    return Net()


def narrower() -> Net:
    return Net()


def undeclared():  # type: ignore[no-untyped-def]
    return Net()


def text() -> str:
    return "x"


def unresolvable() -> Missing:  # type: ignore[name-defined]  # noqa: F821
    return Net()


@pytest.mark.parametrize("name", ["Net", "declared", "narrower"])
def test_a_network_is_declared(name: str) -> None:
    check_declared(f"{__name__}:{name}")


@pytest.mark.parametrize("name", ["undeclared", "text", "unresolvable"])
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(
        ModelError, match=f"factory '{__name__}:{name}', which does not declare to return a network; .* or name it yourself"
    ):
        check_declared(f"{__name__}:{name}")


@pytest.mark.parametrize("reference", ["subprocess:getoutput", "os:system", "os.path:join", "builtins:eval", "pickle:loads"])
def test_the_standard_library_is_never_called(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object, **__: object) -> str:
        raise AssertionError

    monkeypatch.setattr(subprocess, "getoutput", reached)
    with pytest.raises(ModelError, match="of Python's standard library"):
        find_factory(reference)
