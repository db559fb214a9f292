from __future__ import annotations

import pytest
import torch

from mpsearch.training import precision
from mpsearch.training.precision import autocast

CPU = torch.device("cpu")


def product(mode: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(16, 16, generator=generator), torch.rand(16, 16, generator=generator)
    with autocast(mode, CPU):
        return a @ b


def test_the_precision_asked_for() -> None:
    assert product("float32").dtype == torch.float32
    assert product("bfloat16").dtype == torch.bfloat16
    torch.testing.assert_close(product("bfloat16").float(), product("float32"), rtol=0.01, atol=0.05)


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_asks_the_processor(native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_native", lambda device: native)
    assert product("auto").dtype == dtype


def test_this_processor_answers() -> None:
    assert product("auto").dtype in (torch.float32, torch.bfloat16)
    assert not torch.is_autocast_enabled("cpu")
