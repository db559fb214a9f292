"""How ranges and bits were found (sections F and G)."""

from __future__ import annotations

from mpsearch.card.audit import calibration_images
from mpsearch.card.baseline import BATCHNORMS
from mpsearch.card.deployed import Deployed
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import na
from mpsearch.card.sections import PrecisionSection, RangeSection
from mpsearch.core.pass_counts import PassCounts
from mpsearch.core.statistics import CORRECTED, KEPT, StatisticsChoice
from mpsearch.core.summary import Summary
from mpsearch.methods.base import Method
from mpsearch.numbers.channels import Rows
from mpsearch.trials.climb import Hyperparameters

__all__ = ["precision", "ranges"]


def ranges(
    inputs: CardInputs,
    hyper: Hyperparameters,
    counts: PassCounts,
    deployed: Deployed,
    method: str,
    *,
    trained: bool,
    statistics: StatisticsChoice | None = None,
) -> RangeSection:
    """Section F.

    Args:
        inputs: the run.
        hyper: method and recipe of the delivered numbers.
        counts: passes of the run.
        deployed: the delivered network.
        method: name of the method.
        trained: whether the delivered network was retrained.
        statistics: how BatchNorm follows quantization without training.
    """
    problem = inputs.problem
    layer = problem.space.layers[0]
    quantizer = hyper.method.weight_quantizer(Rows.of_layer(problem.model, layer))
    quantized = problem.space.quantizes_activations
    norms = any(isinstance(module, BATCHNORMS) for module in problem.model.modules())
    calibrates = type(hyper.method).calibrate is not Method.calibrate
    moved = hyper.method.compensates and not trained  # training estimates BatchNorm's statistics afresh, and takes biases along
    way = problem.statistics
    corrected = way == CORRECTED and not trained and not moved
    return RangeSection(
        weights=f"least squared error per output channel{f', then by {method} on images' if calibrates else ''}"
        if deployed.codes
        else na("weights are float32"),
        activations="least squared error over samples of the layer's input" if quantized else na("activations are float32"),
        static=True,
        images=calibration_images(inputs, counts),
        learned=trained and any(True for _ in quantizer.parameters()),
        bias_correction=f"mean of every channel, with BatchNorm its variance too, by {method} on images"
        if moved
        else "mean and variance of every channel before a BatchNorm, on images"
        if corrected
        else "none",
        batchnorm_images=na("no BatchNorm")
        if not norms
        else na("statistics are corrected, not re-estimated")
        if moved or corrected
        else na("the float network's statistics are kept")
        if not trained and way == KEPT
        else min(hyper.recipe.reestimate, len(problem.train)),
        statistics=na("nothing was chosen") if statistics is None else statistics.sentence,
    )


def precision(inputs: CardInputs, summary: Summary, deployed: Deployed, method: str) -> PrecisionSection:
    """Section G.

    Args:
        inputs: the run.
        summary: its results.
        deployed: the delivered network.
        method: name of the method.
    """
    space, allocation = inputs.problem.space, deployed.allocation
    shared = {name: codes.bits_used for name, codes in deployed.codes.items() if codes.kind == "multibit"}
    return PrecisionSection(
        method=method,
        bits=allocation.to_dict(),
        allowed=[str(choice) for choice in space.choices],
        signals=[table.name for table in summary.tables],
        solver=summary.winner.origin,
        budgets=[
            {"budget": budget.text, "cost": budget.cost, "limit": budget.limit, "realised": summary.winner.costs[budget.cost]}
            for budget in summary.budgets
        ],
        ties=[[space.names[index] for index in group] for group in space.groups if len(group) > 1],
        kernels=[str(choice) for choice in sorted(set(allocation.values()))],
        fractional_bits=shared or na("bits are whole within a layer"),
    )
