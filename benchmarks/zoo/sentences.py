"""WordLlama 0.4.0: how alike sentences are, from the first lines of the documentation that Python itself ships.

The package pools the rows of its embedding table with NumPy; here the table is an `nn.EmbeddingBag` that takes the same mean of the same
tokens. Metric: rank correlation of the cosines of all pairs of sentences of a split with those of the float network; one number of the
whole split.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.zoo.case import Case, Samples, load_package, outputs_of
from mpsearch.tasks.task import Task

__all__ = ["build", "rank_correlation"]

SIZES = (256, 256, 512)
TOKENS = 32
PACKAGES = ("collections", "concurrent", "ctypes", "email", "html", "http", "json", "logging", "sqlite3", "unittest", "urllib", "xml")
MODULES: tuple[str, ...] = (
    "argparse",
    "ast",
    "calendar",
    "csv",
    "datetime",
    "decimal",
    "difflib",
    "fractions",
    "heapq",
    "inspect",
    "ipaddress",
    "pathlib",
)
MODULES += ("random", "shutil", "socket", "statistics", "string", "subprocess", "tarfile", "textwrap", "threading", "turtle", "zipfile")


def build() -> Case:
    """The table of 32,000 × 256 as a network, and token numbers of sentences."""
    package = load_package("wordllama")
    # The wheel has its tokenizer in a folder that the package looks for in its cache alone.
    inference = package.WordLlama.load(cache_dir=package.__path__[0], disable_download=True)
    table = torch.tensor(inference.embedding)
    padding = 0  # the unknown token, which no sentence here has
    model = nn.EmbeddingBag.from_pretrained(table, mode="mean", padding_idx=padding).eval()
    sentences = _sentences()
    generator = np.random.default_rng(20)
    order = generator.permutation(len(sentences))
    tokens = torch.full((sum(SIZES), TOKENS), padding)
    for place, chosen in enumerate(order[: sum(SIZES)]):
        found = inference.tokenizer.encode(sentences[chosen], add_special_tokens=False).ids[:TOKENS]
        tokens[place, : len(found)] = torch.tensor(found)
    train, validation, test = (_with_float(model, part) for part in torch.split(tokens, list(SIZES)))
    return Case(
        model=model,
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(
            loss=lambda outputs, wanted: 1 - nn.functional.cosine_similarity(outputs.float(), wanted, dim=1).mean(),
            metric=rank_correlation,
            metric_name="rank correlation",
            higher_is_better=True,
        ),
        gap="share",
        epochs=0,  # sentences of the test split hold rows of the table that no other sentence would train
    )


def rank_correlation(outputs: Tensor, wanted: Tensor) -> float:
    """Spearman's, between the cosines of all pairs of `[N, D]` and those of the float network's."""
    above = torch.triu_indices(len(outputs), len(outputs), offset=1)
    ranks = []
    for embeddings in (outputs, wanted):
        unit = nn.functional.normalize(embeddings.double(), dim=1)
        cosines = (unit @ unit.T)[above[0], above[1]]
        ranks.append(cosines.argsort().argsort().double())
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def _with_float(model: nn.Module, tokens: Tensor) -> Samples:
    return Samples([tokens], outputs_of(model, [tokens]))


def _sentences() -> list[str]:
    """First lines of documentation, the same ones in every process."""
    found: set[str] = set()
    for name in _modules():
        module = importlib.import_module(name)
        for _, member in inspect.getmembers(module):
            inside = [member, *(vars(member).values() if inspect.isclass(member) else ())]
            for thing in inside:
                text = getattr(thing, "__doc__", None)
                line = text.strip().split("\n")[0].strip() if isinstance(text, str) else ""
                if 30 <= len(line) <= 120 and getattr(thing, "__module__", name) == name:
                    found.add(line)
    if len(found) < sum(SIZES):
        raise SystemExit(f"Python {sys.version.split()[0]} has only {len(found)} lines of documentation here; {sum(SIZES)} are needed")
    return sorted(found)


def _modules() -> list[str]:
    inside = [
        f"{package}.{module.name}"
        for package in PACKAGES
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
        if not module.name.startswith("__") and module.name != "expatreader"
    ]
    return sorted([*MODULES, *PACKAGES, *inside])
