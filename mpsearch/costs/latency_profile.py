"""`LatencyProfile`: the time of every layer in every stored choice, as it was measured on one device in one runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat, StoredAs
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["Correction", "LatencyProfile", "SumCheck", "Timing", "WholeNetwork", "measured_latency", "measured_only"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one sample: the median over repeats, and the quartiles."""

    median: float
    low: float
    high: float

    def times(self, factor: float) -> Timing:
        """All three, multiplied."""
        return Timing(median=self.median * factor, low=self.low * factor, high=self.high * factor)


@dataclass(frozen=True, kw_only=True)
class WholeNetwork:
    """A whole network that was measured.

    Args:
        choices: stored, in the order of the layers.
        timing: of the network.
    """

    choices: tuple[Choice, ...]
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class Correction:
    """`seconds = fixed + slope · sum`, by least squares over whole networks.

    Args:
        fixed: seconds that do not depend on the allocation; below zero where layers alone take longer than in the network.
        slope: factor of the sum; above zero.
    """

    fixed: float
    slope: float


@dataclass(frozen=True, kw_only=True)
class SumCheck:
    """How far predictions are from whole networks: `|predicted − measured| / measured`, its median and its largest.

    Args:
        networks: how many were measured.
        median: of the plain sum over layers.
        largest: of the same.
        corrected_median: with the correction; each network was held out of the fit that predicts it. None where there is no fit.
        corrected_largest: of the same.
    """

    networks: int
    median: float
    largest: float
    corrected_median: float | None = None
    corrected_largest: float | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyProfile:
    """A measured device.

    Args:
        model: name of the network, for people.
        network: its fingerprint, see `mpsearch.network.fingerprint`.
        target: whose files were measured.
        runtime: name and version.
        processor: name of the CPU's model.
        cores: of the machine.
        threads: of the runtime.
        batch: samples of a call; all seconds are of one sample.
        repeats: of each measurement.
        date: when it was begun, `YYYY-MM-DD`.
        how: how it was measured, in sentences.
        layers: names, in forward order.
        pace: the whole network in float32, which every round times as well; every other time is its share of this one's, times the median.
            So a machine that is slower for a while, since it does other work, does not make single layers slower. None before the first.
        paces: medians of that network's own times, one for each group of measurements, in order.
        call: a call of the runtime with next to no work: a network of one weight.
        calls: such calls in the sum over layers; a network has one, so the others are taken off.
        cells: layer → stored choice → its time.
        unmeasured: layer → stored choice → why there is no time.
        networks: whole networks.
        check: of the sum over layers; None while the profile is not finished.
        correction: if it lowers the held-out error.
    """

    model: str
    network: str
    target: str
    runtime: str
    processor: str
    cores: int
    threads: int
    batch: int
    repeats: int
    date: str
    how: str
    layers: tuple[str, ...]
    pace: Timing | None = None
    paces: tuple[float, ...] = ()
    call: Timing | None = None
    calls: float = 1.0
    cells: Mapping[str, Mapping[Choice, Timing]] = field(default_factory=dict)
    unmeasured: Mapping[str, Mapping[Choice, str]] = field(default_factory=dict)
    networks: tuple[WholeNetwork, ...] = ()
    check: SumCheck | None = None
    correction: Correction | None = None

    @property
    def place(self) -> str:
        """Where it was measured, for people."""
        threads = f"{self.threads} threads" if self.threads > 1 else "1 thread by its CPU time"
        return f"{self.runtime}, {threads}, batch {self.batch}, {self.processor} with {self.cores} cores"

    @property
    def pace_median(self) -> float:
        """Seconds of the float network; 1 before it was measured."""
        return 1.0 if self.pace is None else self.pace.median

    def at_pace(self, timing: Timing) -> LatencyProfile:
        """The profile with another time of the float network, and all times in proportion."""
        factor = timing.median / self.pace_median
        return replace(
            self,
            pace=timing,
            call=None if self.call is None else self.call.times(factor),
            cells={layer: {choice: each.times(factor) for choice, each in choices.items()} for layer, choices in self.cells.items()},
            networks=tuple(replace(each, timing=each.timing.times(factor)) for each in self.networks),
        )

    def seconds(self, layer: str, stored: Choice) -> float | None:
        """The median of a cell; None if it was not measured."""
        timing = self.cells.get(layer, {}).get(stored)
        return None if timing is None else timing.median

    @property
    def spare_calls(self) -> float:
        """Seconds of the calls that the sum over layers holds beyond the network's one."""
        return 0.0 if self.call is None else (self.calls - 1) * self.call.median

    def sum_of(self, choices: Sequence[Choice]) -> float:
        """Seconds of all layers in stored choices, in the order of the layers, less the spare calls; uncorrected.

        Raises:
            KeyError: one of them was not measured.
        """
        return sum(self.cells[layer][choice].median for layer, choice in zip(self.layers, choices, strict=True)) - self.spare_calls

    def check_network(self, network: str) -> None:
        """Refuse a profile of another network.

        Raises:
            ConfigError: the fingerprint is another one, or the profile is not finished.
        """
        if network != self.network:
            raise ConfigError(
                f"hardware: this latency profile is of another network ({self.model}, fingerprint {self.network[:8]}, "
                f"not {network[:8]}); measure yours with 'mpsearch profile'",
                path="hardware",
            )
        if self.check is None:
            raise ConfigError(
                "hardware: this latency profile is not finished; repeat its 'mpsearch profile' command, which goes on", path="hardware"
            )

    def differences(self, *, processor: str, cores: int, target: str, runtime: str | None) -> tuple[str, ...]:
        """What differs from this machine and this study, one sentence each.

        Args:
            processor: of this machine.
            cores: of this machine.
            target: of the study.
            runtime: name and version on this machine; None if it is not installed.
        """
        pairs = [
            ("processor", self.processor, processor),
            ("number of cores", str(self.cores), str(cores)),
            ("runtime", self.runtime, runtime or "not installed"),
            ("target", self.target, target),
        ]
        return tuple(
            f"latencies were measured with another {what} ({theirs}; here: {ours}), so they may not hold here"
            for what, theirs, ours in pairs
            if theirs != ours
        )


class _Stores(Protocol):
    def stores(self, asked: NumberFormat) -> NumberFormat | None: ...

    def stores_input(self, asked: NumberFormat) -> NumberFormat | None: ...


def measured_only(space: ResolvedSpace, profile: LatencyProfile, methods: Sequence[_Stores]) -> tuple[ResolvedSpace, tuple[str, ...]]:
    """Remove the choices whose time was not measured in a form that a method stores; returns the space and one sentence a layer.

    Raises:
        SpaceError: no choice is left on a layer's menu.
    """
    menus: list[tuple[Choice, ...]] = []
    lost: dict[str, list[str]] = {}
    for layer, menu in zip(space.layers, space.menus, strict=True):
        why = {choice: _unmeasured(profile, layer, choice, methods) for choice in menu}
        kept = tuple(choice for choice in menu if not why[choice])
        if not kept:
            raise SpaceError(
                f"layer '{layer.name}': the latency profile has no time for any choice of its menu ({menu[0]}: {why[menu[0]]}); "
                "profile this space, or widen the menu"
            )
        for choice, reason in why.items():
            if reason:
                lost.setdefault(f"{reason}: {choice}", []).append(layer.name)
        menus.append(kept)
    removed = {number: set(menu) - set(kept) for number, (menu, kept) in enumerate(zip(space.menus, menus, strict=True))}
    for group in space.groups:  # tied layers keep one menu
        for index in group:
            menus[index] = tuple(choice for choice in menus[index] if all(choice not in removed[other] for other in group))
        if not menus[group[0]]:
            raise SpaceError(f"tied layers with '{space.names[group[0]]}' share no choice whose time was measured; profile this space")
    reasons = tuple(f"no latency was measured, so it is left out: {what} ({_named(layers)})" for what, layers in lost.items())
    return (replace(space, menus=tuple(menus)), reasons) if reasons else (space, ())


def _named(layers: Sequence[str]) -> str:
    return ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")


def _unmeasured(profile: LatencyProfile, layer: Layer, choice: Choice, methods: Sequence[_Stores]) -> str:
    """Why a choice has no time; "" if it has one in every form."""
    for method in methods:
        weight, activation = method.stores(choice.weight), method.stores_input(choice.activation)
        if weight is None or activation is None:
            continue
        stored = Choice(weight, activation)
        if profile.seconds(layer.name, stored) is None:
            told = profile.unmeasured.get(layer.name, {}).get(stored)
            return told or ("not in the profile" if stored == choice else f"not in the profile as {stored}, as which it is stored")
    return ""


def measured_latency(space: ResolvedSpace, profile: LatencyProfile, formats: Sequence[StoredAs]) -> Table:
    """`values[l, k] = slope · max over formats of the cell of l and k`, `base = fixed − slope · spare calls`.

    Without a correction the slope is 1 and the fixed part 0.

    Args:
        space: whose choices all have cells, see `measured_only`.
        profile: measured.
        formats: how each method stores a weight.

    Returns:
        `[L, C]`, seconds of one sample; NaN off the menus.

    Raises:
        ConfigError: a choice on a menu was not measured, or every allocation would take no time at all.
    """
    values = np.full((len(space.layers), len(space.choices)), np.nan)
    for row, (layer, menu) in enumerate(zip(space.layers, space.menus, strict=True)):
        for choice in menu:
            stored = {Choice(format, choice.activation) for stores in formats if (format := stores(choice.weight)) is not None}
            times = {each: profile.seconds(layer.name, each) for each in stored}
            found = [seconds for seconds in times.values() if seconds is not None]
            if len(found) < len(times) or not found:
                missing = ", ".join(str(each) for each, seconds in times.items() if seconds is None)
                raise ConfigError(f"latency: layer '{layer.name}' has no measured time as {missing or choice}", path="hardware")
            values[row, space.choices.index(choice)] = max(found)
    correction = profile.correction or Correction(fixed=0.0, slope=1.0)
    table = space.table("latency", "s", correction.slope * values, base=correction.fixed - correction.slope * profile.spare_calls)
    if not table.base + np.nansum(np.nanmin(table.values, axis=1)) > 0:
        raise ConfigError("latency: the correction of this profile leaves a network that takes no time; profile again", path="hardware")
    return table
