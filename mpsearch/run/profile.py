"""`profile`: measures the latency of every layer in every choice of a study, and of whole networks: `mpsearch profile`.

The file is the ledger: it is written after each layer and after each few networks, and the same command goes on from it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from mpsearch.config.latency_profile import dump_latency_profile, parse_latency_profile
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, SpaceError
from mpsearch.core.files import is_file, write_text
from mpsearch.core.progress import Progress
from mpsearch.core.space import ResolvedSpace
from mpsearch.costs.latency_profile import LatencyProfile, Timing, WholeNetwork
from mpsearch.data import load_data
from mpsearch.methods.base import Method
from mpsearch.methods.trainable import check_trainable
from mpsearch.models import build_model
from mpsearch.network.canonical import canonical
from mpsearch.network.cut import Cut, cuts_of
from mpsearch.network.inputs import batch_size, samples_of
from mpsearch.network.trace import survey
from mpsearch.run.bench import Bench, layer_times
from mpsearch.run.latency_fit import checked_sum
from mpsearch.run.machine import cpu_fingerprint, processor
from mpsearch.run.setup import method_variants
from mpsearch.run.timing import timing_of
from mpsearch.targets import Blueprint, restricted, target_with
from mpsearch.targets.roundings import rounded_outputs
from mpsearch.targets.skeleton import skeleton_of

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["FEWEST_NETWORKS", "profile"]

FEWEST_NETWORKS = 20
"""Random allocations that are measured as whole networks, unless the space has fewer."""

_TRACE_BATCH = 128
_SAMPLES = 3
_AT_ONCE = 4
_TILT = 4.0
_ATTEMPTS = 20

_HOW = (
    "Each layer alone: its own module, with the shapes and types of the inputs that it gets in the network, calibrated, written by the "
    "target's own writer and loaded in its runtime. Each time holds a call of the runtime and the rounding of the layer's input. A network "
    "is called once: from the sum over layers the other calls are taken off, each the time of a network of one weight (call)."
)
_READER = (
    " Where the network rounds all of a layer's output, a ReLU between or not, the layer is followed by that and by a layer that reads one "
    "position, so that the runtime can fuse the rounding."
)
_SHARED = (
    " A module that several weights belong to is timed with the others in float, and their share of its float time, by multiplications, is "
    "taken off."
)
_REPEATS = (
    " All choices of a layer take turns, {repeats} rounds, each after an untimed call (warm caches). The float network (pace) is timed "
    "in every round too: other times are their shares of its time in the same round, times its median over the whole profile, so that "
    "what else the machine does meets all alike. One thread is timed by its CPU time, several by the "
    "wall clock. Seconds of one sample: median, lower and upper quartile. Whole networks: random "
    "allocations, timed alike. Weights as the model's factory gives them, not trained."
)


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is profiled: network, batch, space cut to the target, methods, and each layer's stored choices."""

    model: nn.Module
    inputs: Any
    space: ResolvedSpace
    methods: tuple[Method, ...]
    stored: tuple[dict[Choice, tuple[Choice, Method]], ...]


def profile(
    config: StudyConfig, out: Path, progress: Progress, *, threads: int = 1, batch: int = 1, repeats: int = 101, networks: int = 24
) -> LatencyProfile:
    """Measure the latencies of a study's network on this machine, or go on where an earlier call was interrupted.

    Args:
        config: the study; its target is measured.
        out: the profile, a YAML file.
        progress: gets bars and lines.
        threads: of the runtime.
        batch: samples of a call.
        repeats: of each measurement.
        networks: whole networks.

    Raises:
        ConfigError: the target has no runtime or it is not installed; or the file holds another profile.
        ModelError: the target cannot hold the network.
    """
    target = target_with(config.target, config.target_settings)
    name, cores = processor()
    if threads > cores:
        raise ConfigError(f"--runtime-threads {threads}: this machine has {cores} cores; ask for {cores} at most", path="threads")
    runtime = target.timed_in(threads)
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out {out}: a profile is a YAML file; give it the suffix .yaml", path="out")
    bench = Bench(target=target, threads=threads, batch=batch, repeats=repeats)
    subject = _subject(config, batch, progress)
    asked = LatencyProfile(
        model=config.model.factory,
        network=cpu_fingerprint(subject.model, subject.inputs),
        target=config.target,
        runtime=runtime,
        processor=name,
        cores=cores,
        threads=threads,
        batch=batch,
        repeats=repeats,
        date=datetime.date.today().isoformat(),
        how=_HOW,
        layers=subject.space.names,
    )
    found = _begun(out, asked, progress)
    found, pace = _paced(found, subject, bench)
    found = _layers(found, subject, bench, pace, out, progress)
    found = _networks(found, subject, bench, pace, networks, config.seed, out, progress)
    found = found.at_pace(timing_of(np.array(found.paces)))
    check, correction = checked_sum(found)
    found = replace(found, check=check, correction=correction)
    write_text(out, dump_latency_profile(found))
    return parse_latency_profile(read_yaml(out), label=str(out))


def _subject(config: StudyConfig, batch: int, progress: Progress) -> _Subject:
    splits = load_data(config.data.reference, seed=config.seed, progress=progress, **config.data.options)
    torch.manual_seed(config.seed)
    model = canonical(build_model(config.model.factory, config.model.options, weights=config.model.weights_path)).cpu()
    model.requires_grad_(False)
    inputs, _ = next(iter(splits.train.take(min(_TRACE_BATCH, len(splits.train)), config.seed).batches(_TRACE_BATCH)))
    variants = {name: method_variants(config, name) for name in config.methods}
    methods = tuple(method for each in variants.values() for method in each)
    target = target_with(config.target, config.target_settings)
    space = config.space.build().resolve(target.layers(survey(model, inputs)))
    check_trainable(space, variants)
    space, reasons = restricted(space, target, methods)
    for reason in reasons:
        progress.say(f"target {target.name}: {reason}")
    samples = batch_size(inputs)
    if samples < batch:
        raise ConfigError(f"--batch {batch}: the study's data give {samples} samples; ask for {samples} at most", path="batch")
    few = samples_of(inputs, slice(0, max(batch, min(_SAMPLES, samples))), samples)
    stored = tuple(_stored(menu, methods) for menu in space.menus)
    return _Subject(model=model, inputs=few, space=space, methods=methods, stored=stored)


def _stored(menu: Sequence[Choice], methods: Sequence[Method]) -> dict[Choice, tuple[Choice, Method]]:
    """Stored choice → (choice on the menu, the first method that stores it so)."""
    found: dict[Choice, tuple[Choice, Method]] = {}
    for choice in menu:
        for method in methods:
            weight, activation = method.stores(choice.weight), method.stores_input(choice.activation)
            if weight is not None and activation is not None:
                found.setdefault(Choice(weight, activation), (choice, method))
    return found


def _begun(out: Path, asked: LatencyProfile, progress: Progress) -> LatencyProfile:
    """The profile in the file, if it is of the same; else the one asked for."""
    if not is_file(out):
        return asked
    held = parse_latency_profile(read_yaml(out), label=str(out))
    names = ("network", "target", "runtime", "processor", "cores", "threads", "batch", "repeats", "layers")
    for name in names:
        theirs, ours = getattr(held, name), getattr(asked, name)
        if theirs != ours:
            differ = f"{theirs!s:.60}, not {ours!s:.60}"
            raise ConfigError(f"{out} holds a profile with another {name} ({differ}); give another --out", path="out")
    done = sum(map(len, held.cells.values()))
    progress.say(f"{out}: goes on after {done:,} times of layers and {len(held.networks)} whole networks")
    return held


def _paced(found: LatencyProfile, subject: _Subject, bench: Bench) -> tuple[LatencyProfile, Callable[[], object]]:
    """The profile with its pace, and a call of the float network, which sets it."""
    call = bench.in_float(subject.model, subject.inputs, subject.space.layers, subject.methods[0])
    if found.pace is None:
        shares, seconds = bench.in_turns({"call": bench.nothing(subject.methods[0])}, call)
        pace = timing_of(seconds)
        found = replace(found, pace=pace, paces=(pace.median,), call=timing_of(shares["call"]).times(pace.median))
    return found, call


def _layers(
    found: LatencyProfile, subject: _Subject, bench: Bench, pace: Callable[[], object], out: Path, progress: Progress
) -> LatencyProfile:
    """The profile with the times of all layers."""
    names = found.layers
    known = {name: {*found.cells.get(name, {}), *found.unmeasured.get(name, {})} for name in names}
    missing = [row for row, name in enumerate(names) if not subject.stored[row].keys() <= known[name]]
    if not missing:
        return found
    cuts, reasons = _cuts(subject, bench)
    how = _HOW + _READER * any(cut.reader is not None for each in cuts.values() for cut in each)
    how += _SHARED * any(cut.share < 1 for each in cuts.values() for cut in each)
    calls = max(1.0, sum(cut.calls * cut.share for each in cuts.values() for cut in each))
    found = replace(found, calls=calls, how=how + _REPEATS.format(repeats=bench.repeats))
    with progress.phase("latency of layers", len(names)) as bar:
        for row in missing:
            name = names[row]
            bar.update(row, len(names), name)
            times: dict[Choice, Timing | str] = dict.fromkeys(subject.stored[row], reasons.get(name, ""))
            if name in cuts:
                times, own = layer_times(cuts[name], subject.stored[row], bench, pace)
                found = replace(found, paces=(*found.paces, own))
            cells = {choice: each.times(found.pace_median) for choice, each in times.items() if isinstance(each, Timing)}
            without = {choice: each for choice, each in times.items() if isinstance(each, str)}
            found = replace(found, cells={**found.cells, name: {**found.cells.get(name, {}), **cells}}, check=None, correction=None)
            if without:
                found = replace(found, unmeasured={**found.unmeasured, name: {**found.unmeasured.get(name, {}), **without}})
            write_text(out, dump_latency_profile(found))
        bar.update(len(names), len(names))
    return found


def _cuts(subject: _Subject, bench: Bench) -> tuple[dict[str, tuple[Cut, ...]], dict[str, str]]:
    layers, rounded = subject.space.layers, dict[str, bool]()
    if bench.target.fuses_roundings and subject.space.quantizes_activations:
        blueprint = Blueprint.of(subject.model, subject.inputs, subject.space)
        found = rounded_outputs(skeleton_of(blueprint, f"target '{bench.target.name}'"), layers)
        rounded = {name: each.relu for name, each in found.items()}
    return cuts_of(subject.model, subject.inputs, layers, rounded)


def _networks(
    found: LatencyProfile, subject: _Subject, bench: Bench, pace: Callable[[], object], count: int, seed: int, out: Path, progress: Progress
) -> LatencyProfile:
    """The profile with whole networks."""
    drawn: dict[tuple[Choice, ...], tuple[tuple[Choice, ...], Method]] = {}
    for index in range(count * _ATTEMPTS):
        method = subject.methods[index % len(subject.methods)]
        choices = _random_choices(found, subject, method, np.random.default_rng([seed, index]))
        drawn.setdefault(_as_stored(choices, method), (choices, method))
        if len(drawn) == count:
            break
    if len(drawn) < FEWEST_NETWORKS:
        progress.say(f"this space has only {len(drawn)} allocations to measure as whole networks")
    known = {network.choices for network in found.networks}
    waiting = [(stored, asked) for stored, asked in drawn.items() if stored not in known]
    with progress.phase("latency of whole networks", len(drawn)) as bar:
        for first in range(0, len(waiting), _AT_ONCE):
            bar.update(len(drawn) - len(waiting) + first, len(drawn))
            calls = {
                stored: bench.loaded(subject.model, subject.inputs, subject.space.layers, choices, method)
                for stored, (choices, method) in waiting[first : first + _AT_ONCE]
            }
            shares, own = bench.in_turns(calls, pace)
            measured = tuple(
                WholeNetwork(choices=stored, timing=timing_of(each).times(found.pace_median)) for stored, each in shares.items()
            )
            paces = (*found.paces, float(np.median(own)))
            found = replace(found, networks=found.networks + measured, paces=paces, check=None, correction=None)
            write_text(out, dump_latency_profile(found))
        bar.update(len(drawn), len(drawn))
    return found


def _as_stored(choices: Sequence[Choice], method: Method) -> tuple[Choice, ...]:
    return tuple(_stored_choice(choice, method) for choice in choices)


def _stored_choice(choice: Choice, method: Method) -> Choice:
    weight, activation = method.stores(choice.weight), method.stores_input(choice.activation)
    return Choice(choice.weight if weight is None else weight, choice.activation if activation is None else activation)


def _random_choices(found: LatencyProfile, subject: _Subject, method: Method, random: np.random.Generator) -> tuple[Choice, ...]:
    """An allocation, from all fast to all slow: each takes choices of rank r with weights exp(tilt · r), with a tilt of its own."""
    space, tilt = subject.space, random.uniform(-_TILT, _TILT)
    picked: dict[int, Choice] = {}
    for group in space.groups:
        times = {}
        for choice in space.menus[group[0]]:
            seconds = [found.seconds(space.names[index], _stored_choice(choice, method)) for index in group]
            if None not in seconds:
                times[choice] = sum(each for each in seconds if each is not None)
        if not times:
            name = space.names[group[0]]
            reasons = found.unmeasured.get(name, {})
            why = next(iter(reasons.values()), "none of its choices has a time")
            raise SpaceError(f"layer '{name}': its latency cannot be measured ({why}); take an analytic profile")
        ordered = sorted(times, key=lambda choice: (times[choice], choice))
        weights = np.exp(tilt * np.linspace(0, 1, len(ordered)))
        choice = ordered[random.choice(len(ordered), p=weights / weights.sum())]
        picked |= dict.fromkeys(group, choice)
    return tuple(picked[row] for row in range(len(space.layers)))
