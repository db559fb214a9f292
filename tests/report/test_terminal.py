from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console, RenderableType

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.summary import Summary
from mpsearch.core.table import Table
from mpsearch.core.unquantized import Unquantized
from mpsearch.report.terminal import allocation_table, front_table, print_summary, sensitivity_table
from tests.report.summaries import make_layers, make_summary, make_table


def _console() -> Console:
    return Console(file=io.StringIO(), width=140, color_system=None)


def _shown(renderable: RenderableType) -> str:
    console = _console()
    console.print(renderable)
    return _text(console)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _closing(summary: Summary, run: Path = Path("runs/mine")) -> str:
    console = _console()
    print_summary(summary, console, run)
    return _text(console)


def test_front_table_holds_the_front_the_uniform_and_the_winner() -> None:
    lines = _shown(front_table(make_summary(acts=True))).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["5", "2", "9", "12", "4", "uniform", "winner"]
    assert "60,424 B" in lines[2]
    assert "1.62" in lines[2]
    assert "85.54 %" in lines[2]
    assert lines[2].rstrip().endswith("ok")
    assert lines[6].rstrip().endswith("over")


def test_closing_summary_says_everything() -> None:
    text = _closing(make_summary(acts=True))
    for words in (
        "89.30 %",
        "89.01 %",
        "79,848 B of 80KB, 152 B unused",
        "reachable 41,216 B",
        "13.7\u00d7",
        "weights 2.20, activations 6.2",
    ):
        assert words in text
    assert "mixed precision won by +1.20 points" in text
    assert "runs/mine/front.html" in text
    assert "mpsearch evaluate runs/mine/model.safetensors" in text
    assert "mpsearch plot runs/mine" in text
    assert "--budget 80KB --effort thorough" in text
    assert "left out: The study ran 20 trials" in text


def test_what_stays_float_is_listed_and_mean_bits_say_of_what() -> None:
    summary = make_summary()
    assert "of the parameters" not in _closing(summary), "a summary of an earlier version does not know"
    table = Unquantized(reason="a table", tensors=1, bytes=400, parameters=100, largest=("pos",), largest_bytes=(400,))
    text = _closing(replace(summary, unquantized=(table, replace(table, reason="[bold]other", tensors=2))))
    assert "stays float" in text
    assert "400 B: a table (pos)" in text
    assert "400 B: [bold]other (2 tensors, largest pos 400 B)" in text
    weights = sum(layer.weights for layer in summary.layers)
    assert f"of {100 * weights / (weights + 200):.1f} % of the parameters" in text


def test_a_quick_run_is_told_how_to_search_longer() -> None:
    scaled = "mpsearch study --trials 2 --effort=quick --budget 2MB --epochs=1 --out mine"
    assert "mpsearch study --budget 2MB --effort normal" in _closing(replace(make_summary(), effort="quick", command=scaled))
    text = _closing(replace(make_summary(), effort="quick", command="mpsearch study --effort quick --budget 2MB"))
    assert "mpsearch study --budget 2MB --effort normal" in text


def test_a_run_without_trials_and_references_has_a_winner() -> None:
    text = _closing(replace(make_summary(), trials=(), uniform=None, control=None, test={}, card=""))
    assert "final accuracy, validation" in text
    assert "not compared: no uniform allocation" in text
    assert "float trained as long" not in text
    assert not re.search(r"^ *card", text, re.MULTILINE)


def test_names_are_text_not_markup() -> None:
    name = "[bold red]layer[/bold red][/oops]"
    summary = make_summary()
    trials = tuple(replace(trial, origin=name) for trial in summary.trials)
    assert name in _closing(replace(summary, trials=trials, skipped=(name,)))
    layers = (replace(make_layers()[0], name=name),)
    table = Table(name=name, unit="nats", layers=(name,), choices=(Choice(2),), values=np.array([[1.0]]))
    assert name in _shown(sensitivity_table(table, layers))


def test_sensitivities_by_layer_and_choice() -> None:
    layers = make_layers()
    table = make_table(layers)
    values = table.values.copy()
    values[0, 0] = np.nan
    lines = _shown(sensitivity_table(replace(table, values=values), layers)).splitlines()
    assert lines[0].strip() == "fisher, nats"
    assert lines[1].split() == ["layer", "weights", "w1af", "w2af", "w3af", "w4af", "w8af"]
    first = lines[2].split()
    assert first[0] == "conv1"
    assert first[-5] == "-"
    assert float(first[-4]) == float(f"{values[0, 1]:.2g}")
    assert len(lines) == 2 + 22 + 1
    assert "seconds 11.3" in lines[-1]


def test_allocation_shows_bits_bytes_amounts_and_slack() -> None:
    summary = make_summary()
    layers = summary.layers
    allocation = Allocation({layer.name: Choice(2) for layer in layers})
    size = Table(
        name="size",
        unit="B",
        layers=tuple(layer.name for layer in layers),
        choices=(Choice(2),),
        values=np.full((22, 1), 3_000.0),
        base=1_000,
    )
    text = _shown(allocation_table(allocation, layers, {"size": size}, summary.budgets))
    assert "mean weight bits 2.000" in text
    assert "size 67,000 B of 80KB, 13,000 B unused" in text
    assert len([line for line in text.splitlines() if line.startswith("layer")]) == 20 + 1


def test_names_of_a_stranger_do_not_command_the_terminal() -> None:
    evil = "\x1b]0;pwned\x07\x1b[2J"
    summary = make_summary(acts=True)
    layers = (replace(summary.layers[0], name=evil), *summary.layers[1:])
    table = replace(summary.tables[0], name=evil, unit=evil, layers=tuple(layer.name for layer in layers), cost={evil: 1.0})
    forged = replace(
        summary,
        metric=evil,
        command=f"mpsearch study '{evil}'",
        skipped=(evil,),
        artifact=evil,
        trials=tuple(replace(trial, origin=evil) for trial in summary.trials),
        budgets=(replace(summary.budgets[0], text=evil),),
    )
    text = _closing(forged, Path(evil)) + _shown(sensitivity_table(table, layers))
    assert "\\x1b]0;pwned" in text
    assert "\x1b" not in text


def test_a_command_whose_quotation_has_no_end_is_not_taken_apart() -> None:
    assert "search longer" not in _closing(replace(make_summary(), command="mpsearch study 'x"))
