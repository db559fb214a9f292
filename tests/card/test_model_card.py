from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from mpsearch.card.model_card import model_card
from mpsearch.core.summary import Summary
from tests.report.summaries import HOSTILE, hostile_summary, make_summary

SUMMARY = make_summary(acts=True)


def front_matter(summary: Summary) -> dict[str, Any]:
    text = model_card(summary, target="packed", registered=True)
    opening, matter, _ = text.split("---\n", 2)
    assert opening == ""
    return dict(yaml.safe_load(matter))


def test_the_front_matter_is_yaml_as_the_hub_reads_it() -> None:
    matter = front_matter(SUMMARY)
    assert matter["library_name"] == "mpsearch"
    assert matter["tags"] == ["mpsearch", "quantized", "mixed-precision", "packed"]
    assert matter["metrics"] == ["accuracy"]
    (entry,) = matter["model-index"]
    (result,) = entry["results"]
    assert result["dataset"] == {"name": "imagefolder:data/cifar10", "type": "imagefolder:data/cifar10", "split": "test"}
    figures = {each["name"]: each["value"] for each in result["metrics"]}
    assert figures["accuracy"] == SUMMARY.test["winner"].metric
    assert figures["file size in bytes"] == SUMMARY.artifact_bytes
    assert {"mean weight bits", "mean activation bits"} <= figures.keys()


def test_names_from_outside_stay_text() -> None:
    name = 'x: "y"\n---\n- \x1b[2J\u2028\x85'
    assert front_matter(replace(SUMMARY, name=name))["model-index"][0]["name"] == name
    text = model_card(hostile_summary(), target="packed", registered=False, options="(width=16)")
    body = text.split("\n---\n", 1)[1]
    assert HOSTILE not in body.replace(f"`{HOSTILE}`", "").replace(f"    {HOSTILE}", "").replace(f"network, {HOSTILE}", "")


def test_the_body_says_what_is_in_the_folder_and_how_to_load_it() -> None:
    text = model_card(SUMMARY, target="packed", registered=True)
    assert f"accuracy {100 * SUMMARY.test['winner'].metric:.2f} % on the test split" in text
    assert 'mpsearch.from_pretrained("this folder")' in text
    assert "    mpsearch study studies/cifar10_resnet20.yaml --budget 80KB" in text
    for layer, choice in SUMMARY.winner.allocation.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{layer}` |"))
        assert row.endswith(f"| {choice.weight} | {choice.activation} |")
    assert 'mpsearch.from_pretrained("this folder", model=architecture)' in model_card(SUMMARY, target="packed", registered=False)
