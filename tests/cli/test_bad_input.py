"""Everything a user can get wrong on the way into a study, through the command line: one line, exit code 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mpsearch.cli import main

Answer = Callable[..., tuple[int, str]]

FACTORIES = """
import torch
from torch import nn

def small(classes=3):
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, classes))

def two_classes():
    return small(classes=2)

def angry():
    raise RuntimeError("no GPU here")

def text():
    return "a network"

def bare():
    return nn.Sequential(nn.ReLU(), nn.Flatten())
"""


def paint(folder: Path, count: int = 12, classes: tuple[str, ...] = ("ant", "bee", "cow")) -> Path:
    random = np.random.default_rng(0)
    for name in classes:
        (folder / "train" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / "train" / name / f"{number}.png")
    return folder


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Runs a study of a small network on three classes of images; what is asked comes last, so it wins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delitem(__import__("sys").modules, "nets", raising=False)
    (tmp_path / "nets.py").write_text(FACTORIES)
    paint(tmp_path / "images")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    torch.save(model.state_dict(), tmp_path / "float.pt")

    def ask(*arguments: str, command: str = "study") -> tuple[int, str]:
        given = ["--model", "nets:small", "--data", "imagefolder:images"]
        given += [] if "--weights" in arguments or "--model" in arguments else ["--weights", "float.pt"]
        given += [] if "--budget" in arguments else ["--budget", "1200B"]
        given += ["--images", "16", "--out", "runs/mine", "--quiet"] if command == "study" else ["--images", "16"]
        code = main([command, *given, *arguments])
        return code, capsys.readouterr().err

    return ask


def refused(answer: tuple[int, str], *words: str) -> None:
    code, told = answer
    assert code == 2
    assert told.startswith("mpsearch: error: ")
    assert told.count("\n") == 1
    for word in words:
        assert word in told
    assert not Path("runs").exists()


def space(text: str) -> str:
    Path("space.yaml").write_text(f"name: mine\n{text}\n")
    return "space.yaml"


def test_the_request_itself_is_fine(asked: Answer) -> None:
    assert asked(command="allocate")[0] == 0


def test_budgets_out_of_reach(asked: Answer) -> None:
    refused(asked("--budget", "10B"), "below the smallest", " B")
    refused(asked("--budget", "1GB"), "nothing to search")
    refused(asked("--budget", "-2MB"), "above zero")
    refused(asked("--budget", "2"), "has no unit")
    refused(asked("--budget", "5ms"), "hardware")


def test_spaces_that_do_not_fit_the_network(asked: Answer) -> None:
    refused(asked("--space", space("weights: [2, 4]\npins: {conv9: w4af}")), "no layer matches 'conv9'", "layers: 0")
    refused(asked("--space", space("weights: [2, 4]\npins: {'0': w8af}")), "'0' is pinned to w8af", "w2af, w4af")
    refused(asked("--space", space("weights: [2, 4]\nlayers: {'0': {weights: [8]}}\nties: [['0', '3']]")), "tied but have different menus")
    refused(asked("--space", space("weights: [2, 4]\ntied: []")), "space.yaml: tied: unknown key")
    refused(asked("--space", space("weights: many")), "space.yaml: weights: ")
    refused(asked("--space", space("weights: [9]")), "space.yaml: weights")
    refused(asked("--space", "a\udc80"), "unknown space", "\\udc80")


def test_factories(asked: Answer) -> None:
    refused(asked("--model", "nets:gone"), "gone")
    refused(asked("--model", "nowhere:net"), "nowhere")
    refused(asked("--model", "nets:angry"), "no GPU here")
    refused(asked("--model", "nets:text"), "str")
    refused(asked("--model", "nets:bare"), "nothing to quantize")


def test_weights_that_do_not_match(asked: Answer) -> None:
    torch.save({"0.weight": torch.zeros(8, 3, 3, 3), "extra": torch.zeros(1)}, "other.pt")
    refused(asked("--weights", "other.pt"), "0.bias", "extra")
    Path("torn.pt").write_bytes(Path("float.pt").read_bytes()[:100])
    refused(asked("--weights", "torn.pt"), "torn.pt")
    refused(asked("--weights", "gone.pt"), "gone.pt")


def test_image_folders(asked: Answer, tmp_path: Path) -> None:
    Path("empty").mkdir()
    refused(asked("--data", "imagefolder:empty"), "empty")
    paint(tmp_path / "one", classes=("ant",))
    refused(asked("--data", "imagefolder:one"), "one class")
    paint(tmp_path / "broken")
    Path("broken/train/bee/3.png").write_bytes(b"\x89PNG but no more")
    refused(asked("--data", "imagefolder:broken"), "3.png")
    refused(asked("--data", "imagefolder:gone"), "gone")


def test_labels_outside_the_classes(asked: Answer) -> None:
    refused(asked("--model", "nets:two_classes"), "label")


def test_a_run_directory_of_another_study(asked: Answer) -> None:
    assert asked("--effort", "quick", "--trials", "2", "--epochs", "0")[0] == 0
    before = {path: path.read_bytes() for path in Path("runs/mine").iterdir()}
    code, told = asked("--effort", "quick", "--trials", "3", "--epochs", "0")
    assert code == 2
    assert "holds another study" in told
    assert {path: path.read_bytes() for path in Path("runs/mine").iterdir()} == before
    original = Path("float.pt").read_bytes()
    torch.save({name: 2 * value for name, value in torch.load("float.pt", weights_only=True).items()}, "float.pt")
    code, told = asked("--effort", "quick", "--trials", "2", "--epochs", "0")
    assert code == 2
    assert "holds another study" in told
    Path("float.pt").write_bytes(original)
    assert asked("--effort", "quick", "--trials", "2", "--epochs", "0")[0] == 0
    artifact = next(Path("runs/mine").glob("*.safetensors"))
    torn = Path("torn.safetensors")
    torn.write_bytes(artifact.read_bytes()[:-7])
    code = main(["evaluate", str(torn), "--study", "runs/mine/study.yaml"])
    assert code == 2
    tampered = bytearray(artifact.read_bytes())
    tampered[-3] ^= 1
    torn.write_bytes(tampered)
    assert main(["evaluate", str(torn), "--study", "runs/mine/study.yaml"]) == 2


def test_a_space_of_one_choice_is_no_search_but_can_be_trained(asked: Answer) -> None:
    only = space("weights: [4]")
    assert asked("--space", only, "--budget", "1MB", "--effort", "quick", "--epochs", "0")[0] == 0
    Path("bits.yaml").write_text("'0': w4af\n'3': w4af\n")
    arguments = ["--space", only, "--budget", "1MB", "--bits", "bits.yaml", "--epochs", "0", "--out", "runs/given", "--quiet"]
    assert asked(*arguments, command="retrain") == (0, "")
