"""What a C file says of itself: read back whole, and refused when anything in it was changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ArtifactError
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import install
from mpsearch.network.trace import trace
from mpsearch.targets import read_artifact
from mpsearch.targets.c.file import VERSION, checked_text, defined, read_file
from tests.targets.c.programs import EIGHT, written


class WithMore(nn.Module):
    """A network with tensors that the program reads and others that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gain = nn.Linear(4, 3), nn.Parameter(torch.randn(3))
        self.unused = nn.Parameter(torch.randn(5))
        self.after = nn.Parameter(torch.randn(3))
        self.register_buffer("order", torch.arange(7))
        self.register_buffer("edge", torch.tensor([float("inf"), -1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.gain - self.after


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return WithMore().eval()


@pytest.fixture
def file(model: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "model.c"
    written(model, torch.randn(2, 4), path, NumberFormat("uniform", 4), EIGHT)
    return path


def test_everything_comes_back_and_only_what_runs_takes_flash(model: nn.Module, file: Path) -> None:
    x = torch.randn(5, 4)
    torch.manual_seed(0)
    parts = written(model, torch.randn(2, 4), file, NumberFormat("uniform", 4), EIGHT)
    loaded = read_artifact(file).install(WithMore())
    assert torch.equal(loaded(x), install(model, trace(model, x), parts)(x))
    for name, tensor in parts.rest.items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    text = checked_text(file)
    weights, scales, bias, step, exponents = 6, 3 * 2, 3 * 4, 4, 2
    assert defined(text, "MODEL_FLASH") == weights + scales + bias + step + exponents + 2 * 3 * 4
    assert defined(text, "MODEL_INPUT") == 4
    assert defined(text, "MODEL_OUTPUT") == 3
    with pytest.raises(ValueError, match="there is no MODEL_HEAP"):
        defined(text, "MODEL_HEAP")


def test_any_change_is_found(file: Path) -> None:
    whole = file.read_text()
    changes = (
        whole.replace("static const uint8_t codes[6] = {\n", "static const uint8_t codes[6] = {\n1", 1),
        whole.replace("rintf", "floorf", 1),
        whole.replace("bits=48", "bits=28", 1),
        whole + "\n",
        whole[: len(whole) // 2],
    )
    for change in changes:
        assert change != whole
        file.write_text(change)
        with pytest.raises(ArtifactError, match=r"was changed after it was written .* export it again"):
            read_file(file)


def test_other_c_and_no_text_are_refused(file: Path) -> None:
    for content, told in ((b"int main(void) { return 0; }", f"format={VERSION}"), (b"\xff\xfe", "cannot be read as C")):
        file.write_bytes(content)
        with pytest.raises(ArtifactError, match=told):
            read_file(file)
    with pytest.raises(ArtifactError, match="no artifact at"):
        read_file(file.with_name("gone.c"))


def test_the_arrays_are_the_bytes_that_are_promised(file: Path) -> None:
    sizes = {"uint8_t": 1, "int8_t": 1, "uint16_t": 2, "float": 4}
    text = file.read_text().partition("#ifdef")[0]
    arrays = re.findall(r"^static const (\w+) \w+\[(\d+)\]", text, re.MULTILINE)
    assert sum(sizes[kind] * int(count) for kind, count in arrays) == defined(text, "MODEL_FLASH")
