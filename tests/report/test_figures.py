from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT
from mpsearch.report import figures, info, palette
from tests.report.summaries import make_summary


def _traces(figure: figures.Figure) -> dict[str, figures.Figure]:
    return {trace.name: trace for trace in figure.data if trace.showlegend is not False}


def test_front_paints_the_numbers_of_info() -> None:
    numbers = info.front_info(make_summary())
    figure = figures.front_figure(numbers)
    assert sum(len(t.x) for t in figure.data if t.mode == "markers" and t.x[0] is not None) == len(numbers.points) + 2
    steps = _traces(figure)["front of the trials"]
    assert list(steps.y[:-1]) == [p.metric for p in numbers.front]
    assert steps.line.shape == "hv"
    assert _traces(figure)["winner, retrained"].marker.symbol == "star"
    assert {shape.x0 for shape in figure.layout.shapes} >= {80_000}
    assert tuple(figure.layout.yaxis.range) == numbers.view


def test_a_rung_keeps_its_colour_from_figure_to_figure() -> None:
    summary = make_summary()
    front, history = figures.front_figure(info.front_info(summary)), figures.history_figure(info.history_info(summary))
    for rung in ("ptq", "short", "long"):
        title = palette.rung_title(rung)
        assert _traces(front)[title].marker.color == _traces(history)[title].marker.color == palette.rung_colour(rung)


def test_buttons_only_where_the_close_up_hides_something() -> None:
    numbers = info.front_info(make_summary())
    assert len(figures.front_figure(replace(numbers, hidden=0)).layout.updatemenus) == 0
    buttons = figures.front_figure(replace(numbers, hidden=3)).layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["close-up", "all trials (3 more)"]
    low, high = buttons[1].args[0]["yaxis.range"]
    assert all(low < p.metric < high for p in numbers.points)


def test_logarithmic_axis_places_the_budgets_label_by_its_logarithm() -> None:
    figure = figures.front_figure(replace(info.front_info(make_summary()), log_axis=True))
    label = next(note for note in figure.layout.annotations if note.text.startswith("budget"))
    assert figure.layout.xaxis.type == "log"
    assert label.x == pytest.approx(4.90309, abs=1e-4)


@pytest.mark.parametrize("acts", [False, True])
def test_bits_paint_weights_and_only_quantized_activations(acts: bool) -> None:
    numbers = info.bits_info(make_summary(acts=acts))
    traces = _traces(figures.bits_figure(numbers))
    assert list(traces["weights"].y) == [layer.choice.weight.bits_per_value for layer in numbers.layers]
    assert ("activations" in traces) is acts


def test_float_layers_stand_above_eight_bits_and_are_called_float() -> None:
    numbers = info.bits_info(make_summary())
    figure = figures.bits_figure(replace(numbers, layers=(replace(numbers.layers[0], choice=Choice(FLOAT)), *numbers.layers[1:])))
    assert 8 < figure.data[0].y[0] < 12
    assert figure.layout.yaxis.ticktext[-1] == "float"


def test_one_panel_a_signal() -> None:
    first, second = info.signal_infos(make_summary())
    assert len(figures.signals_figure([first, second]).data) == 2
    assert len(figures.signals_figure([second]).data) == 1


def test_curves_share_one_legend_entry_for_both_panels() -> None:
    figure = figures.curves_figure(info.curves_info(make_summary()))
    assert sorted(_traces(figure)) == ["best uniform", "float 89.34 %", "float control", "winner"]
    assert len(figure.data) == 7
