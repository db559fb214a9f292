"""Provenance (section N): how to repeat a run, which checks it fails, and what a reader must be warned of."""

from __future__ import annotations

import math

from mpsearch.card.identity import package_versions
from mpsearch.card.sections import DataSection, ProvenanceSection, ResultSection
from mpsearch.core.summary import Summary
from mpsearch.report.info import delivery_lines

__all__ = ["provenance"]


def provenance(summary: Summary, data: DataSection, result: ResultSection) -> ProvenanceSection:
    """Section N, its comparability group still empty: that is a hash of the whole card.

    Args:
        summary: results of the run.
        data: section H.
        result: section J.
    """
    return ProvenanceSection(
        command=summary.command,
        config_file="study.yaml",
        packages=package_versions(),
        failed_checks=_failed_checks(data, result),
        warnings=_warnings(summary, data),
        comparability_group="",
    )


def _failed_checks(data: DataSection, result: ResultSection) -> list[str]:
    failed = [
        f"{use}: {entry['overlap_with_test']:,} samples of the test split ({entry['how']})"
        for use, entry in data.use.items()
        if isinstance(entry["overlap_with_test"], int) and entry["overlap_with_test"] > 0
    ]
    finite = isinstance(result.mean, float) and math.isfinite(result.mean)
    return failed if finite else [*failed, "the result is not a finite number"]


def _warnings(summary: Summary, data: DataSection) -> list[str]:
    unknown = [use for use, entry in data.use.items() if use != "test" and not isinstance(entry["overlap_with_test"], int)]
    seen = [f"It is not known whether these stages saw the test split: {', '.join(unknown)}."] if unknown else []
    return [*delivery_lines(summary), *summary.skipped, *seen]
