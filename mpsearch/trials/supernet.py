"""`SupernetEvaluator`: an evaluator whose untrained score comes from shared weights that are trained for all allocations."""

from __future__ import annotations

from mpsearch.core.allocation import Allocation
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.record import Score
from mpsearch.methods.base import Method
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import Supernet, SupernetRecipe
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

__all__ = ["SupernetEvaluator"]


class SupernetEvaluator(Evaluator):
    """Trains the shared weights once, before the first score.

    Trials with training, and the winner, start from the float network as with any evaluator: in `benchmarks/supernet.py`, training from
    the shared weights ended lower for only two of five allocations.

    Args:
        problem: the search problem.
        compiler: for trials with training.
        settings: how the shared weights are trained.
        method: method whose weight grid the shared weights use.
        checkpoint: file of the shared weights, to resume from; None keeps them only in memory.
        progress: gets a bar for their training.
    """

    def __init__(
        self,
        problem: Problem,
        compiler: Compiler,
        settings: SupernetRecipe,
        method: Method,
        *,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(problem, compiler)
        self._settings = settings
        self._style = method.grid
        self._checkpoint = checkpoint
        self._progress = progress or Silent()
        self._supernet: Supernet | None = None

    def prepare(self) -> Supernet:
        """The shared weights; trained at the first call.

        Raises:
            TrainingDiverged: the loss is NaN or infinite.
        """
        if self._supernet is None:
            problem = self.problem
            supernet = Supernet(
                problem.model,
                problem.space,
                problem.calibration,
                self._settings,
                style=self._style,
                costs=problem.costs,
                budgets=problem.budgets,
                execution=problem.execution,
            )
            with self._progress.phase("supernet", 1) as bar:
                supernet.train(
                    problem.train,
                    problem.task,
                    device=problem.device,
                    seed=problem.seed,
                    teacher=self.teacher,
                    on_step=bar.update,
                    checkpoint=self._checkpoint,
                )
            supernet.freeze(problem.train, device=problem.device, seed=problem.seed)
            self._supernet = supernet
        return self._supernet

    def untrained(self, allocation: Allocation, method: Method, recipe: Recipe) -> Score:
        """Score of the shared weights at `allocation` with re-estimated BatchNorm; the same for every method."""
        problem = self.problem
        return self.prepare().score(allocation, problem.validation, problem.task, device=problem.device)
