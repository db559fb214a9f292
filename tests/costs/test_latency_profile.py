"""Measured times as a cost: what is looked up, what is left out by name, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs import COSTS, CostInputs
from mpsearch.costs.latency_profile import Correction, LatencyProfile, SumCheck, Timing, WholeNetwork, measured_latency, measured_only
from mpsearch.methods.lsq import Lsq

LAYERS = ("a", "b")


def layer(name: str) -> Layer:
    return Layer(
        name=name,
        module=name,
        parameter="weight",
        kind="Linear",
        weight_shape=(4, 4),
        channels=4,
        macs=16,
        input_elements=4,
        output_elements=4,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )


def space(*, ties: tuple[tuple[str, ...], ...] = ()) -> ResolvedSpace:
    return Space(name="s", weights=(4, 8), activations=(8, 32), ties=ties).resolve([layer(name) for name in LAYERS])


def at(seconds: float) -> Timing:
    return Timing(median=seconds, low=0.9 * seconds, high=1.2 * seconds)


def profile(times: dict[str, dict[str, float]]) -> LatencyProfile:
    return LatencyProfile(
        model="m",
        network="0123456789abcdef",
        target="onnx-qdq",
        runtime="onnxruntime 1.32.0",
        processor="P",
        cores=2,
        threads=1,
        batch=1,
        repeats=5,
        date="2026-01-01",
        how="by hand",
        layers=LAYERS,
        pace=at(1.0),
        cells={name: {Choice.parse(choice): at(seconds) for choice, seconds in cells.items()} for name, cells in times.items()},
        check=SumCheck(networks=20, median=0.1, largest=0.2),
    )


FULL = {"w4a8": 4.0, "w4af": 5.0, "w8a8": 2.0, "w8af": 3.0}
BOTH = profile({"a": FULL, "b": {choice: 10 * seconds for choice, seconds in FULL.items()}})


def test_the_cost_is_the_sum_of_the_cells_corrected_where_a_correction_is_stored() -> None:
    mixed = {"a": Choice.parse("w4a8"), "b": Choice.parse("w8af")}
    assert COSTS["latency"].compute(CostInputs(space=space(), hardware=BOTH)).total(mixed) == pytest.approx(34.0)
    calls = replace(BOTH, call=at(0.5), calls=3.0)
    assert calls.sum_of(list(mixed.values())) == pytest.approx(33.0)
    assert measured_latency(space(), calls, [Lsq().stores]).total(mixed) == pytest.approx(33.0)
    corrected = replace(calls, correction=Correction(fixed=-7.0, slope=0.5))
    assert measured_latency(space(), corrected, [Lsq().stores]).total(mixed) == pytest.approx(9.5)


def test_of_several_methods_formats_the_slower_counts() -> None:
    both = profile({name: {**FULL, "wh4a8": 4.5, "wh4af": 1.0, "wh8a8": 0.1, "wh8af": 0.1} for name in LAYERS})
    stores = [Lsq().stores, Lsq(grid="half").stores]
    table = measured_latency(space(), both, stores)
    assert table.total(dict.fromkeys(LAYERS, Choice(4, 8))) == pytest.approx(9.0)
    assert table.total(dict.fromkeys(LAYERS, Choice(4))) == pytest.approx(10.0)
    half_only = measured_latency(space(), both, [Lsq(grid="half").stores])
    assert half_only.total(dict.fromkeys(LAYERS, Choice(4))) == pytest.approx(2.0)


def test_choices_without_a_time_are_left_out_by_name() -> None:
    lacking = profile({"a": {"w8a8": 2.0, "w8af": 3.0}, "b": FULL})
    lacking = replace(lacking, unmeasured={"a": {Choice.parse("w4a8"): "the runtime knows no such kernel"}})
    cut, reasons = measured_only(space(), lacking, [Lsq()])
    assert [list(map(str, menu)) for menu in cut.menus] == [["w8a8", "w8af"], ["w4a8", "w4af", "w8a8", "w8af"]]
    assert len(reasons) == 2
    assert "no latency was measured, so it is left out: the runtime knows no such kernel: w4a8 (a)" in reasons
    assert any("not in the profile: w4af (a)" in reason for reason in reasons)
    assert measured_only(space(), BOTH, [Lsq()]) == (space(), ())
    with pytest.raises(ConfigError, match="layer 'a' has no measured time as w4a8"):
        measured_latency(space(), lacking, [Lsq().stores])


def test_a_form_that_a_method_stores_and_nobody_measured_is_named() -> None:
    with pytest.raises(SpaceError, match=r"layer 'a'.*no time for any choice.*not in the profile as wh4a8, as which it is stored"):
        measured_only(space(), BOTH, [Lsq(grid="half")])


def test_tied_layers_keep_one_menu() -> None:
    lacking = profile({"a": {"w8a8": 2.0, "w8af": 3.0}, "b": {"w4af": 1.0, "w8af": 1.0}})
    cut, _ = measured_only(space(ties=(("a", "b"),)), lacking, [Lsq()])
    assert [list(map(str, menu)) for menu in cut.menus] == [["w8af"], ["w8af"]]
    apart = profile({"a": {"w8a8": 2.0}, "b": {"w4af": 1.0}})
    with pytest.raises(SpaceError, match="tied layers with 'a' share no choice"):
        measured_only(space(ties=(("a", "b"),)), apart, [Lsq()])


def test_a_profile_of_another_network_and_an_unfinished_one_are_refused() -> None:
    BOTH.check_network("0123456789abcdef")
    with pytest.raises(ConfigError, match=r"of another network \(m, fingerprint 01234567, not ffffffff\); measure yours with"):
        BOTH.check_network("f" * 16)
    with pytest.raises(ConfigError, match="not finished; repeat its 'mpsearch profile' command"):
        replace(BOTH, check=None).check_network("0123456789abcdef")


def test_another_machine_is_told_with_the_difference() -> None:
    same = {"processor": "P", "cores": 2, "target": "onnx-qdq", "runtime": "onnxruntime 1.32.0"}
    assert BOTH.differences(**same) == ()  # type: ignore[arg-type]
    told = BOTH.differences(processor="Q", cores=64, target="c", runtime=None)
    assert len(told) == 4
    assert "another processor (P; here: Q)" in told[0]
    assert "another number of cores (2; here: 64)" in told[1]
    assert "another runtime (onnxruntime 1.32.0; here: not installed)" in told[2]
    assert "another target (onnx-qdq; here: c)" in told[3]


def test_a_correction_that_leaves_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves a network that takes no time; profile again"):
        measured_latency(space(), replace(BOTH, correction=Correction(fixed=-100.0, slope=1.0)), [Lsq().stores])


def test_at_another_pace_everything_moves_alike() -> None:
    network = WholeNetwork(choices=(Choice(8), Choice(8)), timing=at(30.0))
    faster = replace(BOTH, networks=(network,), call=at(0.5)).at_pace(at(0.5))
    assert faster.seconds("b", Choice(4, NumberFormat("uniform", 8))) == pytest.approx(20.0)
    assert faster.networks[0].timing.high == pytest.approx(18.0)
    assert faster.call is not None
    assert (faster.call.median, faster.pace_median) == (0.25, 0.5)
