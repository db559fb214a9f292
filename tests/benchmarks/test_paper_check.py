from paper_check import CHECKS, TASK, Run, table
from training_tasks import TASKS

from mpsearch.methods import METHODS


def row(run: Run, metric: float, **other: object) -> dict[str, object]:
    told = {"task": TASK, "method": run.method, "weight_bits": run.weight_bits, "act_bits": run.act_bits, "seed": 0}
    return told | {"epochs": TASKS[TASK].epochs, "settings": dict(run.settings), "float": 0.893, "status": "done", "metric": metric} | other


def test_settings_are_those_of_the_methods() -> None:
    for check in CHECKS:
        for run in check.runs:
            METHODS[run.method](**run.settings)


def test_parametrizations_are_compared_where_they_differ() -> None:
    """Without learned bits u2 and u3 train the same number; with them all three are different, and the budget must be one."""
    compared = [check for check in CHECKS if check.against is not None and "parametrization" in check.against.settings]
    assert {check.against.settings["parametrization"] for check in compared} == {"u1", "u2"}
    for check in compared:
        assert check.run.settings["weight_budget"] == check.against.settings["weight_budget"] > 0


def test_the_bits_that_were_learned_stand_beside_the_difference() -> None:
    check = next(check for check in CHECKS if check.against is not None and "parametrization" in check.against.settings)
    assert check.against is not None
    rows = [row(check.run, 0.88, learned_bits=2.5), row(check.against, 0.87, learned_bits=2.375)]
    assert "88.00 - 87.00 = **+1.00**, at 2.50 and 2.38 bits" in table(rows)
    assert "= **+1.00** |" in table([row(check.run, 0.88), row(check.against, 0.87)])
