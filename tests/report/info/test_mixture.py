from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpsearch.core.allocation import Allocation
from mpsearch.report.info import mixture_infos
from mpsearch.report.page import page_html
from mpsearch.signals.mix import mix
from tests.report.summaries import make_summary


def test_a_run_without_a_mixture_has_none() -> None:
    assert mixture_infos(make_summary().tables) == ()


def test_the_numbers_are_those_of_the_fit_and_the_page_shows_them() -> None:
    summary = make_summary()
    first = summary.tables[0]
    second = replace(first, name="other <b>", values=first.values[:, ::-1].copy() + 0.1)
    random = np.random.default_rng(0)
    allocations = [Allocation({layer: first.choices[random.integers(len(first.choices))] for layer in first.layers}) for _ in range(20)]
    mixture = mix([first, second], allocations, [first.total(x) + 2 * second.total(x) for x in allocations])
    (info,) = mixture_infos((mixture.table, first, second))
    assert {row.name: row.weight for row in info.rows} == pytest.approx(dict(mixture.weights))
    assert {row.name: row.rho for row in info.rows} == pytest.approx(dict(mixture.alone))
    assert sum(row.share for row in info.rows) == pytest.approx(1.0)
    assert [row.share for row in info.rows] == sorted((row.share for row in info.rows), reverse=True)
    assert info.rho == mixture.correlation
    assert info.allocations == 20
    assert info.floor == mixture.floor
    page = page_html(replace(summary, tables=(mixture.table, *summary.tables)))
    assert "weighted by the losses of 20 random allocations" in page
    assert "other &lt;b&gt;" in page
    assert "other <b>" not in page
