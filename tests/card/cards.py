"""A complete card, filled by hand."""

from __future__ import annotations

from typing import Any

from mpsearch.card import sections
from mpsearch.card.schema import Card, canonical_id

__all__ = ["changed", "make_card"]


def make_card() -> Card:
    use = {
        name: {"split": "train", "images": 1024, "labels": False, "labels_read": 0, "overlap_with_test": 0, "how": "by index"}
        for name in ("calibration", "search", "fine-tune", "selection", "test")
    }
    return Card(
        identity=sections.IdentitySection(
            card_version=1,
            config_id=canonical_id({"a": 1}),
            parent_run="0123456789abcdef",
            tool="mpsearch 0.1.0",
            tool_source="f" * 64,
            date="2026-01-01T00:00:00+00:00",
            seeds=[0],
            repeats=1,
        ),
        model=sections.ModelSection(
            architecture="resnet50",
            options={},
            checkpoint="resnet50.safetensors",
            checkpoint_sha256="a" * 64,
            float_dtype="float32",
            metric="accuracy",
            float_metric={"validation": 0.77, "test": 0.761},
            dataset="imagefolder",
            split_sizes={"train": 1000, "validation": 100, "test": 100},
            preprocessing={},
            batchnorm_folded="53 of 53",
            edits="none",
            parameters=25_557_032,
            macs=4_089_184_256,
        ),
        coverage=sections.CoverageSection(
            scope="weights and layer inputs",
            ends="included",
            first_layer={"name": "conv1", "weight_bits": [4], "input_bits": [4]},
            last_layer={"name": "fc", "weight_bits": [4], "input_bits": [4]},
            tensors={"weights, Conv2d": {"quantized": True, "bits": [4]}, "layer inputs": {"quantized": True, "bits": [4]}},
            float_ops={"add": {"calls": 16, "share_of_macs": 0.0, "share_of_bytes": 0.25}},
            parameters=0.998,
            stays_float={"bias": {"tensors": 1, "bytes": 40, "largest": "fc.bias"}},
        ),
        formats=sections.FormatSection(
            weights={"family": "uniform", "symmetric": True},
            activations={"family": "uniform", "symmetric": "where negative"},
            biases="float32",
        ),
        granularity=sections.GranularitySection(weights="per output channel", activations="per tensor", scales=26_560, scale_bytes=53_120),
        ranges=sections.RangeSection(
            weights="least squares",
            activations="least squares",
            static=True,
            images=1024,
            learned=False,
            bias_correction="none",
            batchnorm_images=1024,
            statistics="n/a: nothing was chosen",
        ),
        precision=sections.PrecisionSection(
            method="lsq",
            bits={"conv1": "w4a4", "fc": "w4af"},
            allowed=["w2a4", "w4a4", "w8a4"],
            signals=["fisher"],
            solver="milp:fisher",
            budgets=[{"budget": "13MB", "cost": "size", "limit": 1.3e7, "realised": 1.29e7}],
            ties=[["a", "b"]],
            kernels=["w4a4"],
            fractional_bits="n/a",
        ),
        data=sections.DataSection(use=use, overlap_with_test=0, synthetic="none", teacher="none"),
        resources=sections.ResourceSection(
            tier="P2",
            device="CPU",
            seconds={"signals": 1.5},
            gpu_hours="n/a",
            passes={"signals": {"forward": 5, "backward": 0, "labels": 0, "scored": 0}},
            epochs={"retraining": 0},
            peak_memory_bytes=1,
            hyperparameters_tuned=[],
        ),
        result=sections.ResultSection(
            metric="accuracy",
            split="test",
            mean=0.751,
            std="n/a: one seed",
            by_seed={"0": 0.751},
            delta_to_float=-0.01,
            full_split=True,
            worst_class="n/a",
        ),
        costs=sections.CostSection(
            file_bytes=12_900_000,
            weight_bytes=12_751_456,
            mean_weight_bits=4.0,
            mean_weight_bits_without_ends=4.0,
            mean_input_bits=4.0,
            mean_activation_bytes=1.0,
            peak_activation_bytes=2.0,
            peak_live_bytes=3.0,
            bops=61_000_000_000,
            bops_with_additions=6.2e10,
            scale_bytes=53_120,
            symmetric_weight_cost_bits=0.2,
            latency="n/a",
            energy="n/a",
        ),
        hardware=sections.HardwareSection(
            datatypes={"weights": ["int4"]},
            zero_point_correction=False,
            zero_point="none needed",
            accumulator_bits=20,
            requantization="one multiplication",
            grouping="none",
            runtimes={"any": True},
        ),
        ablation=sections.AblationSection(
            path="Calibrated",
            samples=100,
            unflipped_metric=0.7,
            flips=[
                sections.Flip(
                    toggle="T1",
                    what="per tensor",
                    status="measured",
                    metric_change=-0.02,
                    cost_change={"scale_bytes": -100},
                    note="a | b",
                ),
                sections.Flip(toggle="T9", what="checkpoint", status="n/a", metric_change="n/a", cost_change={}, note="one run"),
            ],
        ),
        provenance=sections.ProvenanceSection(
            command="mpsearch study",
            config_file="study.yaml",
            packages={"torch": "2.6"},
            failed_checks=[],
            warnings=[],
            comparability_group="0" * 16,
        ),
    )


def changed(path: str, value: Any) -> Card:
    """The card with another value at a dotted path."""
    plain = make_card().to_dict()
    *way, leaf = path.split(".")
    place = plain
    for step in way:
        place = place[step]
    place[leaf] = value
    return Card.from_dict(plain)
