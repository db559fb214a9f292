"""What the pages say is so: Python blocks run, commands have the options that are shown, links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.cli import group

ROOT = Path(__file__).parents[1]
PAGES = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
ELSEWHERE = {"read_with_numpy.md": "tests/targets/packed/test_read_with_numpy.py", "CONTRIBUTING.md": "tests/test_contributing.py"}
"""Pages whose blocks another test runs."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)]*)?\)")
IDS = [page.name for page in PAGES]


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)).eval()


def splits(*, classes: int = 3) -> list[TensorDataset]:
    torch.manual_seed(0)
    return [TensorDataset(torch.randn(64, 1, 8, 8), torch.randint(classes, (64,))) for _ in range(3)]


def data() -> dict[str, Any]:
    torch.manual_seed(0)
    train, validation, test = splits()
    return {"model": network(), "architecture": network(), "train": train, "validation": validation, "test": test, "mpsearch": mpsearch}


def large() -> dict[str, Any]:
    """With more weights than fit 500 KB at 8 bits."""
    made = data()
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 3)).eval()
    return {**made, "model": wide, "architecture": wide}


def regression() -> dict[str, Any]:
    made = data()
    targets = {name: TensorDataset(made[name].tensors[0], torch.randn(64, 3)) for name in ("train", "validation")}
    return {**made, **targets}


def files() -> dict[str, Any]:
    """`model.onnx` and `model.qdq.onnx` in the working directory."""
    made = data()
    for target, file in (("onnx", "model.onnx"), ("onnx-qdq", "model.qdq.onnx")):
        result = mpsearch.search(
            made["model"], made["train"], made["validation"], budget="6bit", target=target, space="weights-activations"
        )
        shutil.copy(result.path, file)
    return {"images": made["train"].tensors[0].numpy()}


def language() -> dict[str, Any]:
    """A Hugging Face folder `smollm2` of a tiny model, and windows of tokens."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32
    )
    transformers.LlamaForCausalLM(config).save_pretrained("smollm2")
    return {"calibration": torch.randint(64, (48, 17)), "held_out": torch.randint(64, (16, 17))}


def sampler() -> dict[str, Any]:
    from mpsearch.core.budget import Budget
    from mpsearch.core.space import Space
    from mpsearch.costs import compute_costs
    from mpsearch.costs.base import CostInputs
    from mpsearch.network.trace import trace

    space = Space(name="few", weights=(2, 4), activations=(32,)).resolve(trace(network(), torch.randn(2, 1, 8, 8)))
    return {
        "space": space,
        "tables": (),
        "costs": compute_costs(["bits"], CostInputs(space=space)),
        "budgets": (Budget(cost="bits", limit=3.0, text="3bit"),),
        "loss_of": lambda allocation: 1 / allocation.mean_weight_bits(space.layers),
    }


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "models.md": regression,
    "deploy.md": files,
    "engine.md": sampler,
    "README.md": large,
    "large.md": language,
}
"""What the blocks of a page find there; those of the others, a network and its data."""


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page, "python")
    if page.name in ELSEWHERE:
        assert (ROOT / ELSEWHERE[page.name]).is_file()
        return
    if not found:
        return
    monkeypatch.chdir(tmp_path)
    brief = {"effort": "quick", "trials": 1, "epochs": 0, "progress": False, "device": "cpu"}  # where a page does not say it
    whole = mpsearch.search
    monkeypatch.setattr(mpsearch, "search", lambda *given, **asked: whole(*given, **{**brief, **asked}))
    names = {"__name__": page.stem, **NAMES.get(page.name, data)()}
    for block in found:
        exec(compile(block, str(page), "exec"), names)


def commands(page: Path) -> list[list[str]]:
    text = "\n".join(blocks(page, "sh", "bash", "console")).replace("\\\n", " ")
    lines = [part.strip() for line in text.splitlines() for part in line.partition(" # ")[0].split("&&")]
    return [shlex.split(line)[1:] for line in lines if line.startswith("mpsearch ")]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    for words in commands(page):
        command = group.commands[words[0]]
        known = {name for each in command.params if isinstance(each, click.Option) for name in (*each.opts, *each.secondary_opts)}
        asked = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
        assert asked <= known | {"--help", "-h"}, f"{page.name}: mpsearch {' '.join(words)}"


def test_every_command_stands_in_the_table_of_commands() -> None:
    table = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in group.commands if f"`mpsearch {name}" not in table] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}, f"{page.name}: {anchor}"


def test_readme_is_short_and_its_figures_are_those_of_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 115
    condensed = readme.partition("\n## Results\n")[2].partition("\n## ")[0]
    figures = r"\d[\d,]*\d B|\d+\.\d+(?: ± \d\.\d+)?"
    results = set(re.findall(figures, (ROOT / "docs" / "results.md").read_text(encoding="utf-8")))
    assert len(re.findall(figures, condensed)) > 15
    assert set(re.findall(figures, condensed)) <= results


@pytest.mark.slow
def test_the_site_is_built(tmp_path: Path) -> None:
    """Sphinx takes every warning, such as a link that leads nowhere, as an error."""
    for needed in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(needed)
    build = importlib.machinery.SourceFileLoader("build", str(ROOT / "docs" / "build.py")).load_module()
    build.stage(tmp_path)
    assert build.build_main(["-q", "-W", str(tmp_path), str(tmp_path / "site")]) == 0
    assert (tmp_path / "site" / "index.html").is_file()
