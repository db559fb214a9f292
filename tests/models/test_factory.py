from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.models.factory import ModelFactory, call_factory, find_factory
from tests.models.refusals import refused


def test_factories_that_do_not_work(here: str) -> None:
    assert refused(f"{here}:factroy").startswith(f"there is no 'factroy' in module '{here}'; give the name of a function")
    assert refused(f"{here}:constant") == f"'{here}:constant' is a int and cannot be called; give a function that returns the network"
    assert refused(f"{here}:network") == f"'{here}:network' is a network, not a factory; write a function that returns it"
    assert "returns a NoneType; let it return a torch.nn.Module" in refused(f"{here}:forgetful")
    assert "fails with RuntimeError: no such thing on two lines; correct it" in refused(f"{here}:angry")
    assert "fails with TypeError" in refused(f"{here}:factory", depth=3)


def test_modules_that_do_not_work(here: str, tmp_path: Path) -> None:
    assert refused("nowhere_to_be_found:factory").startswith("there is no module 'nowhere_to_be_found' for")
    assert refused("torch.nowhere_to_be_found:factory").startswith("there is no module 'torch.nowhere_to_be_found' for")
    (tmp_path / f"{here}_needs.py").write_text("import nowhere_to_be_found")
    assert "fails with ModuleNotFoundError: No module named 'nowhere_to_be_found'; correct it" in refused(f"{here}_needs:factory")
    (tmp_path / f"{here}_typo.py").write_text("def factory(:\n")
    assert "fails with SyntaxError" in refused(f"{here}_typo:factory")
    (tmp_path / f"{here}_script.py").write_text("import sys\nsys.exit('usage: script FILE')\n")
    assert "fails with SystemExit: usage: script FILE" in refused(f"{here}_script:factory")
    assert refused(":factory") == "':factory' names no factory; write package.module:factory"
    assert refused("module:") == "'module:' names no factory; write package.module:factory"


def test_what_is_found_is_the_callable_itself(here: str) -> None:
    found = find_factory(f"{here}:Net.__init__")
    assert found.__qualname__ == "Net.__init__"
    assert find_factory("torch.nn:Linear") is nn.Linear


def test_a_usage_error_of_the_factory_keeps_its_words() -> None:
    def factory() -> nn.Module:
        raise ModelError("the width must be even, not 3; take 4")

    with pytest.raises(ModelError, match=r"^the width must be even, not 3; take 4$"):
        call_factory("pkg:factory", factory, {})


def test_options_of_a_registered_model_are_those_of_its_builder() -> None:
    entry = ModelFactory(build=lambda width=4, classes=2: nn.Linear(width, classes), example_shape=(4,), description="", paper="")
    assert entry.options == ("width", "classes")


def test_the_working_directory_is_importable_no_longer_than_the_code_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And comes last: elsewhere a module of that name would be the one that was meant."""
    installed, here = tmp_path / "installed", tmp_path / "downloaded"
    for folder, options in ((installed, 3), (here, 5)):
        folder.mkdir()
        (folder / "net_of_two_places.py").write_text(f"import torch\n\ndef make():\n    return torch.nn.Linear({options}, 1)\n")
    (here / "helper_of_make.py").write_text("")
    (here / "only_here.py").write_text("import torch\n\ndef make():\n    import helper_of_make\n    return torch.nn.Linear(7, 1)\n")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry] + [str(installed)])
    monkeypatch.chdir(here)
    before = list(sys.path)
    for reference, inputs in (("net_of_two_places:make", 3), ("only_here:make", 7)):
        model = call_factory(reference, find_factory(reference), {})
        assert isinstance(model, nn.Linear)
        assert model.in_features == inputs
        assert sys.path == before
