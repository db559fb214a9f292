"""`remeasured`: the delivered file, timed as a whole network, where its latency was budgeted by times that were measured."""

from __future__ import annotations

import copy

import numpy as np
import torch

from mpsearch.core.checked import checked
from mpsearch.core.errors import ArtifactError, ConfigError, ModelError
from mpsearch.core.files import file_digest
from mpsearch.core.json_data import json_data
from mpsearch.core.promises import MeasuredLatency
from mpsearch.costs.latency_profile import LatencyProfile
from mpsearch.methods.base import Method
from mpsearch.network.inputs import batch_size, samples_of, to_device
from mpsearch.run.artifact import Retrained
from mpsearch.run.bench import Bench
from mpsearch.run.ledger import Ledger
from mpsearch.run.setup import Setup
from mpsearch.run.timing import timing_of

__all__ = ["remeasured"]

_FILE = "latency.json"
_SAMPLES = 3
_CPU = torch.device("cpu")


def remeasured(setup: Setup, winner: Retrained, method: Method, ledger: Ledger) -> tuple[MeasuredLatency | None, tuple[str, ...]]:
    """The latency of the delivered file, in turns with the float network, as the profile was measured; and why there is none.

    Args:
        setup: of the run.
        winner: the delivered network.
        method: of the run, for the float network.
        ledger: keeps the times.
    """
    inputs = setup.problem.cost_inputs
    profile = None if inputs is None else inputs.hardware
    if not isinstance(profile, LatencyProfile):
        return None, ()
    if profile.target != setup.target.name:
        reason = f"the profile is of target {profile.target}, and {winner.path.name} is for {setup.target.name}"
        return None, (f"The latency of the delivered network was not measured: {reason}.",)
    try:
        measured = ledger.once(
            _FILE,
            lambda: _measured(setup, profile, winner, method),
            made_from=ledger.made_from(file_digest(winner.path), profile),
            dump=json_data,
            load=lambda document: checked(MeasuredLatency, document),
        )
    except (ArtifactError, ConfigError, ModelError) as error:  # a finished network is delivered, whatever this machine lacks
        return None, (f"The latency of the delivered network was not measured: {error}.",)
    return measured, ()


def _measured(setup: Setup, profile: LatencyProfile, winner: Retrained, method: Method) -> MeasuredLatency:
    problem = setup.problem
    bench = Bench(target=setup.target, threads=profile.threads, batch=profile.batch, repeats=profile.repeats)
    count = min(max(profile.batch, _SAMPLES), len(problem.train))
    batch, _ = next(iter(problem.train.take(count, problem.seed).batches(count)))
    batch = to_device(batch, _CPU)
    model = problem.model if problem.device == _CPU else copy.deepcopy(problem.model).to(_CPU)
    pace = bench.in_float(model, batch, problem.space.layers, method)
    own = setup.target.prepared(winner.path, samples_of(batch, slice(0, profile.batch), batch_size(batch)), profile.threads)
    shares, seconds = bench.in_turns({"winner": own}, pace)
    timing = timing_of(shares["winner"] * seconds)
    return MeasuredLatency(
        median=timing.median,
        low=timing.low,
        high=timing.high,
        at_pace=float(np.median(shares["winner"])) * profile.pace_median,
        place=profile.place,
    )
