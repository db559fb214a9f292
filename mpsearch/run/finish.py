"""The last stage of a run: retraining, verification, test, quantization card and report of the selected allocation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsearch.card.fill import build_card
from mpsearch.card.inputs import CardInputs
from mpsearch.card.markdown import card_markdown
from mpsearch.config import dump_bits
from mpsearch.core.budget import ranged
from mpsearch.core.files import LEFTOVERS, file_digest, write_text
from mpsearch.core.pass_counts import phase
from mpsearch.core.progress import Progress
from mpsearch.core.record import Score
from mpsearch.core.summary import PointOfFront, Summary
from mpsearch.data.fingerprint import content_digest
from mpsearch.data.split import Split
from mpsearch.network.baked import Parts
from mpsearch.report.wording import duration_text, expected_words
from mpsearch.run.announce import Announcer
from mpsearch.run.artifact import Retrained, retrained_once
from mpsearch.run.delivery import Contender, deliver, trial_reference
from mpsearch.run.details import run_details
from mpsearch.run.directory import BITS, CARD, CARD_FIELDS, FRONT, REPORT, SUMMARY, claim_of
from mpsearch.run.foresight import foreseen, learn
from mpsearch.run.front_points import FrontPoint, front_points
from mpsearch.run.kept_space import keep_space
from mpsearch.run.ledger import Ledger
from mpsearch.run.prepare import Prepared
from mpsearch.run.read_back import read_back
from mpsearch.run.references import Control, float_control, spent_reference, uniform_reference
from mpsearch.run.remeasure import remeasured
from mpsearch.run.retraining import Retraining, retrain_allocation
from mpsearch.run.setup import Setup, fit_ranges
from mpsearch.run.shipped import runtime_notes, shipped_score
from mpsearch.run.summary import summarise
from mpsearch.run.work import Worked
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import Evaluator, with_epochs

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["finish", "finished"]

_WINNER = "winner.json"
_TEST = "test.json"
_SHARE_OF_FLIPS = 0.1
"""Of the run's time so far, that the flips of the card may take."""


def finish(
    config: StudyConfig,
    prepared: Prepared,
    worked: Worked,
    evaluator: Evaluator,
    ledger: Ledger,
    command: str,
    progress: Progress,
    announcer: Announcer | None = None,
) -> Summary:
    """Train the selected allocation and its references, verify the artifact, read the test split once, fill the card, write the report.

    Args:
        config: the study.
        prepared: network, data and signals.
        worked: trials and the selected allocation.
        evaluator: trains and scores.
        ledger: stores every step, so that an interrupted run repeats none.
        command: the command line, for the report.
        progress: gets bars and lines.
        announcer: is told of every epoch and of the end.

    Raises:
        TrainingDiverged: a loss or a weight is not finite.
    """
    announcer = announcer or Announcer()
    setup, splits, clock = prepared.setup, prepared.setup.splits, ledger.clock
    retraining = Retraining(
        evaluator=evaluator,
        hyper=replace(worked.hyper, recipe=with_epochs(worked.hyper.recipe, config.retrain.epochs)),
        split=splits.train_and_validation() if config.retrain.include_validation else splits.train,
        seed=config.seed + 1,
        ledger=ledger,
        progress=progress,
        announcer=announcer,
    )
    keep_space(ledger, setup.problem, retraining.hyper.method)
    with clock("retraining"):
        ahead = foreseen(config, setup, worked.records, ledger)
        if ahead is not None:
            expected = expected_words(setup.problem.task.metric_name, ahead[1])
            progress.say(f"retraining winner and references takes about {duration_text(ahead[1].seconds)}; expected: {expected}")
        train = partial(retrain_allocation, retraining, "winner", worked.trial)
        name = f"winner{Path(setup.target.file).suffix}"
        searched = retrained_once(ledger, _WINNER, name, setup, train, retraining.made_from(worked.trial))
        if ahead is not None:
            learn(ahead[0], searched.record.score.error, ledger)
        with phase("references"):
            uniform = uniform_reference(config, setup, retraining, ledger, searched)
            spent = spent_reference(setup, retraining, ledger, uniform, searched, worked.spend)
            control = float_control(config, setup, retraining, ledger)
            trial = trial_reference(config, setup, retraining, ledger, worked.records, searched.record)
        alike = {each.record.origin: Contender(retrained=each, hyper=retraining.hyper) for each in (uniform, spent) if each is not None}
        if uniform is not None and uniform.record.allocation == searched.record.allocation:
            del alike[uniform.record.origin]
        if trial is not None:
            alike[f"trial {trial.retrained.record.number}"] = trial
        own = Contender(retrained=searched, hyper=retraining.hyper)
        delivery = deliver(config, setup, own, alike, ledger)
        winner = delivery.delivered
        _write_bits(ledger, setup, winner)
        posterior = worked.posterior() if worked.posterior is not None and ranged(setup.problem.budgets) is not None else None
        points = front_points(config, setup, retraining, ledger, posterior, worked.records, winner)
    with clock("test"):
        others = {"uniform": uniform, "uniform_spent": spent, "searched": None if delivery.searched is None else searched}
        others |= {f"{FRONT}/{point.name}": point.retrained for point in points}
        test = _test_scores(splits.test, setup, evaluator, winner, others, control, ledger) if splits.test is not None else {}
        notes = runtime_notes(setup, evaluator, winner)
    references = {name: None if each is None else each.record for name, each in others.items()}
    summary = summarise(config, prepared, worked, delivery, references, control, test, command, clock.seconds)
    front = tuple(_pictured(setup, point) for point in points)
    latency, unmeasured = remeasured(setup, winner, delivery.hyper.method, ledger)
    skipped = (*summary.skipped, *notes, *unmeasured)
    summary = replace(summary, front=front, latency=latency, skipped=skipped, foresight=None if ahead is None else ahead[1])
    with progress.phase("card", 1), clock("card"):
        summary = _with_card(config, setup, summary, winner.parts, delivery.hyper, ledger, progress)
    delivered = [name for name in (summary.artifact, BITS, CARD, CARD_FIELDS) if ledger.path(name).exists()]
    summary = replace(summary, delivered={name: file_digest(ledger.path(name)) for name in delivered})
    ledger.check()
    document = summary.to_dict()
    write_text(ledger.path(SUMMARY), json.dumps({**document, "digest": content_digest([json.dumps(document)])}))
    _report(summary, ledger.directory)
    announcer.end(summary)
    return summary


def finished(ledger: Ledger) -> Summary | None:
    """The summary of a finished run, after writing its report again; None if the run has not finished.

    None as well if a delivered file is gone or was damaged: what is handed over is verified each time.
    """
    summary = read_back(ledger.path(SUMMARY), _verified, ledger.say)
    if summary is None:
        return None
    for name, digest in summary.delivered.items():
        found = file_digest(ledger.path(name))
        if found != digest and not (found and name == BITS):  # bits.yaml is there to be edited
            ledger.say(f"{name} is gone or was damaged; it is made again")
            return None
    for point in summary.front:
        if file_digest(ledger.path(f"{FRONT}/{point.name}/{point.artifact}")) != point.digest:
            ledger.say(f"the network of the point {point.name} is gone or was damaged; it is made again")
            return None
    _report(summary, ledger.directory)
    return summary


def _verified(document: dict[str, Any]) -> Summary:
    digest = document.pop("digest")
    if content_digest([json.dumps(document)]) != digest:
        raise ValueError("its digest does not match its content")
    return Summary.from_dict(document)


def _write_bits(ledger: Ledger, setup: Setup, winner: Retrained) -> None:
    mean = winner.parts.allocation.mean_weight_bits(setup.problem.space.layers)
    head = f"# {setup.target.deployed_bytes(winner.path)} bytes, {mean:.3f} mean weight bits; edit, then: mpsearch retrain --bits {BITS}\n"
    write_text(ledger.path(BITS), head + dump_bits(winner.parts.allocation))


def _pictured(setup: Setup, point: FrontPoint) -> PointOfFront:
    path = point.retrained.path
    size = setup.target.deployed_bytes(path)
    return PointOfFront(name=point.name, record=point.retrained.record, artifact=path.name, artifact_bytes=size, digest=file_digest(path))


def _test_scores(
    test: Split,
    setup: Setup,
    evaluator: Evaluator,
    winner: Retrained,
    others: Mapping[str, Retrained | None],
    control: Control | None,
    ledger: Ledger,
) -> dict[str, Score]:
    """Scores on the test split; computed once and then read from the ledger."""
    problem = evaluator.problem

    def scores() -> dict[str, Score]:
        found = {
            "float": evaluate(problem.model, test, problem.task, device=problem.device, batch=problem.execution.batch),
            "winner": shipped_score(setup, evaluator, winner, test),
        }
        found |= {name: shipped_score(setup, evaluator, each, test) for name, each in others.items() if each is not None}
        if control is not None:
            found["control"] = evaluate(control.model, test, problem.task, device=problem.device, batch=problem.execution.batch)
        return found

    records = [each.record for each in (winner, *others.values(), control) if each is not None]
    return ledger.once(
        _TEST,
        scores,
        made_from=ledger.made_from([record.to_dict() for record in records]),
        dump=lambda found: {name: asdict(score) for name, score in found.items()},
        load=lambda document: {name: Score(**score) for name, score in document.items()},
    )


def _with_card(
    config: StudyConfig, setup: Setup, summary: Summary, parts: Parts, hyper: Hyperparameters, ledger: Ledger, progress: Progress
) -> Summary:
    """The summary, with the quantization card written beside it."""
    try:
        card = build_card(_card_inputs(config, setup, ledger), summary, parts, hyper)
        write_text(ledger.path(CARD_FIELDS), card.to_json())
        write_text(ledger.path(CARD), card_markdown(card))
    except Exception as error:  # a failed card must not discard the delivered network
        progress.say(f"there is no quantization card: {type(error).__name__}: {error}")
        return replace(summary, card="")
    for check in card.provenance.failed_checks:
        progress.say(f"the quantization card fails: {check}")
    return summary


def _card_inputs(config: StudyConfig, setup: Setup, ledger: Ledger) -> CardInputs:
    problem, other = setup.problem, setup.other_model
    return CardInputs(
        config=config,
        splits=setup.splits,
        problem=problem,
        other=None if other is None else replace(problem, model=other, calibration=fit_ranges(config, other, problem.space, problem.train)),
        claim=claim_of(ledger.directory),
        limit=math.inf if config.card == "full" else _SHARE_OF_FLIPS * sum(ledger.clock.seconds.values()),
    )


def _report(summary: Summary, directory: Path) -> None:
    """Write the report, and remove the files that only an unfinished run needs."""
    from mpsearch.report.page import write_page

    write_page(summary, directory / REPORT, run_details(directory, summary))
    for pattern in ("*.checkpoint", LEFTOVERS):
        for unneeded in (*directory.glob(pattern), *(directory / FRONT).rglob(pattern)):
            unneeded.unlink()
