"""The score of a file is that of the network it was written from."""

from __future__ import annotations

from pathlib import Path

from mpsearch.core.choice import Choice
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import bake
from mpsearch.run import evaluate_artifact
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from tests.run.tiny import tiny_setup, tiny_study


def test_a_file_scores_like_the_network_it_was_written_from(tmp_path: Path) -> None:
    config = tiny_study()
    setup = tiny_setup(config)
    evaluator = Evaluator(setup.problem, Compiler("off", setup.problem.device))
    parts = bake(evaluator.begin(setup.problem.space.uniform(Choice(4)), Lsq()))
    setup.writer.write(tmp_path / "net.safetensors", parts)
    for split in ("train", "validation", "test"):
        assert evaluate_artifact(tmp_path / "net.safetensors", config, split) == evaluator.score_parts(parts, getattr(setup.splits, split))
